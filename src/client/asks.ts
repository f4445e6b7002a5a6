/**
 * Requests that travel back to an agent on its own watch stream, and how it answers them. One row
 * of `ASKS` for each kind: API and agent validate by it, and neither describes a kind a second
 * time.
 *
 * Invariant: what an agent answers are parts, each by itself valid and complete, in an order; ids,
 * numbers and texts of packets, never names of objects: what is called how, and who may know it, is
 * the API's to say. An agent is asked only what it said, on its stream, that it answers.
 */
import { z } from 'zod';
import {
  ConnectionPart,
  PublicPortsAsk,
  PublicPortsPart,
  ConnectionsAsk,
  RuleCountsAsk,
  RuleCountsPart,
  RuleLogAsk,
  RuleLogPart,
} from './firewall.ts';
import { BalanceStatsAsk, BalanceStatsPart } from './balance.ts';
import { HEALTH_ASKS } from './health-asks.ts';
import { FlowPart, FlowsAsk, WhyAsk, WhyPart } from './flows.ts';
import { DecideAsk, DecidePart, InterfacePart, InterfacesAsk } from './decided.ts';
import { type Requests, withBody } from './request.ts';
import { DropsAsk, DropsPart, SightAsk, SightPart } from './sight.ts';

/** Characters of a text that names nothing in particular. */
const TEXT_MAX = 1_000;
const text = z.string().max(TEXT_MAX);
const count = z.int().min(0);

export interface AskRow {
  /** What is asked: an object with `kind`. */
  readonly ask: z.ZodType<{ readonly kind: string }>;
  /** One part of the answer. */
  readonly part: z.ZodType;
  readonly about: string;
  /** It has no end of its own: it is answered until the caller goes, or its time is over. */
  readonly lasts: boolean;
}

/** Every kind of request to an agent. */
export const ASKS = {
  about: {
    about: 'What the agent is, and what it runs on.',
    lasts: false,
    ask: z.strictObject({ kind: z.literal('about') }),
    part: z.object({
      version: text,
      kernel: text,
      /** Every change up to here is in force; -1: it has not synced since it started. */
      revision: z.int().min(-1),
      /** Since the agent started. */
      upMs: count,
    }),
  },
  ...HEALTH_ASKS,
  sight: {
    about: 'Frames where the datapath sees them, as they pass.',
    lasts: true,
    ask: SightAsk,
    part: SightPart,
  },
  drops: {
    about: 'What was dropped: by port, reason and rule.',
    lasts: false,
    ask: DropsAsk,
    part: DropsPart,
  },
  'rule-counts': {
    about: 'How many packets rules have matched.',
    lasts: false,
    ask: RuleCountsAsk,
    part: RuleCountsPart,
  },
  'rule-log': {
    about: 'The last packets that logged rules matched.',
    lasts: false,
    ask: RuleLogAsk,
    part: RuleLogPart,
  },
  'balance-stats': {
    about: 'What members of a load balancer were sent, and have answered.',
    lasts: false,
    ask: BalanceStatsAsk,
    part: BalanceStatsPart,
  },
  connections: {
    about: 'The connections that are known, in the order of their slots.',
    lasts: false,
    ask: ConnectionsAsk,
    part: ConnectionPart,
  },
  'public-ports': {
    about: 'The public ports that are owned, and how many connections have one.',
    lasts: false,
    ask: PublicPortsAsk,
    part: PublicPortsPart,
  },
  flows: {
    about: 'Live flows, in the order of their slots.',
    lasts: false,
    ask: FlowsAsk,
    part: FlowPart,
  },
  why: {
    about: 'The flow that a packet matches, or what would become of it.',
    lasts: false,
    ask: WhyAsk,
    part: WhyPart,
  },
  decide: {
    about: 'What would become of a frame, and what the walk looked at.',
    lasts: false,
    ask: DecideAsk,
    part: DecidePart,
  },
  interfaces: {
    about: 'Which of these interfaces are there for a port to take.',
    lasts: false,
    ask: InterfacesAsk,
    part: InterfacePart,
  },
} as const satisfies Record<string, AskRow>;

export type AskKind = keyof typeof ASKS;
export const ASK_KINDS = Object.keys(ASKS) as AskKind[];
export type AskOf<K extends AskKind> = z.output<(typeof ASKS)[K]['ask']>;
export type PartOf<K extends AskKind> = z.output<(typeof ASKS)[K]['part']>;
export type Ask = { [K in AskKind]: AskOf<K> }[AskKind];

/** The request header of a watch that says which kinds the agent answers, with commas. */
export const ASKS_HEADER = 'x-midonet-asks';
/** How long an agent may take, unless told; and at most. */
export const ASK_TIMEOUT_MS = 5_000;
/** The longest that an agent may be given; longer is refused. */
export const ASK_TIMEOUT_MAX_MS = 60_000;
/** How long something that lasts may, at most; its caller asks again. */
export const ASK_LASTS_MAX_MS = 3_600_000;
/** Parts of an answer, and bytes of them as JSON, in one request. */
export const PARTS_PER_ANSWER_MAX = 4_096;
/** Bytes of these parts, as JSON; more go in another request. */
export const ANSWER_BYTES_MAX = 512 * 1024;

/** Events on the stream of a host. */
export type AskEvent =
  | {
      readonly type: 'ask';
      readonly id: string;
      /** Of this version or a later one: to be validated before it is believed. */
      readonly ask: { readonly kind: string };
      /** Nobody waits for the answer after that. */
      readonly timeoutMs: number;
    }
  /** Nobody waits for the answer any more. */
  | { readonly type: 'ask-over'; readonly id: string };

/** What an agent answers, in one request or several: all but the last are not `done`. */
export const AnswerBody = z
  .strictObject({
    parts: z.array(z.unknown()).max(PARTS_PER_ANSWER_MAX),
    done: z.boolean().describe('Nothing more will come.'),
    error: text.optional().describe('Why there is no answer, or no more of it.'),
  })
  .meta({ id: 'Answer', description: 'What an agent answers to what it was asked.' });
export type Answer = z.output<typeof AnswerBody>;

/** What a host answers. Part of `Client`. */
export interface AskAnswers {
  /** Hosts only: a part of the answer, or its end. Throws ApiError (404, 410) when it is over. */
  answerAsk(id: string, answer: Answer): Promise<void>;
}

export const askAnswers = ({ send }: Requests): AskAnswers => ({
  answerAsk: async (id, answer) => {
    await send(`/v1/asks/${encodeURIComponent(id)}`, withBody('POST', answer));
  },
});
