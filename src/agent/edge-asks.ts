/**
 * What the packet worker is asked: each answer is a generator that does a little and yields, so
 * that first packets never wait for more than one slice of it.
 *
 * Invariants: between two batches of first packets at most one slice of one answer runs; an answer
 * that is over, or failed, is told its end once; what an answer holds it gives back in `finally`.
 */
import type { Ask, AskKind, AskOf, PartOf } from '#client/asks.ts';
import type { Datapath } from '#datapath/datapath.ts';
import type { Connections } from '#flow/connections.ts';
import type { FlowTable } from '#flow/table.ts';
import type { Topology } from '#virtual/topology.ts';
import type { HostId } from '#virtual/ids.ts';
import type { Bindings } from './bindings.ts';
import { connections, publicPorts, ruleCounts, ruleLog } from './firewall-asks.ts';
import { balanceStats } from './balance-asks.ts';
import { flows, why } from './flow-asks.ts';
import { decideAnswer, interfacesAnswer } from './decide-asks.ts';
import type { FromEdge } from './messages.ts';
import type { Looks } from './looks.ts';
import type { PacketPath } from './packets.ts';
import type { PublicPorts } from './public-ports.ts';
import { drops } from './drops.ts';
import { sight } from './sight.ts';

/** What answers of the packet worker are made of. */
export interface EdgeContext {
  readonly host: HostId;
  readonly topology: Topology;
  readonly datapath: Datapath;
  readonly table: FlowTable;
  readonly bindings: Bindings;
  readonly packets: PacketPath;
  readonly connections: Connections;
  readonly publicPorts: PublicPorts;
  readonly looks: Looks;
}
/**
 * What a slice came to: parts, maybe none; `'idle'`: there is nothing to do before something
 * happens, and the answer is looked at again after each batch, message and tick.
 */
export type Slice<P> = readonly P[] | 'idle';
/** A slice takes well below a millisecond: some hundred rows. What it throws is told. */
export type EdgeAnswer<K extends AskKind> = (
  ask: AskOf<K>,
  context: EdgeContext,
) => Generator<Slice<PartOf<K>>, void, void>;

/** Kinds that the packet worker answers. */
export const EDGE_ANSWERS = {
  flows,
  why,
  decide: decideAnswer,
  interfaces: interfacesAnswer,
  sight,
  drops,
  'rule-counts': ruleCounts,
  'rule-log': ruleLog,
  'balance-stats': balanceStats,
  connections,
  'public-ports': publicPorts,
} as const satisfies { readonly [K in AskKind]?: EdgeAnswer<K> };

type AnyAnswer = (ask: Ask, context: EdgeContext) => Generator<Slice<unknown>, void, void>;
type Post = (message: FromEdge) => void;

interface Running {
  readonly id: string;
  readonly slices: Generator<Slice<unknown>, void, void>;
  idle: boolean;
}

export class EdgeAsks {
  readonly #context: EdgeContext;
  readonly #answers: Readonly<Record<string, AnyAnswer>>;
  /** Those whose turn comes first are first. */
  #running: Running[] = [];

  /** `answers`: other than EDGE_ANSWERS in tests only. */
  constructor(context: EdgeContext, answers: object = EDGE_ANSWERS) {
    this.#context = context;
    this.#answers = answers as Readonly<Record<string, AnyAnswer>>;
  }

  start(id: string, ask: Ask, post: Post): void {
    const answer = this.#answers[ask.kind];
    if (answer === undefined) {
      const error = `the packet worker does not answer "${ask.kind}"`;
      return post({ type: 'answer', id, parts: [], done: true, error });
    }
    this.#running.push({ id, slices: answer(ask, this.#context), idle: false });
  }

  /** Nobody waits for it any more. */
  over(id: string): void {
    const running = this.#running.find((one) => one.id === id);
    this.#running = this.#running.filter((one) => one !== running);
    running?.slices.return();
  }

  /** Whether `step` has something to do now. */
  get busy(): boolean {
    return this.#running.some(({ idle }) => !idle);
  }

  /** Something happened: whoever waits for that looks again. */
  wake(): void {
    for (const running of this.#running) running.idle = false;
  }

  /** One slice of the answer whose turn it is. */
  step(post: Post): void {
    const at = this.#running.findIndex(({ idle }) => !idle);
    const [running] = at < 0 ? [] : this.#running.splice(at, 1);
    if (running === undefined) return;
    const { id, slices } = running;
    let error: string | undefined;
    try {
      const { done, value } = slices.next();
      if (done !== true) {
        running.idle = value === 'idle';
        this.#running.push(running);
        if (value !== 'idle' && value.length > 0)
          post({ type: 'answer', id, parts: value, done: false });
        return;
      }
    } catch (thrown) {
      // An answer only looks: what it cannot tell is no reason to stop deciding packets.
      error = thrown instanceof Error ? thrown.message : String(thrown);
    }
    post({ type: 'answer', id, parts: [], done: true, ...(error !== undefined && { error }) });
  }
}
