/**
 * What becomes of packets, by the topology and what is known now. Decides, and commits nothing.
 */
import { compile, type Compiled } from '#flow/compile.ts';
import type { Cause } from '#flow/cause.ts';
import type { Actions, Entry } from '#flow/flow.ts';
import { KEY, KEY_SIZE } from '#flow/layout.ts';
import { entryOf, headersOf, parseKey } from '#flow/parse.ts';
import { packetSize } from '#flow/size.ts';
import { read16 } from '#net/bytes.ts';
import type { Whole } from '#net/reassembly.ts';
import { assumed, type Translation } from '#virtual/connection.ts';
import type { HostId } from '#virtual/ids.ts';
import { hasField, type FieldSet, type Headers } from '#virtual/match.ts';
import { observe, type Observed } from '#virtual/observe.ts';
import type { Ingress, Outcome, PublicEnd } from '#virtual/outcome.ts';
import { simulate } from '#virtual/simulate.ts';
import type { Tag } from '#virtual/tags.ts';
import type { Topology } from '#virtual/topology.ts';
import type { StateView } from '#virtual/view.ts';
import type { Bindings } from './bindings.ts';

/** What a flow would be, decided now. */
export interface Decision {
  readonly outcome: Outcome;
  readonly actions: Actions;
  readonly fields: FieldSet;
  readonly tags: readonly Tag[];
  /** Of each output: see `Compiled`. */
  readonly limits: Compiled['limits'];
}

/** A frame under decision. `key`: of the frame as it is. `whole`: it was put together. */
export interface Packet {
  readonly key: Uint8Array;
  readonly frame: Uint8Array;
  readonly gsoSize: number;
  readonly ingress: Ingress;
  readonly whole?: Whole | undefined;
  /** Of a frame of the network itself: see `Send`. */
  readonly about?: readonly Translation[] | undefined;
}
/** Why a flow is what it is. What the walk wrote is in the actions, unless the host drops it. */
export function causeOf({ outcome, actions }: Decision): Cause {
  const { steps, verdict, rewrites } = outcome;
  const lost = verdict.kind === 'forward' && actions.drop !== undefined;
  return { steps, verdict, ...(lost && { rewrites }) };
}

const EVERY_ANSWER = assumed('established');
const NO_BYTES = new Uint8Array(0);
/** A TTL that no walk uses up. */
const TTL_AMPLE = 255;

export class Decider {
  readonly #host: HostId;
  readonly #topology: Topology;
  /** What walks may ask. */
  readonly #view: StateView;
  readonly #bindings: Bindings;

  constructor(host: HostId, topology: Topology, view: StateView, bindings: Bindings) {
    this.#host = host;
    this.#topology = topology;
    this.#view = view;
    this.#bindings = bindings;
  }

  /**
   * Decides a flow anew by its masked key, with nothing committed. Undefined: nobody here owns its
   * entry, or there would be no flow.
   */
  decide(key: Uint8Array, fields: FieldSet): Decision | undefined {
    const found = this.outcomeOf(key, fields);
    const kind = found?.outcome.verdict.kind;
    return found !== undefined && (kind === 'forward' || kind === 'drop')
      ? this.decision(found.outcome, found.ingress, key)
      : undefined;
  }
  /** The same, whatever the verdict is. */
  outcomeOf(key: Uint8Array, fields: FieldSet): { outcome: Outcome; ingress: Ingress } | undefined {
    const ingress = this.ingressOf(entryOf(key));
    if (ingress === undefined) return undefined;
    const headers = headersOf(key);
    // A TTL that is not matched is guarded: the flow serves those that are large enough.
    const ample = hasField(fields, 'ipTtl') ? headers : { ...headers, ipTtl: TTL_AMPLE };
    return { outcome: this.#simulate(ample, NO_BYTES, 0, ingress), ingress };
  }

  /** Decides a frame as if it came now, and tells what was looked at; nothing is committed. */
  observe(bytes: Uint8Array, ingress: Ingress): Observed | undefined {
    const key = new Uint8Array(KEY_SIZE);
    if (!parseKey(bytes, key)) return undefined;
    const [topology, state, headers] = [this.#topology, this.#view, headersOf(key)];
    return observe({ topology, state, headers, bytes, size: packetSize(bytes, 0), ingress });
  }

  /** Where packets of an entry enter the virtual network; undefined: nowhere. */
  ingressOf(entry: Entry): Ingress | undefined {
    if (entry.tunnel === undefined) {
      const port = this.#bindings.portAt(entry.port);
      return port === undefined ? undefined : { port };
    }
    const { key } = entry.tunnel;
    const flood = this.#topology.bridgeOfFloodKey(key);
    if (flood !== undefined) return { flood };
    const heard = this.#topology.routerOfNetworkKey(key);
    return heard === undefined ? undefined : { heard };
  }

  #simulate(headers: Headers, bytes: Uint8Array, size: number, ingress: Ingress): Outcome {
    return simulate({
      topology: this.#topology,
      state: this.#view,
      headers,
      bytes,
      size,
      ingress,
    });
  }
  walk({ key, frame, gsoSize, ingress, whole, about }: Packet): Outcome {
    return simulate({
      topology: this.#topology,
      state: this.#view,
      headers: headersOf(key),
      bytes: frame,
      size: whole?.largest ?? packetSize(frame, gsoSize),
      ingress,
      about,
    });
  }

  /**
   * The host that would have let the connection out, were this an answer: where such a packet would
   * leave; where it is sent to a public end, who owns that. Undefined: it would not pass as an
   * answer either, or it would leave here.
   */
  ownerOf(packet: Packet, end?: PublicEnd): HostId | undefined {
    if (end !== undefined) return this.#ownerOfEnd(end);
    const { key, frame, gsoSize, ingress } = packet;
    const [topology, state] = [this.#topology, { ...this.#view, connections: EVERY_ANSWER }];
    const size = packetSize(frame, gsoSize);
    const request = { topology, state, headers: headersOf(key), bytes: frame, size, ingress };
    const { verdict } = simulate(request);
    if (verdict.kind !== 'forward' || verdict.to.length !== 1) return undefined;
    const [to] = verdict.to;
    if (to === undefined || !('port' in to) || this.#bindings.isHere(to.port)) return undefined;
    return topology.location(to.port)?.host as HostId | undefined;
  }

  #ownerOfEnd({ router, address, port }: PublicEnd): HostId | undefined {
    const owner = this.#topology.natBlocks.owner(router, address, port);
    return owner === this.#host ? undefined : owner;
  }

  /** `outcome`, with what a datapath does for it. */
  decision(outcome: Outcome, ingress: Ingress, key: Uint8Array): Decision {
    const tagged = read16(key, KEY.vlan) !== 0;
    const { actions, tags, limits } = compile(outcome, ingress, this.#bindings, tagged);
    return { outcome, actions, fields: outcome.seen, tags: [...outcome.tags, ...tags], limits };
  }
}
