/**
 * Takes a lab away, whole or half made, however its maker ended. Goes by the journal, so that
 * nothing is touched that the lab did not announce before it made it. Idempotent: what is gone
 * already is fine.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { unmount } from '#os/mount.ts';
import { netnsPath } from '#os/netns.ts';
import { run } from '#os/run.ts';
import { readJournal, removeEmptyDirs } from './journal.ts';
import { labDir } from './names.ts';
import { end, insideOf, started, type Process } from './processes.ts';

/** A killed process may have started others before it died; each round finds those of the last. */
const ROUNDS_MAX = 5;
const NETNS_DEADLINE_MS = 30_000;

/** What is there of a lab, one line each; empty when it is gone without a trace. */
export function remains(lab: string, namespaces: readonly string[]): string[] {
  return [
    ...started(lab).map(({ pid }) => `process ${pid}`),
    ...insideOf(namespaces).map(({ pid }) => `process ${pid}`),
    ...namespaces.filter((name) => existsSync(netnsPath(name))).map((name) => `namespace ${name}`),
    ...mountsBelow(labDir(lab)).map((path) => `mount ${path}`),
    ...(existsSync(labDir(lab)) ? [`directory ${labDir(lab)}`] : []),
  ];
}

/** `politely`: processes may end by themselves first. */
export async function cleanLab(lab: string, politely = false): Promise<void> {
  const namespaces = readJournal(lab)?.namespaces ?? [];
  const all = (): Process[] => {
    const found = new Map<number, Process>();
    for (const each of [...started(lab), ...insideOf(namespaces)]) found.set(each.pid, each);
    return [...found.values()];
  };
  for (let round = 0, found = all(); found.length > 0; round++, found = all()) {
    if (round === ROUNDS_MAX) throw new Error(`processes of lab ${lab} keep coming back`);
    await end(found, politely && round === 0);
  }
  for (const path of mountsBelow(labDir(lab))) unmount(path);
  await removeNamespaces(namespaces);
  rmSync(labDir(lab), { recursive: true, force: true });
  removeEmptyDirs();
}

async function removeNamespaces(namespaces: readonly string[]): Promise<void> {
  const there = namespaces.filter((name) => existsSync(netnsPath(name)));
  if (there.length === 0) return;
  const input = there.map((name) => `netns delete ${name}\n`).join('');
  const ran = await run('ip', ['-force', '-batch', '-'], { input, deadlineMs: NETNS_DEADLINE_MS });
  const left = there.filter((name) => existsSync(netnsPath(name)));
  if (left.length > 0) throw new Error(`namespaces stay: ${left.join(' ')}: ${ran.stderr.trim()}`);
}

/**
 * Mount points below a directory, the deepest first (proc(5), mountinfo field 5, octal escapes).
 */
function mountsBelow(dir: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .map((path) => path.replace(/\\(\d{3})/g, (_, code) => String.fromCharCode(parseInt(code, 8))))
    .filter((path) => path.startsWith(`${dir}/`))
    .toReversed();
}
