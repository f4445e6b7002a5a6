/** Load by wrk(1): what it counts, and what it complains of. */
import { runOk } from '#os/run.ts';
import type { Lab } from '../../lab.ts';
import { inside } from '../../processes.ts';
import { VIPS, type ClientName } from './network.ts';

const SLACK_MS = 60_000;
/** Longer than a SYN that is lost several times takes. */
const TIMEOUT_S = 30;

export interface WrkResult {
  readonly requests: number;
  /** By what went wrong; none of them: []. */
  readonly errors: Readonly<Record<WrkError, number>>;
}
const ERRORS = ['connect', 'read', 'write', 'timeout', 'status'] as const;
export type WrkError = (typeof ERRORS)[number];

/** What wrk 4 printed; throws when it is something else. */
export function readWrk(text: string): WrkResult {
  const requests = /^\s*(\d+) requests in /m.exec(text)?.[1];
  if (requests === undefined) throw new Error(`wrk printed no result: ${text}`);
  const socket =
    /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text) ?? [];
  const [connect = 0, read = 0, write = 0, timeout = 0] = socket.slice(1).map(Number);
  const status = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0);
  return { requests: Number(requests), errors: { connect, read, write, timeout, status } };
}

export const sumOf = (results: readonly WrkResult[]): WrkResult => ({
  requests: results.reduce((sum, { requests }) => sum + requests, 0),
  errors: Object.fromEntries(
    ERRORS.map((name) => [name, results.reduce((sum, { errors }) => sum + errors[name], 0)]),
  ) as WrkResult['errors'],
});
export const failuresOf = ({ errors }: WrkResult): number =>
  ERRORS.reduce((sum, name) => sum + errors[name], 0);
export const errorText = ({ errors }: WrkResult): string =>
  ERRORS.filter((name) => errors[name] > 0)
    .map((name) => `${name} ${errors[name]}`)
    .join(', ') || 'none';

/** One run; `fresh`: a connection for each request. */
export async function wrk(
  lab: Lab,
  { from, seconds, fresh }: { from: ClientName; seconds: number; fresh: boolean },
): Promise<WrkResult> {
  const { address, port } = VIPS.web;
  const command = [
    ...['wrk', '-t1', '-c8', `-d${seconds}s`, '--timeout', `${TIMEOUT_S}s`],
    ...(fresh ? ['-H', 'Connection: close'] : []),
    `http://${address}:${port}/`,
  ];
  const [program = '', ...args] = inside(lab.name, from, command);
  return readWrk(await runOk(program, args, { deadlineMs: seconds * 1_000 + SLACK_MS }));
}
