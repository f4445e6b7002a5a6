/**
 * `mn status`: is it well, on one screen. The API and its store, who is alive and who lags behind,
 * what is nearly full and what to do, which ports are down and why, and what was dropped. With many
 * hosts those that are not well are shown, and how many others there are.
 */
import type { Command } from 'commander';
import { isNearFull, limitRow } from '#client/limits.ts';
import type { HostStatus, Limit, Status } from '#client/types.ts';
import { DROPS, type DropReason } from '#virtual/drop.ts';
import { examples } from '../examples.ts';
import { type Column, count, pairs, styled, table } from '../format.ts';
import type { CliIo } from '../io.ts';
import { showAnswer, watchOption } from '../listing.ts';
import { bytesText, durationText, partText } from '../quantities.ts';
import { action, formatOf, isWide, outputOption, type Session } from '../session.ts';

/** Rows of one table; `-o wide` shows all. */
const ROWS_MAX = 20;

const STATE_STYLE = { alive: 'green', dead: 'red', unknown: 'yellow' } as const;
const styleOfState = (cell: string) => STATE_STYLE[cell.trim() as HostStatus['state']];
/** A count that should be 0. */
const styleOfLag = (cell: string) =>
  ['', '0', '-'].includes(cell.trim()) ? undefined : ('yellow' as const);

interface HostColumn extends Column {
  readonly wide?: true;
  cell(host: HostStatus, revision: number): string;
}
type Reported = HostStatus & { readonly report: NonNullable<HostStatus['report']> };
const told =
  (cell: (host: Reported, revision: number) => string): HostColumn['cell'] =>
  (host, revision) =>
    host.report === undefined ? '' : cell(host as Reported, revision);

const dropsOf = ({ report }: HostStatus): number =>
  Object.values(report?.counters.drops ?? {}).reduce((sum, n) => sum + n, 0);
const behindOf = ({ report }: HostStatus, revision: number): number =>
  Math.max(0, revision - (report?.revision ?? revision));

function flowsCell({ report }: Reported): string {
  const flows = report.limits?.find(({ name }) => name === 'flows');
  if (flows === undefined) return String(report.counters.flowsNow);
  return `${flows.used} (${partText(flows.used, flows.max)})`;
}

const right = { align: 'right' } as const;
const HOST_COLUMNS: readonly HostColumn[] = [
  { title: 'HOST', cell: ({ name }) => name },
  { title: 'STATE', style: styleOfState, cell: ({ state }) => state },
  { title: 'REVISION', ...right, wide: true, cell: told((h) => String(h.report.revision)) },
  {
    title: 'BEHIND',
    ...right,
    style: styleOfLag,
    cell: told((host, revision) => String(behindOf(host, revision))),
  },
  {
    title: 'LAG',
    ...right,
    style: styleOfLag,
    cell: told(({ behindMs }) => (behindMs === undefined ? '-' : durationText(behindMs))),
  },
  { title: 'UP', ...right, cell: told(({ report }) => String(report.portsUp.length)) },
  {
    title: 'DOWN',
    ...right,
    style: styleOfLag,
    cell: told(({ report }) => String(report.portsDown.length)),
  },
  { title: 'FLOWS', ...right, cell: told(flowsCell) },
  {
    title: 'HITS',
    ...right,
    spare: true,
    cell: told(({ report: { counters } }) => String(counters.hits + counters.tunnelHits)),
  },
  {
    title: 'MISSES',
    ...right,
    spare: true,
    cell: told(({ report }) => String(report.counters.misses)),
  },
  { title: 'DROPS', ...right, spare: true, cell: told((host) => String(dropsOf(host))) },
  {
    title: 'DROPS/S',
    ...right,
    style: styleOfLag,
    cell: told(({ dropsPerSecond }) =>
      dropsPerSecond === undefined ? '-' : String(Math.round(dropsPerSecond)),
    ),
  },
  {
    title: 'FIRST P50',
    ...right,
    wide: true,
    cell: told(({ report: { firstPackets: of } }) => (of ? durationText(of.p50Ms) : '-')),
  },
  {
    title: 'FIRST P99',
    ...right,
    wide: true,
    cell: told(({ report: { firstPackets: of } }) => (of ? durationText(of.p99Ms) : '-')),
  },
  { title: 'KERNEL', wide: true, cell: told(({ report }) => report.machine?.kernel ?? '') },
  { title: 'VERSION', cell: told(({ report }) => report.version) },
];

