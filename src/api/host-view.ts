/**
 * What one host's agent may see, kept up to date change by change.
 *
 * Invariant: after every change `visible` equals `entitled(topology, host)`, and the rows answered
 * turn the set that the host held into that set, at this revision. Only a change that binds or
 * unbinds a port of this host, that sets or clears a link or a filter of what it sees, or that lets
 * a rule of what it sees name other chains or groups, moves the borders of that; every other row is
 * decided by itself.
 */
import type { RowChange } from '#virtual/change.ts';
import { entitled, objectKey as nameKey } from '#virtual/entitlement.ts';
import type { HostId } from '#virtual/ids.ts';
import { KIND_NAMES, type KindName, type StoredObject } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { referencesFrom, referencesTo, targetsOf } from '#virtual/references.ts';
import type { Topology, TopologyObject } from '#virtual/topology.ts';
import type { Applied } from './replica.ts';

type PortRow = ObjectOf<'port'>;
type RuleRow = ObjectOf<'rule'>;

export interface ViewStep {
  readonly rows: readonly RowChange[];
  /** Ids of bridges and ports that became visible: what was learned of them does now. */
  readonly came: readonly string[];
  /** Ids of bridges and ports that are no longer visible. */
  readonly left: readonly string[];
}

/** Whether hosts see a group for its members' sake. */
const isStateful = (group: StoredObject | undefined): boolean =>
  (group as { readonly stateful?: boolean } | undefined)?.stateful === true;

const deviceOf = (port: PortRow): string => (port.type === 'bridge' ? port.bridge : port.router);

/** What an object names that decides beside it, as one text: other chains, groups. */
const decidersOf = (kind: KindName, object: StoredObject): string =>
  referencesFrom(kind)
    .filter(({ path, reference }) => path !== 'chain' && DECIDERS.has(reference.kind))
    .flatMap((path) => targetsOf(object, path))
    .join();
const DECIDERS: ReadonlySet<KindName> = new Set(['chain', 'port-group', 'address-group']);

/** Kinds whose objects show what was learned of them: MACs of bridges, neighbours of ports. */
const hasLearned = (kind: KindName): boolean => kind === 'bridge' || kind === 'port';

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
  /** Ids of the bridges and ports that are visible. */
  places(): string[] {
    return [...this.#visible]
      .map(nameOf)
      .filter(({ kind }) => hasLearned(kind))
      .map(({ id }) => id);
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
    const came: string[] = [];
    const left: string[] = [];
    for (const kind of KIND_NAMES)
      for (const row of applied.rows) {
        if (row.kind !== kind) continue;
        const before = this.sees(kind, row.id);
        const now = row.put !== undefined && (before || this.#admits(kind, row.put));
        if (!before && !now) continue;
        rows.push(row);
        if (before === now) continue;
        if (now) this.#visible.add(nameKey(kind, row.id));
        else this.#visible.delete(nameKey(kind, row.id));
        if (hasLearned(kind)) (now ? came : left).push(row.id);
      }
    return { rows, came, left };
  }

  #moves(row: RowChange, before: StoredObject | undefined): boolean {
    return (
      this.#movesLinks(row, before) ||
      this.#movesChains(row, before) ||
      this.#movesMonitors(row, before)
    );
  }
  /** Whether another monitor is that of a pool which is seen, or will be. */
  #movesMonitors({ kind, put }: RowChange, before: StoredObject | undefined): boolean {
    if (kind !== 'pool') return false;
    const [was, is] = [before, put].map((pool) => pool as ObjectOf<'pool'> | undefined);
    if (was?.healthMonitor === is?.healthMonitor) return false;
    return [was, is].some((pool) => pool && this.#admits('pool', pool));
  }
  /** Whether other chains or groups decide about what is seen. */
  #movesChains({ kind, id, put }: RowChange, before: StoredObject | undefined): boolean {
    if (kind === 'port-group' && [before, put].some(isStateful)) return true;
    if (kind === 'chain' || kind.endsWith('-group'))
      return (
        (before === undefined) !== (put === undefined) &&
        referencesTo(kind).some(
          ({ holder, path }) =>
            path !== 'chain' && this.#topology.referrers(holder, path, id).length > 0,
        )
      );
    const [was, is] = [before, put].map((object) => (object ? decidersOf(kind, object) : ''));
    const [from, to] = [before, put].map(
      (object) => (object as Partial<RuleRow> | undefined)?.chain,
    );
    if (was === is && (from === to || from === undefined || to === undefined)) return false;
    return [before, put].some(
      (object) => object && (this.sees(kind, id) || this.#admits(kind, object)),
    );
  }
  #movesLinks({ kind, id, put }: RowChange, before: StoredObject | undefined): boolean {
    if (kind === 'host' && id === this.#host) return (before === undefined) !== (put === undefined);
    if (kind !== 'port') return false;
    const was = before as PortRow | undefined;
    const is = put as PortRow | undefined;
    const held = was?.host === this.#host;
    if (held !== (is?.host === this.#host)) return true;
    if (held && was !== undefined && is !== undefined && deviceOf(was) !== deviceOf(is))
      return true;
    // A link shows at both its ends, so the end that is seen, or will be, is among the rows.
    return was?.peer !== is?.peer && [was, is].some((port) => port && this.#admits('port', port));
  }

  /** Whether an object that is not seen yet belongs to what is. */
  #admits(kind: KindName, object: StoredObject): boolean {
    if (kind === 'host' || kind === 'tunnel-zone') return true;
    if (kind === 'port') {
      const port = object as PortRow;
      return this.sees(port.type, deviceOf(port));
    }
    if (kind === 'rule') return this.sees('chain', (object as RuleRow).chain);
    if (kind === 'route') return this.sees('router', (object as ObjectOf<'route'>).router);
    if (kind === 'nat-block') return this.sees('router', (object as ObjectOf<'nat-block'>).router);
    if (kind === 'location') return this.sees('port', (object as ObjectOf<'location'>).port);
    return this.#admitsOfBalancer(kind, object);
  }
  #admitsOfBalancer(kind: KindName, object: StoredObject): boolean {
    if (kind === 'load-balancer')
      return this.sees('router', (object as ObjectOf<'load-balancer'>).router);
    if (kind === 'pool' || kind === 'vip')
      return this.sees('load-balancer', (object as ObjectOf<'pool' | 'vip'>).loadBalancer);
    if (kind === 'pool-member') return this.sees('pool', (object as ObjectOf<'pool-member'>).pool);
    if (kind === 'member-health') return this.sees('pool-member', object.id);
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
      if (hasLearned(gone.kind)) left.push(gone.id);
    }
    const changed = new Set(applied.rows.map(({ kind, id }) => nameKey(kind, id)));
    const came: string[] = [];
    for (const key of now) {
      const fresh = !before.has(key);
      if (!fresh && !changed.has(key)) continue;
      const { kind, id } = nameOf(key);
      const object = this.#topology.get(kind, id);
      if (object === undefined) throw new Error(`entitled to ${key}, which is not there`);
      rows.push({ kind, id, put: object });
      if (fresh && hasLearned(kind)) came.push(id);
    }
    return { rows, came, left };
  }
}

function nameOf(key: string): { readonly kind: KindName; readonly id: string } {
  const slash = key.indexOf('/');
  return { kind: key.slice(0, slash) as KindName, id: key.slice(slash + 1) };
}
