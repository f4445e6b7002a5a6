/**
 * `mn agent stats`: what the kernel counts, as a table or as JSON. Reads the pinned maps, so it
 * tells the same while an agent runs, after it was killed, and before the next one is there.
 */
import { parseArgs } from 'node:util';
import { CLASSES } from '#datapath/budget.ts';
import { readStats } from '#datapath/ebpf/read.ts';
import type { DatapathStats, EntryStats } from '#datapath/ebpf/read.ts';
import { LIMITS } from '#flow/layout.ts';
import { formatIp } from '#net/ip.ts';

const USAGE = `mn agent stats: what the kernel counts, port by port. No agent has to run.

  --run-dir DIR   of the agent; default /run/midonet/agent
  --json          for programs: everything, by name

Drops have the reasons of \`mn status\`. "up" are first packets handed to the agent, by what they were
paid from (frames, groups, control, guards, stale); what the agent dropped of these is told apart.
`;

/** `a 1, b 2` of what is not zero. */
const list = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .filter(([, n]) => n > 0)
    .map(([name, n]) => `${name} ${n}`)
    .join(', ') || '-';

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, n) => total + n, 0);

/** Columns padded to their widest cell; the last one is not padded. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

const nameOf = ({ interface: name, source, port }: EntryStats): string =>
  source === undefined ? `${name ?? '?'} (${port})` : `from ${formatIp(source)}`;

/** The table for people. */
export function describeStats(stats: DatapathStats): string[] {
  const { counters, agentDrops, notes, entries } = stats;
  const rows = entries.map((entry) => [
    nameOf(entry),
    ...[entry.flows, entry.masks, sum(entry.up), sum(entry.drops)].map(String),
    `${sum(entry.agentDrops)}`,
    list(entry.up),
    list({ ...entry.drops, ...prefixed(entry.agentDrops) }),
  ]);
  const head = ['port', 'flows', 'masks', 'up', 'drops', 'agent', 'handed up', 'dropped'];
  return [
    `flows ${stats.flows} of ${stats.slots}, masks ${stats.masks} of ${LIMITS.MASKS_MAX}` +
      ` (a port: ${LIMITS.ENTRY_MASKS_MAX})`,
    `hits ${counters.hits}, by key from the tunnel ${counters.tunnelHits}, handed up ${counters.misses}`,
    `dropped: ${list(counters.drops)}`,
    `dropped by the agent, of no port: ${list(agentDrops)}`,
    `since the agent started: ${list(notes)}`,
    '',
    ...table([head, ...rows]),
  ];
}
const prefixed = (drops: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(drops).map(([reason, n]) => [`agent:${reason}`, n]));

/** Everything by name, stable; addresses as text. */
const toJson = (stats: DatapathStats): string =>
  JSON.stringify(
    {
      ...stats,
      classes: CLASSES,
      limits: { masks: LIMITS.MASKS_MAX, masksPerPort: LIMITS.ENTRY_MASKS_MAX },
      entries: stats.entries.map((entry) => ({
        ...entry,
        source: entry.source === undefined ? undefined : formatIp(entry.source),
      })),
    },
    undefined,
    2,
  );

/** What the kernel counts, for programs. Throws when there is nothing to read. */
export const statsJson = (runDir: string): string => toJson(readStats(runDir));

/** Answers the exit code: 2 for a mistake of the user, 1 when there is nothing to read. */
export function runStats(argv: readonly string[]): number {
  let settings;
  try {
    settings = parseArgs({
      args: [...argv],
      options: {
        'run-dir': { type: 'string', default: '/run/midonet/agent' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`mn agent stats: ${(error as Error).message}\n`);
    return 2;
  }
  if (settings.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  try {
    const stats = readStats(settings['run-dir']);
    const text = settings.json === true ? toJson(stats) : describeStats(stats).join('\n');
    process.stdout.write(`${text}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`mn agent stats: ${(error as Error).message}\n`);
    return 1;
  }
}