/** Whether somebody should look at it; larger is worse. */
function troubleOf(host: HostStatus, { revision, version }: Status): number {
  const { state, report, dropsPerSecond = 0 } = host;
  if (state !== 'alive') return 4;
  if ((report?.portsDown.length ?? 0) > 0) return 3;
  if (behindOf(host, revision) > 0 || (report?.limits ?? []).some(isNearFull)) return 2;
  return dropsPerSecond >= 1 || report?.version !== version ? 1 : 0;
}

/** The first rows, and a line on the others. */
function first<Row>(rows: readonly Row[], wide: boolean, others: string): [Row[], string] {
  const more = rows.length - ROWS_MAX;
  if (wide || more <= 0) return [[...rows], ''];
  return [rows.slice(0, ROWS_MAX), `${more} more ${others}: mn status -o wide\n`];
}

function hostTable(io: CliIo, status: Status, wide: boolean): string {
  const { hosts, revision } = status;
  const columns = HOST_COLUMNS.filter((column) => wide || column.wide !== true);
  const ordered =
    hosts.length > ROWS_MAX && !wide
      ? hosts.toSorted((a, b) => troubleOf(b, status) - troubleOf(a, status))
      : hosts;
  const [shown] = first(ordered, wide, '');
  const hidden = ordered.slice(shown.length);
  const bad = hidden.filter((host) => troubleOf(host, status) > 0).length;
  const rest = bad === 0 ? ', all well' : `, ${bad} of them not well`;
  const more = hidden.length === 0 ? '' : `${hidden.length} more${rest}: mn status -o wide\n`;
  const rows = shown.map((host) => columns.map(({ cell }) => cell(host, revision)));
  return rows.length === 0 ? '' : table(io, columns, rows) + more;
}

/** What is nearly full, fullest first. */
function limitTable(io: CliIo, { node, hosts }: Status, wide: boolean): string {
  const near = [
    ...(node?.limits ?? []).map((limit) => ({ at: 'API', limit })),
    ...hosts.flatMap(({ name, report }) =>
      (report?.limits ?? []).map((limit) => ({ at: name, limit })),
    ),
  ].filter(({ limit }) => isNearFull(limit));
  const part = ({ used, max }: Limit): number => used / max;
  const fullest = near.toSorted((a, b) => part(b.limit) - part(a.limit));
  const [shown, more] = first(fullest, wide, 'nearly full');
  if (shown.length === 0) return '';
  const columns: Column[] = [
    { title: 'NEARLY FULL', style: () => 'yellow' },
    { title: 'AT' },
    { title: 'USED', align: 'right' },
    { title: 'OF', align: 'right' },
    { title: '', align: 'right' },
    { title: 'DO' },
  ];
  const rows = shown.map(({ at, limit: { name, used, max } }) => [
    ...[name, at, String(used), String(max), partText(used, max)],
    limitRow(name)?.remedy ?? '',
  ]);
  return table(io, columns, rows) + more;
}

const aboutDrop = (reason: string): string =>
  reason in DROPS ? DROPS[reason as DropReason].about : '';

/** One row per reason: how many frames, on which hosts most, and what it means. */
function dropRows(hosts: readonly HostStatus[]): string[][] {
  const byReason = new Map<string, { host: string; frames: number }[]>();
  for (const host of hosts)
    for (const [reason, frames] of Object.entries(host.report?.counters.drops ?? {}))
      if (frames > 0)
        byReason.getOrInsertComputed(reason, () => []).push({ host: host.name, frames });
  const total = (of: readonly { frames: number }[]): number =>
    of.reduce((sum, { frames }) => sum + frames, 0);
  return [...byReason]
    .sort(([, a], [, b]) => total(b) - total(a))
    .map(([reason, of]) => {
      const most = of.sort((a, b) => b.frames - a.frames).slice(0, 3);
      const rest = of.length > most.length ? ', …' : '';
      const where = most.map(({ host, frames }) => `${host} ${frames}`).join(', ');
      return [reason, String(total(of)), `${where}${rest}`, aboutDrop(reason)];
    });
}

