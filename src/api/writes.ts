/**
 * How the topology changes: decide on this node's copy, commit if the store is still at that copy,
 * else decide again.
 *
 * Invariant: what was validated is exactly what it landed on, whoever else writes (a compare with
 * the head). Writes of one node queue up, so they do not race with each other; the queue and the
 * retries are bounded.
 */
import type { Written } from '#client/types.ts';
import { checkLimits } from '#store/limits.ts';
import { type Operation, STORE_LIMITS, type Store } from '#store/store.ts';
import { FLOOD_KEY_BIT } from '#virtual/bridge/bridge.ts';
import type { RowChange } from '#virtual/change.ts';
import type { Fault, StoredObject } from '#virtual/kind.ts';
import { TRANSACTION_ROWS_MAX } from '#virtual/plan.ts';
import type { Topology } from '#virtual/topology.ts';
import type { History, Signed } from './history.ts';
import { FLOOD_COUNTER, HEAD_KEY, objectKey, tunnelCounter } from './keys.ts';
import { type ProblemStatus, Refusal } from './problems.ts';
import { type Replica, valueOf } from './replica.ts';
import { tokensOfHost } from './tokens.ts';

/** Writes that may wait for their turn on this node; more are refused with 503. */
export const WRITES_WAITING_MAX = 1_000;
/** Tries of one write while other nodes win the race. */
export const WRITE_ATTEMPTS_MAX = 16;
const FLOOD_KEY_MAX = 0xffffff;
const TUNNEL_KEY_MAX = FLOOD_KEY_BIT - 1;

export type Decision =
  | {
      readonly ok: true;
      readonly rows: readonly RowChange[];
      readonly objects: readonly (StoredObject | undefined)[];
    }
  | { readonly ok: false; readonly status: ProblemStatus; readonly faults: readonly Fault[] };

/** Keys handed out while deciding; they are spent when the write commits. */
export interface Keys {
  nextFloodKey(): number;
  nextTunnelKey(host: string): number;
}
export type Decide = (topology: Topology, keys: Keys) => Decision;

