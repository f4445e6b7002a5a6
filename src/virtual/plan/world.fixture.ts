/** For tests: a store in miniature, and short words for operations and callers. */
import type { KindName, StoredObject } from '../kind.ts';
import { plan, type Caller, type Operation, type Plan } from '../plan.ts';
import { Topology } from '../topology.ts';

export type Fields = Record<string, unknown>;
export const OPERATOR: Caller = { role: 'operator' };
export const tenant = (name: string): Caller => ({ role: 'tenant', tenant: name });
export const asHost = (host: string): Caller => ({ role: 'host', host });

/** A store in miniature: plans, and commits what was planned. */
export class World {
  readonly topology = new Topology();
  #ids = 0;
  #flood = 0x800000;
  #tunnel = 0;

  plan(operations: readonly Operation[], caller: Caller = OPERATOR): Plan {
    return plan(this.topology, operations, {
      caller,
      // The random half comes first, as in real ones: MACs are made from it.
      newId: () => `${String(++this.#ids).padStart(8, '0')}-0000-4000-8000-000000000000`,
      nextFloodKey: () => ++this.#flood,
      nextTunnelKey: () => ++this.#tunnel,
    });
  }
  run(operations: readonly Operation[], caller: Caller = OPERATOR): (StoredObject & Fields)[] {
    const planned = this.plan(operations, caller);
    if (!planned.ok) throw new Error(JSON.stringify(planned.faults));
    const revision = this.topology.revision + 1;
    const rows = planned.rows.map((row) =>
      row.put === undefined ? row : { ...row, put: { ...row.put, revision } },
    );
    this.topology.apply({ revision, rows });
    return planned.objects as (StoredObject & Fields)[];
  }
  create(kind: KindName, body: Fields, caller: Caller = OPERATOR): StoredObject & Fields {
    const [object] = this.run([{ op: 'create', kind, body }], caller);
    if (object === undefined) throw new Error(`no ${kind}`);
    return object;
  }
  /**
   * Plans what must be refused, with this status and without a trace; answers `path: message`
   * lines.
   */
  refused(status: number, operation: Operation | readonly Operation[], caller = OPERATOR): string {
    const before = JSON.stringify([...this.topology.objects()]);
    const planned = this.plan('op' in operation ? [operation] : operation, caller);
    if (JSON.stringify([...this.topology.objects()]) !== before) throw new Error('it wrote');
    if (planned.ok) throw new Error('not refused');
    const text = planned.faults.map(({ path, message }) => `${path}: ${message}`).join('\n');
    if (planned.status !== status) throw new Error(`${planned.status}: ${text}`);
    return text;
  }
}
export const create = (kind: KindName, body: Fields): Operation => ({ op: 'create', kind, body });
export const update = (
  kind: KindName,
  id: string,
  body: Fields,
  ifRevision?: number,
): Operation => ({
  op: 'update',
  kind,
  id,
  body,
  ...(ifRevision === undefined ? {} : { ifRevision }),
});
export const remove = (kind: KindName, id: string): Operation => ({ op: 'delete', kind, id });
export const GHOST = '00000000-0000-4000-8000-999999999999';