function summary(status: Status): string {
  const states = Map.groupBy(status.hosts, (host) => host.state);
  const parts = (['alive', 'dead', 'unknown'] as const)
    .filter((state) => states.has(state))
    .map((state) => `${states.get(state)?.length} ${state}`);
  return parts.length === 0 ? 'none' : `${status.hosts.length}: ${parts.join(', ')}`;
}

/** The API and its store, a line each. */
function head(io: CliIo, status: Status): string {
  const { version, revision, node } = status;
  const at = io.api === undefined ? '' : ` at ${io.api}`;
  const up = node === undefined ? '' : `, up ${durationText(node.uptimeMs)}`;
  const rows: [string, string][] = [
    ['API', `${version}${at}${up}`],
    ['Revision', `${revision}`],
  ];
  if (node?.enforcement !== undefined) {
    const { p50Ms, p99Ms } = node.enforcement;
    const words = `on every live host: half within ${durationText(p50Ms)}, 99 % within ${durationText(p99Ms)}`;
    rows.push(['In force', words]);
  }
  if (node !== undefined) {
    const { bytes, diskFreeBytes, historyFrom, commitMs } = node.store;
    const kept = revision - historyFrom;
    const parts = [
      bytes === undefined ? 'in memory' : bytesText(bytes),
      diskFreeBytes === undefined ? [] : `${bytesText(diskFreeBytes)} free`,
      `history of ${count(kept, 'revision')}`,
      commitMs === undefined ? [] : `last commit ${durationText(commitMs)}`,
    ];
    rows.push(['Store', parts.flat().join(', ')]);
  }
  return pairs([...rows, ['Hosts', summary(status)]]);
}

const DROP_COLUMNS: readonly Column[] = [
  { title: 'DROPPED' },
  { title: 'FRAMES', align: 'right' },
  { title: 'AT' },
  { title: 'BECAUSE' },
];

function text(io: CliIo, status: Status, portName: (id: string) => string, wide: boolean): string {
  const down = status.hosts.flatMap((host) =>
    (host.report?.portsDown ?? []).map(({ port, why }) => [portName(port), host.name, why]),
  );
  const [downShown, downMore] = first(down, wide, 'down');
  const downColumns = [{ title: 'PORT' }, { title: 'HOST' }, { title: 'WHY' }];
  return [
    head(io, status),
    hostTable(io, status, wide),
    limitTable(io, status, wide),
    down.length === 0
      ? ''
      : `${styled(io, 'bold', count(down.length, 'port'))} down\n` +
        table(io, downColumns, downShown) +
        downMore,
    table(io, DROP_COLUMNS, dropRows(status.hosts)),
  ]
    .filter((section) => section !== '')
    .join('\n');
}

/** Hosts by name, h2 before h10. */
const sorted = (status: Status): Status => ({
  ...status,
  hosts: status.hosts.toSorted((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })),
});

export function addStatus(session: Session, program: Command): void {
  const command = program
    .command('status')
    .description('is it well: API, hosts, limits, ports, drops and why')
    .helpGroup('Looking:')
    .addOption(watchOption())
    .addOption(outputOption());
  examples(command, [
    'mn status',
    'mn status -o wide',
    "mn status -o 'jsonpath={.hosts[*].name}'",
    'mn status --watch 5',
  ]).action(
    action(session, async (_args, options) => {
      await showAnswer(session, options, async () => {
        const status = sorted(await session.io.client.status());
        const needed =
          formatOf(options) === 'table' &&
          status.hosts.some((host) => (host.report?.portsDown.length ?? 0) > 0);
        const ports = needed ? await session.names.of('port') : new Map<string, string>();
        return {
          value: status,
          text: () => text(session.io, status, (id) => ports.get(id) ?? id, isWide(options)),
        };
      });
    }),
  );
}
