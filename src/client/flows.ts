/**
 * Live flows and why they are what they are: what agents are asked and answer (`Part`: numbers and
 * ids), and what the API makes of it for whoever asked (`Row`: names, and texts of what the reader
 * may know).
 *
 * Invariant: a part says what is recorded or installed on that host, never what it ought to be.
 */
import { z } from 'zod';
import { CONNECTION_STATES } from '#virtual/connection.ts';
import { DROPS, type DropReason } from '#virtual/drop.ts';
import { FIELDS } from '#virtual/match.ts';
import type { Requests } from './request.ts';

/** Flows in one answer of a host; further ones with `after`. */
export const FLOWS_PER_ASK_MAX = 1_000;
/** Ports that one question about flows may name. */
export const PORTS_PER_ASK_MAX = 4_096;
const FRAME_BYTES_MAX = 65_535;
const KEY_BYTES_MAX = 256;
const STEPS_MAX = 1_000;
const OUTPUTS_MAX = 1_024;

const text = z.string().max(200);
const count = z.int().min(0);
const hex = (bytesMax: number): z.ZodString =>
  z
    .string()
    .regex(/^([0-9a-f]{2})*$/)
    .max(2 * bytesMax);
const reason = z.enum(Object.keys(DROPS) as [DropReason, ...DropReason[]]);
const vlan = z.int().min(0).max(0x1fff).optional();

const RecipientPart = z.union([
  z.object({ port: text, vlan }),
  z.object({ flood: text, except: text.optional(), here: z.literal(true).optional(), vlan }),
]);
const VerdictPart = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('forward'),
    to: z.array(RecipientPart).max(OUTPUTS_MAX),
    cut: count.optional(),
  }),
  z.object({ kind: z.literal('answer') }),
  z.object({ kind: z.literal('collect') }),
  z.object({ kind: z.literal('drop'), reason }),
  z.object({ kind: z.literal('wait'), port: text, ip: text }),
  z.object({
    kind: z.literal('want-ports'),
    router: text,
    address: text,
    first: count,
    last: count,
  }),
]);

/** A walk as an agent tells it. Addresses are text. */
export const CausePart = z.object({
  steps: z
    .array(
      z.object({
        kind: z.enum(['port', 'bridge', 'router', 'chain']),
        id: text,
        did: text,
        detail: z.string().max(1_000).optional(),
      }),
    )
    .max(STEPS_MAX),
  verdict: VerdictPart,
  /** Routers passed: the TTL is less by so many. */
  decTtl: count,
  ethSrc: text.optional(),
  ethDst: text.optional(),
  /** What this host does of it where the network would forward: there is no way to the port. */
  drop: reason.optional(),
  /** What the network itself would send because of it. */
  sends: z.array(z.object({ port: text, frame: hex(FRAME_BYTES_MAX) })).max(64),
});
export type CausePart = z.output<typeof CausePart>;

const RewritePart = z.object({
  ethSrc: text.optional(),
  ethDst: text.optional(),
  ipSrc: text.optional(),
  ipDst: text.optional(),
  dscp: count.optional(),
  tpSrc: count.optional(),
  tpDst: count.optional(),
});
export type RewritePart = z.output<typeof RewritePart>;
const OutputPart = RewritePart.extend({
  /** The port whose interface it is; or the number of one that is no port's any more. */
  port: text.optional(),
  interface: count.optional(),
  /** Over the tunnel: the underlay address, and the key there. */
  remote: text.optional(),
  key: count.optional(),
  vlan,
});
export type OutputPart = z.output<typeof OutputPart>;
const ActionsPart = RewritePart.extend({
  drop: reason.optional(),
  decTtl: count.optional(),
  mtu: count.optional(),
  vlan,
  outputs: z.array(OutputPart).max(OUTPUTS_MAX),
});
export type ActionsPart = z.output<typeof ActionsPart>;

/** One installed flow, as the agent that has it tells it. */
export const FlowPart = z.object({
  slot: count,
  generation: count,
  /** The port whose interface it matches; absent: it matches the tunnel, or the port is gone. */
  port: text.optional(),
  tunnel: z
    .object({
      key: count,
      /** The underlay address of the sender; absent: it is no peer any more. */
      source: text.optional(),
      bridge: text.optional(),
      router: text.optional(),
    })
    .optional(),
  key: hex(KEY_BYTES_MAX),
  fields: z.array(z.enum(FIELDS)),
  /** The state of its connection, by which it was decided; absent: nobody asked. */
  connection: z.enum(CONNECTION_STATES).optional(),
  /** Absent: adopted from an agent before, and not decided anew yet. */
  cause: CausePart.optional(),
  actions: ActionsPart,
  packets: count,
  bytes: count,
  /** Since it was installed, or adopted by this agent. */
  ageMs: count,
  /** Since the last packet; absent: there was none. */
  idleMs: count.optional(),
});
export type FlowPart = z.output<typeof FlowPart>;

