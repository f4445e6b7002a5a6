/**
 * New TCP connections a second between two parts of a lab, and requests on such that are kept: the
 * same script for every side.
 */
import { join } from 'node:path';
import { isListening } from '#lab/demo/iperf.ts';
import { namespaceOf } from '#lab/lab.ts';
import { end, insideOf, start, until } from '#lab/processes.ts';
import { runIn } from '../tools.ts';
import type { Way } from './traffic.ts';

const SCRIPT = join(import.meta.dirname, 'connect.script.ts');
export const CONNECT_PORT = 9_000;
export const REQUEST_PORT = 9_001;
const GRACE_MS = 15_000;

export interface Connections {
  readonly perSecond: number;
  readonly failed: number;
}

/** By eight clients of one process, one connection each at a time. */
export const connectionsPerSecond = (way: Way, seconds: number): Promise<Connections> =>
  byScript(way, { serve: 'serve', ask: 'ask', port: CONNECT_PORT }, seconds);
/** Of a byte each, by eight clients of one process with a connection each. */
export const requestsPerSecond = (way: Way, seconds: number): Promise<Connections> =>
  byScript(way, { serve: 'echo', ask: 'talk', port: REQUEST_PORT }, seconds);

async function byScript(
  { lab, from, to, address }: Way,
  { serve, ask, port }: { readonly serve: string; readonly ask: string; readonly port: number },
  seconds: number,
): Promise<Connections> {
  const node = process.execPath;
  const command = [node, SCRIPT, serve, `${port}`];
  const server = start({ lab: lab.name, part: to, name: serve, command });
  try {
    // Whoever is refused meanwhile would count as failed.
    await until(`${to} serves`, GRACE_MS, () => isListening(server, port));
    let text = '';
    await until(`connections from ${from} to ${to}`, GRACE_MS + seconds * 2_000, async () => {
      const words = [node, SCRIPT, ask, address, `${port}`, `${seconds}`];
      const ran = await runIn(lab, from, words, seconds * 1_000 + GRACE_MS);
      text = ran.stdout;
      return ran.code === 0 && (JSON.parse(text) as Connections).perSecond > 0;
    });
    return JSON.parse(text) as Connections;
  } finally {
    await end(insideOf([namespaceOf(lab, to)]), false);
  }
}
