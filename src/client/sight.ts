/**
 * The words for looking at frames where hosts see them: captures of a port, one flow followed over
 * hosts, and drops by reason, port and rule.
 */
import { z } from 'zod';
import { Unavailable } from './errors.ts';
import type { Requests } from './request.ts';
import { LineSplitter } from './sse.ts';

/** Frames, bytes of each, and seconds that one look may take. */
export const CAPTURE = {
  frames: { least: 1, most: 1_000_000, unless: 1_000 },
  seconds: { least: 1, most: 3_600, unless: 60 },
  snapBytes: { least: 14, most: 9_256, unless: 1_600 },
} as const;
/** Characters of a filter of packets; a longer one is refused. */
export const FILTER_CHARACTERS_MAX = 300;

const text = z.string().max(200);
const id = z.uuid();

/** What a host is asked to show. */
export const SightAsk = z.strictObject({
  kind: z.literal('sight'),
  /** Only frames that enter or leave by it; the host must carry it. */
  port: id.optional(),
  /** As `net/packet-filter.ts` reads it; empty: all. */
  filter: z.string().max(FILTER_CHARACTERS_MAX),
  frames: z.int().min(1).max(CAPTURE.frames.most),
  snapBytes: z.int().min(CAPTURE.snapBytes.least).max(CAPTURE.snapBytes.most),
});

/** Where a frame is, or goes. */
const Place = z.object({
  port: id.optional(),
  /** The tunnel: the key, and whose end of it. */
  key: z.int().optional(),
  remote: text.optional(),
});
export type Place = z.output<typeof Place>;

/** A step of the walk that a flow was made by. */
const StepRow = z.object({
  kind: z.enum(['port', 'bridge', 'router', 'chain']),
  id,
  did: text,
  detail: z.string().max(1_000).optional(),
});
export type StepRow = z.output<typeof StepRow>;

/** A frame that was seen, as the host that saw it tells it. */
export const SeenFrame = z.object({
  type: z.literal('frame'),
  /** Milliseconds since 1970 by that host's clock, with their fraction. */
  atMs: z.number(),
  /** It enters by a port or the tunnel, is sent on by the agent, or leaves by a port. */
  where: z.enum(['port', 'tunnel', 'inject', 'out']),
  at: Place,
  fate: z.enum(['sent', 'dropped', 'up']),
  /** Of the drop, or why it was handed up. */
  reason: text.optional(),
  outputs: z.int().min(0),
  to: Place.optional(),
  /** SLOT.GENERATION of the flow that serves it. */
  flow: text.optional(),
  /** Of a frame that was handed up: what the agent has decided since. */
  decided: z.object({ flow: text, reason: text.optional() }).optional(),
  /** What decided that it is dropped. */
  by: StepRow.optional(),
  length: z.int().min(0),
  /** Its first bytes, in base64. */
  frame: z.base64(),
});
export type SeenFrame = z.output<typeof SeenFrame>;

export const SightPart = z.discriminatedUnion('type', [
  SeenFrame,
  /** Every second: how many frames there were to show, and how many of these were not shown. */
  z.object({ type: z.literal('count'), matched: z.int().min(0), lost: z.int().min(0) }),
]);

export const DropsAsk = z.strictObject({ kind: z.literal('drops') });
/** Drops of one entry for one reason. */
export const DropsPart = z.object({
  /** A port, or (of what came by the tunnel) a bridge or router or whose end; none: of nobody. */
  port: id.optional(),
  bridge: id.optional(),
  router: id.optional(),
  remote: text.optional(),
  reason: text,
  /** Since the datapath was made, by the kernel and by the agent. */
  packets: z.int().min(0),
  /** Of live flows, by the step that decided. */
  rules: z.array(
    z.object({
      by: StepRow.optional(),
      flows: z.int().min(0),
      packets: z.int().min(0),
    }),
  ),
});