export const FlowsAsk = z.strictObject({
  kind: z.literal('flows'),
  /** Only flows that enter at these ports. */
  ports: z.array(text).max(PORTS_PER_ASK_MAX).optional(),
  /** Only this one. */
  slot: count.optional(),
  generation: count.optional(),
  limit: z.int().min(1).max(FLOWS_PER_ASK_MAX),
  /** Only those in later slots. */
  after: z.int().min(-1).optional(),
});
export const WhyAsk = z.strictObject({
  kind: z.literal('why'),
  /** Where the frame enters. */
  port: text,
  frame: hex(FRAME_BYTES_MAX),
});
export const WhyPart = z.object({
  /** The revision in force. */
  revision: z.int(),
  /** The installed flow that this packet matches. */
  flow: FlowPart.optional(),
  /** The flow does not carry it, though it matches: its TTL, or its size, is not in its bounds. */
  beyond: z.enum(['ttl', 'too-big', 'connection']).optional(),
  /** What would become of it, where no flow carries it. */
  walk: CausePart.optional(),
});
export type WhyPart = z.output<typeof WhyPart>;

/** A live flow, for whoever asked. */
export interface FlowRow {
  /** `HOST:SLOT.GENERATION`; for tenants `PORT:SLOT.GENERATION`. Names this one installed flow. */
  readonly id: string;
  /** Ids and names. Tenants are told no hosts. */
  readonly host?: string;
  readonly hostName?: string;
  readonly port?: string;
  readonly portName?: string;
  /** `bridge NAME`, `router NAME`: what another host sent it for, by the tunnel. */
  readonly from?: string;
  readonly match: string;
  readonly fields: readonly string[];
  readonly actions: string;
  readonly verdict: 'forward' | 'drop';
  /** Why it drops: a reason of the closed list. */
  readonly reason?: string;
  /** The cause, as a trace prints it; none while an adopted flow was not decided anew. */
  readonly lines: readonly string[];
  readonly packets: number;
  readonly bytes: number;
  readonly ageMs: number;
  readonly idleMs?: number;
  /** The masked key, in hex. */
  readonly key: string;
}
/** A host of which nothing is known, and why. */
export interface MissingHost {
  readonly host: string;
  readonly why: string;
}
export interface FlowPage {
  readonly revision: number;
  readonly items: readonly FlowRow[];
  /** Hosts that are asked and did not answer: what they have is not among the items. */
  readonly missing: readonly MissingHost[];
  /** Pass as `after` for the next page; absent on the last. */
  readonly next?: string;
}
export interface FlowQuery {
  /** Ids or unique names. */
  readonly host?: string;
  readonly port?: string;
  readonly limit?: number;
  readonly after?: string;
}

/**
 * Frames that entered at a port and were dropped by no flow that is there, since its host counts
 * them: before anybody decided, by the agent, or by flows that are gone.
 */
export interface DropCount {
  /** Its name, or its id. */
  readonly port: string;
  readonly reason: string;
  readonly about: string;
  readonly frames: number;
}
export interface WhyPacket {
  readonly revision: number;
  readonly flow?: FlowRow;
  /** In words: why the flow does not carry this packet, though it matches. */
  readonly beyond?: string;
  /** What would become of the packet: a trace by the agent of the host, not what is installed. */
  readonly trace?: {
    readonly verdict: string;
    readonly reason?: string;
    readonly lines: readonly string[];
  };
  readonly drops: readonly DropCount[];
}
export interface WhyPair {
  readonly revision: number;
  /** Flows from the first port to the second, and back; drops on the way included. */
  readonly forth: readonly FlowRow[];
  readonly back: readonly FlowRow[];
  readonly drops: readonly DropCount[];
  readonly missing: readonly MissingHost[];
}

/** Part of `Client`. */
export interface FlowQuestions {
  /** One page of live flows of all hosts. */
  flows(query?: FlowQuery): Promise<FlowPage>;
  /** One flow, by the id that a list shows. Throws ApiError (404) when it is not there any more. */
  flow(id: string): Promise<FlowRow>;
  /** The installed flow that a frame entering at a port would match, or what would become of it. */
  whyPacket(port: string, frame: string): Promise<WhyPacket>;
  whyPair(from: string, to: string): Promise<WhyPair>;
}

/** Agents are given some seconds to answer. */
const QUESTION_MS = 30_000;

export function flowQuestions({ ask }: Requests): FlowQuestions {
  const queryOf = (query: object): string => {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const words = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return words.size === 0 ? '' : `?${words.toString()}`;
  };
  return {
    flows: (query = {}) => ask('GET', `/v1/flows${queryOf(query)}`, undefined, QUESTION_MS),
    flow: (id) => ask('GET', `/v1/flows/${encodeURIComponent(id)}`, undefined, QUESTION_MS),
    whyPacket: (port, frame) => ask('POST', '/v1/why', { port, frame }, QUESTION_MS),
    whyPair: (from, to) => ask('GET', `/v1/why${queryOf({ from, to })}`, undefined, QUESTION_MS),
  };
}
