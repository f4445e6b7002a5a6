/**
 * `mn status`: is it well, on one screen. Who is alive, who lags behind and by how much, which
 * ports are down and why, and what was dropped for which reason.
 */
import type { Command } from 'commander';
import type { HostStatus, Status } from '#client/types.ts';
import { DROPS, type DropReason } from '#virtual/drop.ts';
import { examples } from '../examples.ts';
import { type Column, count, pairs, print, styled, table } from '../format.ts';
import type { CliIo } from '../io.ts';
import { action, formatOf, outputOption, type Session } from '../session.ts';

const STATE_STYLE = { alive: 'green', dead: 'red', unknown: 'yellow' } as const;
const styleOfState = (cell: string) => STATE_STYLE[cell.trim() as HostStatus['state']];
/** A count that should be 0. */
const styleOfLag = (cell: string) =>
  ['', '0'].includes(cell.trim()) ? undefined : ('yellow' as const);

const HOST_COLUMNS: readonly Column[] = [
  { title: 'HOST' },
  { title: 'STATE', style: styleOfState },
  { title: 'REVISION', align: 'right' },
  { title: 'BEHIND', align: 'right', style: styleOfLag },
  { title: 'UP', align: 'right' },
  { title: 'DOWN', align: 'right', style: styleOfLag },
  { title: 'FLOWS', align: 'right' },
  { title: 'HITS', align: 'right' },
  { title: 'MISSES', align: 'right' },
  { title: 'VERSION' },
];

function hostRow(host: HostStatus, revision: number): string[] {
  const { report } = host;
  if (report === undefined) return [host.name, host.state];
  return [
    host.name,
    host.state,
    String(report.revision),
    String(Math.max(0, revision - report.revision)),
    String(report.portsUp.length),
    String(report.portsDown.length),
    String(report.counters.flowsNow),
    String(report.counters.hits + report.counters.tunnelHits),
    String(report.counters.misses),
    report.version,
  ];
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

function text(io: CliIo, status: Status, portName: (id: string) => string): string {
  const sections = [
    pairs([
      ['API', `${status.version}${io.api === undefined ? '' : ` at ${io.api}`}`],
      ['Revision', String(status.revision)],
      ['Hosts', summary(status)],
    ]),
  ];
  const hosts = status.hosts.map((host) => hostRow(host, status.revision));
  if (hosts.length > 0) sections.push(table(io, HOST_COLUMNS, hosts));
  const down = status.hosts.flatMap((host) =>
    (host.report?.portsDown ?? []).map(({ port, why }) => [portName(port), host.name, why]),
  );
  if (down.length > 0)
    sections.push(
      `${styled(io, 'bold', count(down.length, 'port'))} down\n` +
        table(io, [{ title: 'PORT' }, { title: 'HOST' }, { title: 'WHY' }], down),
    );
  const drops = dropRows(status.hosts);
  if (drops.length > 0)
    sections.push(
      table(
        io,
        [
          { title: 'DROPPED' },
          { title: 'FRAMES', align: 'right' },
          { title: 'AT' },
          { title: 'BECAUSE' },
        ],
        drops,
      ),
    );
  return sections.join('\n');
}

export function addStatus(session: Session, program: Command): void {
  const command = program
    .command('status')
    .description('is it well: hosts, ports, drops and why')
    .helpGroup('Looking:')
    .addOption(outputOption());
  examples(command, ['mn status', "mn status -o 'jsonpath={.hosts[*].name}'"]).action(
    action(session, async (_args, options) => {
      const status = await session.io.client.status();
      const needed =
        formatOf(options) === 'table' &&
        status.hosts.some((host) => (host.report?.portsDown.length ?? 0) > 0);
      const ports = needed ? await session.names.of('port') : new Map<string, string>();
      print(session.io, formatOf(options), {
        value: status,
        text: () => text(session.io, status, (id) => ports.get(id) ?? id),
      });
    }),
  );
}
