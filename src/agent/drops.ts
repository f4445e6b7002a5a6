/**
 * What this host dropped: by port, reason and the step that decided.
 *
 * Invariant: the packets told are those that the datapath counted of each entry, so those that live
 * flows dropped are told once: under their port, or, of what came by the tunnel, under the bridge
 * or router that they were for and not under the host that sent them.
 */
import type { PartOf } from '#client/asks.ts';
import type { StepRow } from '#client/sight.ts';
import type { FlowRef } from '#flow/flow.ts';
import { entryOf } from '#flow/parse.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { EdgeAnswer, EdgeContext } from './edge-asks.ts';
import { addressOf, stepRow } from './sight.ts';

const ROWS_PER_SLICE = 128;
const SLOTS_PER_SLICE = 512;

type Part = PartOf<'drops'>;
type Place = Pick<Part, 'port' | 'bridge' | 'router' | 'remote'>;
interface Dropped {
  readonly place: Place;
  readonly reason: DropReason;
  packets: number;
  /** Live flows, by the step that decided. */
  readonly rules: Map<string, { by: StepRow | undefined; flows: number; packets: number }>;
}

class Survey {
  readonly #context: EdgeContext;
  readonly #rows = new Map<string, Dropped>();
  /** By source and reason: packets that are told elsewhere. */
  readonly #told = new Map<string, number>();

  constructor(context: EdgeContext) {
    this.#context = context;
  }

  #row(place: Place, reason: DropReason): Dropped {
    return this.#rows.getOrInsertComputed(JSON.stringify([place, reason]), () => ({
      place,
      reason,
      packets: 0,
      rules: new Map(),
    }));
  }

  /** Takes a flow, if it drops. */
  flow(ref: FlowRef): void {
    const { datapath, table, bindings, topology } = this.#context;
    const reason = datapath.actions(ref)?.drop;
    const match = reason === undefined ? undefined : table.match(ref);
    if (reason === undefined || match === undefined) return;
    const { port: dpPort, tunnel } = entryOf(match.key);
    const { packets } = datapath.stats(ref);
    const port = tunnel === undefined ? bindings.portAt(dpPort) : undefined;
    const bridge = tunnel && topology.bridgeOfFloodKey(tunnel.key);
    const router = tunnel && topology.routerOfNetworkKey(tunnel.key);
    const row = this.#row(placed({ port, bridge, router }), reason);
    if (tunnel !== undefined) {
      row.packets += packets;
      const source = `${tunnel.source} ${reason}`;
      this.#told.set(source, (this.#told.get(source) ?? 0) + packets);
    }
    const step = table.cause(ref)?.steps.at(-1);
    const by = step && stepRow(step);
    const rule = row.rules.getOrInsertComputed(JSON.stringify(by ?? null), () => ({
      by,
      flows: 0,
      packets: 0,
    }));
    rule.flows += 1;
    rule.packets += packets;
  }

  /** Takes what the datapath counted, after all flows. */
  counters(): void {
    const { datapath, bindings } = this.#context;
    const entered = new Map<DropReason, number>();
    for (const { port, source, drops, agentDrops } of datapath.entryDrops()) {
      const at = port === undefined || source !== undefined ? undefined : bindings.portAt(port);
      const remote = source === undefined ? undefined : addressOf(this.#context, source);
      const place = placed({ port: at, remote });
      for (const [reason, n] of Object.entries(drops) as [DropReason, number][]) {
        entered.set(reason, (entered.get(reason) ?? 0) + n);
        const told = source === undefined ? 0 : (this.#told.get(`${source} ${reason}`) ?? 0);
        this.#row(place, reason).packets += n - told;
      }
      for (const [reason, n] of Object.entries(agentDrops) as [DropReason, number][])
        this.#row(place, reason).packets += n;
    }
    const all = Object.entries(datapath.counters().drops) as [DropReason, number][];
    for (const [reason, n] of all) this.#row({}, reason).packets += n - (entered.get(reason) ?? 0);
  }

  parts(): Part[] {
    return [...this.#rows.values()]
      .filter(({ packets, rules }) => packets > 0 || rules.size > 0)
      .map(({ place, reason, packets, rules }) => ({
        ...place,
        reason,
        packets: Math.max(0, packets),
        rules: [...rules.values()].map(({ by, ...rule }) => ({ ...rule, ...(by && { by }) })),
      }));
  }
}

/** Without what is not there. */
const placed = (place: { readonly [K in keyof Place]: Place[K] | undefined }): Place =>
  Object.fromEntries(Object.entries(place).filter(([, value]) => value !== undefined));

export const drops: EdgeAnswer<'drops'> = function* (_ask, context) {
  const survey = new Survey(context);
  const { table } = context;
  for (let slot = 0; slot < table.slots; slot += SLOTS_PER_SLICE) {
    for (const ref of table.refsIn(slot, SLOTS_PER_SLICE)) survey.flow(ref);
    yield [];
  }
  survey.counters();
  const parts = survey.parts();
  for (let at = 0; at < parts.length; at += ROWS_PER_SLICE)
    yield parts.slice(at, at + ROWS_PER_SLICE);
};