export class Writes {
  readonly stats = { committed: 0, racesLost: 0, refusedFull: 0 };
  readonly #store: Store;
  readonly #replica: Replica;
  readonly #took: (ms: number) => void;
  readonly #history: History;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** `took`: told how long each commit was under way. */
  constructor(
    store: Store,
    replica: Replica,
    history: History,
    took: (ms: number) => void = () => {},
  ) {
    this.#store = store;
    this.#replica = replica;
    this.#history = history;
    this.#took = took;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Keys as they would be handed out next; nothing is spent. */
  keys(): Keys {
    return new Counters(this.#replica.counters);
  }

  /** Answers when the write is durable and this node's copy has it. Throws a Refusal. */
  async write(decide: Decide, signed: Signed): Promise<Written> {
    if (this.#waiting >= WRITES_WAITING_MAX) {
      this.stats.refusedFull += 1;
      const detail = `${WRITES_WAITING_MAX} writes are waiting`;
      throw new Refusal(503, { detail, headers: { 'retry-after': '1' } });
    }
    this.#waiting += 1;
    const turn = this.#last.then(() => this.#attempts(decide, signed));
    this.#last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }

  /**
   * Decides on this node's copy as it is now, by the limits of a write, and writes nothing.
   * `inParts`: the write would be several transactions, each within the limits.
   */
  dryRun(decide: Decide, { signed, inParts }: { signed: Signed; inParts: boolean }) {
    const { topology, counters } = this.#replica;
    const keys = new Counters(counters);
    const decision = decide(topology, keys);
    if (!decision.ok) throw new Refusal(decision.status, { errors: decision.faults });
    const { rows, objects } = decision;
    if (!inParts || rows.length <= TRANSACTION_ROWS_MAX)
      checkLimits([], this.#operations(rows, keys, signed));
    const written: Written = { revision: topology.revision, objects };
    return { rows, written };
  }

  async #attempts(decide: Decide, signed: Signed): Promise<Written> {
    for (let attempt = 0; attempt < WRITE_ATTEMPTS_MAX; attempt++) {
      const written = await this.#attempt(decide, signed);
      if (written !== undefined) return written;
      this.stats.racesLost += 1;
    }
    const detail = `others won ${WRITE_ATTEMPTS_MAX} times`;
    throw new Refusal(503, { detail, headers: { 'retry-after': '1' } });
  }

  async #attempt(decide: Decide, signed: Signed): Promise<Written | undefined> {
    const { topology } = this.#replica;
    const keys = new Counters(this.#replica.counters);
    const decision = decide(topology, keys);
    if (!decision.ok) throw new Refusal(decision.status, { errors: decision.faults });
    if (decision.rows.length === 0)
      return { revision: topology.revision, objects: decision.objects };
    const { rows } = decision;
    const operations = this.#operations(rows, keys, signed);
    const head = { key: HEAD_KEY, modified: this.#replica.headModified };
    const startMs = performance.now();
    const { ok, revision } = await this.#store.transact([head], operations);
    this.#took(performance.now() - startMs);
    await this.#replica.reached(revision);
    if (!ok) return undefined;
    this.stats.committed += 1;
    const changed = new Set(rows.filter(({ put }) => put !== undefined).map(({ id }) => id));
    const objects = decision.objects.map((object) =>
      object !== undefined && changed.has(object.id) ? { ...object, revision } : object,
    );
    return { revision, objects };
  }

  /** All that one change writes: its rows, what follows from them, its entry in the history. */
  #operations(rows: readonly RowChange[], keys: Counters, signed: Signed): Operation[] {
    const operations = [
      ...rows.map(operationOf),
      ...forgetHosts(rows, this.#replica),
      ...keys.operations(),
      ...this.#history.operations(rows, signed),
    ];
    checkSize(operations.length);
    return operations;
  }
}

class Counters implements Keys {
  readonly #stored: ReadonlyMap<string, number>;
  readonly #spent = new Map<string, number>();

  constructor(stored: ReadonlyMap<string, number>) {
    this.#stored = stored;
  }

  nextFloodKey(): number {
    return this.#next(FLOOD_COUNTER, { first: FLOOD_KEY_BIT + 1, max: FLOOD_KEY_MAX });
  }
  nextTunnelKey(host: string): number {
    return this.#next(tunnelCounter(host), { first: 1, max: TUNNEL_KEY_MAX });
  }
  operations(): Operation[] {
    return [...this.#spent].map(([put, last]) => ({ put, value: String(last) }));
  }

  #next(key: string, { first, max }: { readonly first: number; readonly max: number }): number {
    const last = this.#spent.get(key) ?? this.#stored.get(key) ?? first - 1;
    if (last >= max) throw new Refusal(409, { detail: `all keys of ${key} have been used` });
    this.#spent.set(key, last + 1);
    return last + 1;
  }
}

const operationOf = ({ kind, id, put }: RowChange): Operation =>
  put === undefined
    ? { delete: objectKey(kind, id) }
    : { put: objectKey(kind, id), value: valueOf(put) };

/** With a host go its counter and its credentials: nobody can speak for it any more. */
function forgetHosts(rows: readonly RowChange[], replica: Replica): Operation[] {
  return rows
    .filter(({ kind, put }) => kind === 'host' && put === undefined)
    .flatMap(({ id }) => [
      ...(replica.counters.has(tunnelCounter(id)) ? [{ delete: tunnelCounter(id) }] : []),
      ...tokensOfHost(replica.tokens, id).map((key) => ({ delete: key })),
    ]);
}

function checkSize(operations: number): void {
  const most = STORE_LIMITS.operationsPerTransactionMax;
  if (operations <= most) return;
  const detail = `${operations} rows change together; at most ${most}: do it in smaller steps`;
  throw new Refusal(413, { detail });
}
