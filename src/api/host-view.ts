/**
 * What one host's agent may see, kept up to date change by change.
 *
 * Invariant: after every change `visible` equals `entitled(topology, host)`, and the rows answered
 * turn the set that the host held into that set, at this revision. Only a change that binds or
 * unbinds a port of this host moves the borders of what it sees; every other row is decided by
 * itself.
 */
import type { RowChange } from '#virtual/change.ts';
import { entitled, objectKey as nameKey } from '#virtual/entitlement.ts';
import type { HostId } from '#virtual/ids.ts';
import { KIND_NAMES, type KindName, type StoredObject } from '#virtual/kind.ts';
import type { Location } from '#virtual/location/location.ts';
import type { Port } from '#virtual/port/port.ts';
import type { Topology, TopologyObject } from '#virtual/topology.ts';
import type { Applied } from './replica.ts';

export interface ViewStep {
  readonly rows: readonly RowChange[];
  /** Bridges that became visible. */
  readonly bridges: readonly string[];
  /** Bridges that are no longer visible. */
  readonly left: readonly string[];
}

export class HostView {
  readonly #topology: Topology;
  readonly #host: HostId;
  #visible: ReadonlySet<string> & { add(key: string): unknown; delete(key: string): boolean };

  constructor(topology: Topology, host: string) {
    this.#topology = topology;
    this.#host = host as HostId;
    this.#visible = new Set(entitled(topology, this.#host));
  }

  sees(kind: KindName, id: string): boolean {
    return this.#visible.has(nameKey(kind, id));
  }
  bridges(): string[] {
    return [...this.#visible]
      .filter((key) => key.startsWith('bridge/'))
      .map((key) => key.slice('bridge/'.length));
  }
  objects(): TopologyObject[] {
    const found: TopologyObject[] = [];
    for (const kind of KIND_NAMES)
      for (const object of this.#topology.list(kind))
        if (this.sees(kind, object.id)) found.push({ kind, object });
    return found;
  }

  /** What the host must be told of a change that the topology already has. */
  step(applied: Applied): ViewStep {
    if (applied.rows.some((row, i) => this.#moves(row, applied.before[i])))
      return this.#anew(applied);
    const rows: RowChange[] = [];
    for (const kind of KIND_NAMES)
      for (const row of applied.rows) if (row.kind === kind && this.#passes(row)) rows.push(row);
    return { rows, bridges: [], left: [] };
  }

  #moves({ kind, id, put }: RowChange, before: StoredObject | undefined): boolean {
    if (kind === 'host' && id === this.#host) return (before === undefined) !== (put === undefined);
    if (kind !== 'port') return false;
    const was = before as unknown as Port | undefined;
    const is = put as unknown as Port | undefined;
    const held = was?.host === this.#host;
    return held !== (is?.host === this.#host) || (held && was.bridge !== is?.bridge);
  }

  #passes({ kind, id, put }: RowChange): boolean {
    const key = nameKey(kind, id);
    if (put === undefined) return this.#visible.delete(key);
    const seen = this.#visible.has(key) || this.#admits(kind, put);
    if (seen) this.#visible.add(key);
    return seen;
  }

  #admits(kind: KindName, object: StoredObject): boolean {
    if (kind === 'host' || kind === 'tunnel-zone') return true;
    if (kind === 'port') return this.sees('bridge', (object as unknown as Port).bridge);
    if (kind === 'location') return this.sees('port', (object as unknown as Location).port);
    return false;
  }

  #anew(applied: Applied): ViewStep {
    const before = this.#visible;
    const now = new Set<string>(entitled(this.#topology, this.#host));
    this.#visible = now;
    const rows: RowChange[] = [];
    const left: string[] = [];
    for (const key of before) {
      if (now.has(key)) continue;
      const gone = nameOf(key);
      rows.push(gone);
      if (gone.kind === 'bridge') left.push(gone.id);
    }
    const changed = new Set(applied.rows.map(({ kind, id }) => nameKey(kind, id)));
    const bridges: string[] = [];
    for (const key of now) {
      const fresh = !before.has(key);
      if (!fresh && !changed.has(key)) continue;
      const { kind, id } = nameOf(key);
      const object = this.#topology.get(kind, id);
      if (object === undefined) throw new Error(`entitled to ${key}, which is not there`);
      rows.push({ kind, id, put: object });
      if (fresh && kind === 'bridge') bridges.push(id);
    }
    return { rows, bridges, left };
  }
}

function nameOf(key: string): { readonly kind: KindName; readonly id: string } {
  const slash = key.indexOf('/');
  return { kind: key.slice(0, slash) as KindName, id: key.slice(slash + 1) };
}
