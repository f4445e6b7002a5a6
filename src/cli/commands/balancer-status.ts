/**
 * `mn load-balancer status`: how one load balancer fares on one screen: its VIPs, and its members
 * with what checks have found, who has how many connections, and what went to each.
 */
import type { Command } from 'commander';
import type { BalancerStatus, Counted, MemberRow, PoolStatus, VipStatus } from '#client/balance.ts';
import { examples } from '../examples.ts';
import { type Column, pairs, styled, table } from '../format.ts';
import type { CliIo } from '../io.ts';
import { showAnswer, watchOption } from '../listing.ts';
import { tellMissing } from '../pages.ts';
import { bytesText, durationText } from '../quantities.ts';
import { action, isWide, outputOption, type Session } from '../session.ts';

interface RowColumn<Row> extends Column {
  readonly wide?: true;
  cell(row: Row): string;
}

const at = ({ address, port }: { address: string; port: number }): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

const right = { align: 'right' } as const;
const COUNTED: readonly RowColumn<Counted>[] = [
  { title: 'NOW', ...right, cell: ({ current }) => String(current) },
  { title: 'OPENED', ...right, cell: ({ opened }) => String(opened) },
  { title: 'IN', ...right, cell: ({ bytesIn }) => bytesText(bytesIn) },
  { title: 'OUT', ...right, cell: ({ bytesOut }) => bytesText(bytesOut) },
  { title: 'PACKETS IN', ...right, wide: true, cell: ({ packetsIn }) => String(packetsIn) },
  { title: 'PACKETS OUT', ...right, wide: true, cell: ({ packetsOut }) => String(packetsOut) },
];

const STYLES = { up: 'green', down: 'red', degraded: 'yellow', draining: 'yellow' } as const;
function styleOf(cell: string) {
  const [word = ''] = cell.trim().split(/[ ,]/);
  if (cell.includes('down')) return STYLES.down;
  return STYLES[word as keyof typeof STYLES];
}

/** Whether new connections are served, and if not, why. */
function vipWord({ adminStateUp, served }: VipStatus, { adminStateUp: on }: Balancer): string {
  if (!adminStateUp || !on) return 'disabled';
  return served ? 'up' : 'down';
}
type Balancer = BalancerStatus['loadBalancer'];

const STATUS_WORDS = { up: 'up', down: 'down', unknown: 'not known yet', none: 'not checked' };

/** `down since 12 s: connection refused`, `draining, up since 3 h`. */
export function memberWord(member: MemberRow, nowMs: number): string {
  const { status, since, reason, draining } = member;
  const long = since === undefined ? '' : ` since ${durationText(Math.max(0, nowMs - since))}`;
  const why = status === 'down' && reason !== undefined ? `: ${reason}` : '';
  return `${draining ? 'draining, ' : ''}${STATUS_WORDS[status]}${long}${why}`;
}

function rowsText<Row>(
  io: CliIo,
  columns: readonly RowColumn<Row>[],
  rows: readonly Row[],
  wide: boolean,
): string {
  const isSaid = ({ cell }: RowColumn<Row>): boolean => rows.some((row) => cell(row) !== '');
  const shown = columns.filter((column) => (wide || column.wide !== true) && isSaid(column));
  const cells = rows.map((row) => shown.map(({ cell }) => cell(row)));
  return rows.length === 0 ? '' : table(io, shown, cells);
}

const vipColumns = (of: Balancer): readonly RowColumn<VipStatus>[] => [
  { title: 'VIP', cell: ({ name }) => name },
  { title: 'ADDRESS', cell: (vip) => `${vip.protocol} ${at(vip)}` },
  { title: 'POOL', cell: ({ pool }) => pool },
  { title: 'STATUS', style: styleOf, cell: (vip) => vipWord(vip, of) },
  ...COUNTED,
  { title: 'ID', wide: true, cell: ({ id }) => id },
];

type InPool = MemberRow & { readonly of: PoolStatus };
const poolWord = ({ name, adminStateUp }: PoolStatus): string =>
  adminStateUp ? name : `${name} (disabled)`;
const memberColumns = (nowMs: number): readonly RowColumn<InPool>[] => [
  { title: 'POOL', cell: ({ of }) => poolWord(of) },
  { title: 'BACKUP', wide: true, cell: ({ of }) => of.backupPool ?? '' },
  { title: 'MEMBER', cell: ({ name }) => name ?? '' },
  { title: 'ADDRESS', cell: at },
  { title: 'WEIGHT', ...right, cell: ({ weight }) => String(weight) },
  ...COUNTED,
  { title: 'STATUS', style: styleOf, cell: (member) => memberWord(member, nowMs) },
  { title: 'CHECKED BY', wide: true, cell: ({ host }) => host ?? '' },
  { title: 'ID', wide: true, cell: ({ id }) => id },
];

export function statusText(io: CliIo, status: BalancerStatus, wide: boolean): string {
  const { loadBalancer, operating, vips, pools, timeMs } = status;
  const style = styleOf(operating);
  const word = style === undefined ? operating : styled(io, style, operating);
  const members = pools.flatMap((of) => of.members.map((member) => ({ ...member, of })));
  const empty = pools.filter((pool) => pool.members.length === 0).map(({ name }) => name);
  return [
    pairs([
      ['Load balancer', loadBalancer.name],
      ['Operating', word],
    ]),
    rowsText(io, vipColumns(loadBalancer), vips, wide) || 'no VIP\n',
    rowsText(io, memberColumns(timeMs), members, wide),
    ...(empty.length === 0 ? [] : [`without members: ${empty.join(', ')}\n`]),
  ]
    .filter((section) => section !== '')
    .join('\n');
}

export function addBalancerStatus(session: Session, balancer: Command): void {
  const command = balancer
    .command('status')
    .description('how its VIPs and members fare, and what went to each, on all hosts')
    .argument('<load-balancer>', 'name or id')
    .addOption(watchOption())
    .addOption(outputOption());
  examples(command, [
    'mn load-balancer create lb --router r0',
    'mn pool create web --load-balancer lb',
    'mn pool-member create --pool web --address 10.0.2.2 --port 80 --name vm2',
    'mn pool-member create --pool web --address 10.0.1.2 --port 80 --weight 0',
    'mn vip create www --load-balancer lb --pool web --address 198.51.100.80 --port 80',
    'mn load-balancer status lb',
    'mn load-balancer status lb -o wide',
    "mn load-balancer status lb -o 'jsonpath={.pools[*].members[*].status}'",
    'mn load-balancer status lb --watch 5',
  ]).action(
    action(session, async ([name = ''], options) => {
      const told = new Set<string>();
      await showAnswer(session, options, async () => {
        const status = await session.io.client.balancerStatus(name);
        tellMissing(session, status.missing, told);
        return {
          value: status,
          text: () => statusText(session.io, status, isWide(options)),
        };
      });
    }),
  );
}