/** A frame as the caller of the API may know it: names where there were ids. */
export interface CapturedFrame {
  readonly type: 'frame';
  readonly atMs: number;
  readonly host: string;
  readonly where: SeenFrame['where'];
  /** Where it was seen: `port vm1`, `tunnel from h2`, `agent`. */
  readonly at: string;
  /** What became of it there, in words. */
  readonly verdict: string;
  readonly fate: SeenFrame['fate'];
  readonly reason?: string;
  /** HOST:SLOT.GENERATION, as `mn flows` has it. */
  readonly flow?: string;
  readonly length: number;
  /** Base64. */
  readonly frame: string;
}
export interface CaptureEnd {
  readonly type: 'end';
  readonly frames: number;
  /** Frames that were not shown: more came than a look may take. */
  readonly lost: number;
  /** Hosts that showed nothing, or not to the end, and why. */
  readonly missing: readonly { readonly host: string; readonly why: string }[];
}
/** `alive` lines say that nothing was seen, so that a reader who is gone is noticed. */
export type CaptureLine =
  | { readonly type: 'start'; readonly hosts: readonly string[] }
  | { readonly type: 'alive' }
  | CapturedFrame
  | CaptureEnd;

export interface CaptureQuery {
  readonly filter?: string | undefined;
  readonly count?: number | undefined;
  readonly seconds?: number | undefined;
  readonly snaplen?: number | undefined;
}

const MissingHosts = z.array(
  z.object({ host: z.string(), why: z.string().describe('Why it does not answer.') }),
);
/** Drops of one port on one host for one reason, by one rule. */
const DropRowBody = z.object({
  host: z.string(),
  port: z.string().optional().describe('The id of the port where the frames entered.'),
  bridge: z
    .string()
    .optional()
    .describe('The id of the bridge that frames of the tunnel were for.'),
  router: z
    .string()
    .optional()
    .describe('The id of the router that frames of the tunnel were for.'),
  at: z.string().describe('Where, in words.'),
  reason: z.string(),
  about: z.string().describe('The reason in words.'),
  by: z
    .string()
    .optional()
    .describe('The step that decided; absent: the datapath, the agent, or a flow that is gone.'),
  flows: z.int().min(0).describe('Flows that drop so now.'),
  packets: z.int().min(0),
});
export type DropRow = z.output<typeof DropRowBody>;

export const DropsBody = z
  .object({ rows: z.array(DropRowBody), missing: MissingHosts })
  .meta({ id: 'Drops', description: 'What was dropped, and the hosts that did not say.' });
export type Drops = z.output<typeof DropsBody>;

export interface DropsQuery {
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly reason?: string | undefined;
}

/** Looking at frames. Part of `Client`. */
export interface Looking {
  /** Frames that enter and leave by a port, as they pass; until the limits, or `signal`. */
  capture(port: string, query: CaptureQuery, signal: AbortSignal): AsyncIterable<CaptureLine>;
  /** Packets on all hosts of the network of a port, as they pass. */
  traceLive(port: string, query: CaptureQuery, signal: AbortSignal): AsyncIterable<CaptureLine>;
  drops(query: DropsQuery): Promise<Drops>;
}

function queryText(query: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)]],
  );
  return given.length === 0 ? '' : `?${String(new URLSearchParams(given))}`;
}

/** Lines of JSON as they come. Throws Unavailable when they end before the last one. */
async function* lines(response: Response): AsyncGenerator<CaptureLine> {
  const splitter = new LineSplitter();
  const body = response.body ?? new ReadableStream<Uint8Array>();
  for await (const bytes of body)
    for (const line of splitter.push(bytes)) {
      if (line === '') continue;
      const parsed = JSON.parse(line) as CaptureLine;
      yield parsed;
      if (parsed.type === 'end') return;
    }
  throw new Unavailable('the capture was cut off');
}

export function looking({ open, get }: Requests): Looking {
  async function* stream(path: string, signal: AbortSignal): AsyncGenerator<CaptureLine> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    try {
      yield* lines(await open(path, { signal: either }));
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      stop.abort();
    }
  }
  const pathOf = (port: string, what: string, query: CaptureQuery): string =>
    `/v1/ports/${encodeURIComponent(port)}/${what}${queryText({ ...query })}`;
  return {
    capture: (port, query, signal) => stream(pathOf(port, 'capture', query), signal),
    traceLive: (port, query, signal) => stream(pathOf(port, 'live-trace', query), signal),
    drops: (query) => get(`/v1/drops${queryText({ ...query })}`),
  };
}
