/**
 * What agents are asked about their health: rows of `ASKS`. A finding says what is wrong, by what
 * that is known, and a command that mends it; `mn doctor` prints it as it is.
 */
import { z } from 'zod';

const text = z.string().max(1_000);
const line = z.string().max(8_192);
const count = z.int().min(0);
const size = z.int().min(0).max(65_535);
/** Names one run of probes, so that two do not count each other's. */
const run = z.string().regex(/^[0-9a-f]{16}$/);
const address = z.string().max(64);

/** `error`: packets are lost, or will be; `warning`: look at it; `info`: good to know. */
export const SEVERITIES = ['error', 'warning', 'info'] as const;
export type Severity = (typeof SEVERITIES)[number];

export const FindingSchema = z.object({
  severity: z.enum(SEVERITIES),
  /** The name of the check, stable: scripts look for it. */
  check: text,
  what: text,
  evidence: text,
  /** A command to type, or what to do; empty where nothing is wrong. */
  remedy: text,
});
export type LocalFinding = z.output<typeof FindingSchema>;
export interface Finding extends LocalFinding {
  /** Name of the host it is about; absent: API, store or command line. */
  readonly host?: string;
}

/** Hosts that one host sends probes to in one run; of further ones nothing is known. */
export const PROBE_PEERS_MAX = 512;
/** Sizes of one peer's probes. */
export const PROBE_SIZES_MAX = 32;
/** Characters of one part of a long text. */
export const COUNTERS_CHUNK_MAX = 256 * 1024;
/** Lines of a log that one answer has, the latest. */
export const LOG_LINES_MAX = 2_000;
/** A level for a time returns by itself; one for ever is a setting of the program. */
export const LOG_LEVEL_MS_DEFAULT = 600_000;
/** The longest time that a level may be set for; longer is refused. */
export const LOG_LEVEL_MS_MAX = 86_400_000;

const level = z.enum(['error', 'warn', 'info', 'debug', 'trace']);
const levels = z.object({ level, usual: level });

export const HEALTH_ASKS = {
  doctor: {
    about: 'What of the host itself is not as it should be.',
    lasts: false,
    ask: z.strictObject({
      kind: z.literal('doctor'),
      /** The addresses that other hosts reach it by, and those it reaches them by. */
      addresses: z.array(address).max(64),
      peers: z.array(address).max(PROBE_PEERS_MAX),
      /** Interfaces that ports are bound to here. */
      interfaces: z.array(z.string().max(64)).max(65_536),
    }),
    part: FindingSchema,
  },
  'probe-listen': {
    about: 'Which probes of a run arrive by the tunnel.',
    lasts: false,
    ask: z.strictObject({
      kind: z.literal('probe-listen'),
      run,
      forMs: z.int().min(100).max(30_000),
    }),
    /** `ready`: it listens from now on. Then one part for each sender, by its number. */
    part: z.union([
      z.object({ ready: z.literal(true) }),
      z.object({ from: count, sizes: z.array(size).max(PROBE_SIZES_MAX) }),
    ]),
  },
  'probe-send': {
    about: 'Sends probes by the tunnel, which must not be cut, of every size that should fit.',
    lasts: false,
    ask: z.strictObject({
      kind: z.literal('probe-send'),
      run,
      from: count,
      peers: z.array(z.strictObject({ to: count, address })).max(PROBE_PEERS_MAX),
    }),
    part: z.object({
      to: count,
      /** Bytes that the kernel believes to fit on the way; absent: there is no way. */
      mtu: size.optional(),
      sent: z.array(size).max(PROBE_SIZES_MAX),
      /** Why the others were not sent. */
      error: text.optional(),
    }),
  },
  logs: {
    about: 'The last lines of its log.',
    lasts: false,
    ask: z.strictObject({
      kind: z.literal('logs'),
      after: count,
      most: count.max(LOG_LINES_MAX),
      text: text,
    }),
    part: z.object({ lines: z.array(line).max(LOG_LINES_MAX), next: count, missed: count }),
  },
  'log-level': {
    about: 'The level of its log; set for a time where one is given.',
    lasts: false,
    ask: z.strictObject({
      kind: z.literal('log-level'),
      set: z.strictObject({ level, forMs: z.int().min(1_000).max(LOG_LEVEL_MS_MAX) }).optional(),
    }),
    part: levels,
  },
  counters: {
    about: 'Everything that its kernel and it count, as `mn agent stats` and Prometheus tell it.',
    lasts: false,
    ask: z.strictObject({ kind: z.literal('counters') }),
    /** Texts of one name are one text, in their order. */
    part: z.object({ name: text, text: z.string().max(COUNTERS_CHUNK_MAX) }),
  },
} as const;

export type LogLevels = z.output<typeof levels>;
export type LogLines = z.output<(typeof HEALTH_ASKS)['logs']['part']>;
