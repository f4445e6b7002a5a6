/** New TCP connections a second between two parts of a lab: the same script for every side. */
import { join } from 'node:path';
import { namespaceOf } from '#lab/lab.ts';
import { end, insideOf, start, until } from '#lab/processes.ts';
import { runIn } from '../tools.ts';
import type { Way } from './traffic.ts';

const SCRIPT = join(import.meta.dirname, 'connect.script.ts');
export const CONNECT_PORT = 9_000;
const GRACE_MS = 15_000;

export interface Connections {
  readonly perSecond: number;
  readonly failed: number;
}

/** By eight clients of one process, one connection each at a time. */
export async function connectionsPerSecond(
  { lab, from, to, address }: Way,
  seconds: number,
): Promise<Connections> {
  const node = process.execPath;
  start({
    lab: lab.name,
    part: to,
    name: 'connect',
    command: [node, SCRIPT, 'serve', `${CONNECT_PORT}`],
  });
  try {
    let text = '';
    await until(`connections from ${from} to ${to}`, GRACE_MS + seconds * 2_000, async () => {
      const words = [node, SCRIPT, 'ask', address, `${CONNECT_PORT}`, `${seconds}`];
      const ran = await runIn(lab, from, words, seconds * 1_000 + GRACE_MS);
      text = ran.stdout;
      return ran.code === 0 && (JSON.parse(text) as Connections).perSecond > 0;
    });
    return JSON.parse(text) as Connections;
  } finally {
    await end(insideOf([namespaceOf(lab, to)]), false);
  }
}
