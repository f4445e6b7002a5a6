/** How it fares, for operators: what is not well, logs and their levels, counters. */
import type { Finding, LogLevels, LogLines } from './health-asks.ts';
import { type Requests, withBody } from './request.ts';

/** What was found; worst first. */
export interface Findings {
  /** Of the API node that looked. */
  readonly version: string;
  /** Milliseconds since 1970 UTC, by its clock. */
  readonly timeMs: number;
  readonly findings: readonly Finding[];
}
export interface LogsQuery {
  /** The `next` of the answer before. */
  readonly after?: number;
  readonly limit?: number;
  readonly text?: string;
}
/** Metrics as Prometheus text, and what the kernel counts as `mn agent stats --json` tells it. */
export interface HostCounters {
  readonly metrics: string;
  readonly stats: unknown;
}

export interface HealthClient {
  /** Takes seconds: every agent looks at its host, and probes go by every tunnel. */
  doctor(): Promise<Findings>;
  /** Of a host's agent; without a host, of the API node. */
  logs(host: string | undefined, query?: LogsQuery): Promise<LogLines>;
  logLevel(host: string | undefined): Promise<LogLevels>;
  /** Without `forMs`, for as long as the API thinks right; it returns by itself. */
  setLogLevel(host: string | undefined, level: string, forMs?: number): Promise<LogLevels>;
  hostCounters(host: string): Promise<HostCounters>;
  /** Of the API node, as Prometheus text; answered on its unix socket only. */
  metrics(): Promise<string>;
}

/** What a doctor may take: every agent has its own deadline below. */
const DOCTOR_MS = 60_000;

const at = (host: string | undefined, what: string): string =>
  host === undefined ? `/v1/${what}` : `/v1/hosts/${encodeURIComponent(host)}/${what}`;

export const healthClient = ({ send, get, ask }: Requests): HealthClient => ({
  doctor: () => ask('POST', '/v1/doctor', undefined, DOCTOR_MS),
  logs: (host, query = {}) => {
    const words = new URLSearchParams();
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) words.set(name, String(value));
    const text = words.toString();
    return get(`${at(host, 'logs')}${text === '' ? '' : `?${text}`}`);
  },
  logLevel: (host) => get(at(host, 'log-level')),
  setLogLevel: (host, level, forMs) =>
    ask('PUT', at(host, 'log-level'), { level, ...(forMs !== undefined && { forMs }) }),
  hostCounters: (host) => get(at(host, 'counters')),
  metrics: async () => (await send('/metrics', withBody('GET', undefined))).text(),
});
