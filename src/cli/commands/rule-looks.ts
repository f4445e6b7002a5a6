/**
 * `mn rule counters` and `mn rule log`: how much rules have matched on all hosts, and the last
 * packets that logged ones did; with `--follow` those that are matched from now on, as lines.
 *
 * Invariant: a line says how many packets before it no line was written about.
 */
import type { Command } from 'commander';
import type { RuleCountRow, RuleLogRow, RulesQuery } from '#client/firewall.ts';
import { examples } from '../examples.ts';
import { follow, type FollowLine, followOptions, isFollowing } from '../following.ts';
import { harmless } from '../format.ts';
import { type ListColumn, listingOptions, showList } from '../listing.ts';
import { tellMissing } from '../pages.ts';
import { action, type Options, type Session } from '../session.ts';

type Named = Pick<RuleCountRow, 'chain' | 'chainName' | 'rule' | 'ruleName' | 'position'>;

const chainWord = ({ chainName, chain }: Named): string => chainName || chain;
const ruleWord = ({ ruleName, rule }: Named): string => ruleName || rule;

const NAMED = [
  { name: 'chain', title: 'CHAIN', value: chainWord },
  {
    name: 'position',
    title: 'POSITION',
    value: ({ position }: Named) => position,
    align: 'right',
    numeric: true,
  },
  { name: 'rule', title: 'RULE', value: ruleWord },
] as const satisfies readonly ListColumn<Named>[];

const COUNTERS: readonly ListColumn<RuleCountRow>[] = [
  ...NAMED,
  { name: 'action', title: 'ACTION', value: ({ action: does }) => does },
  {
    name: 'packets',
    title: 'PACKETS',
    value: ({ packets }) => packets,
    align: 'right',
    numeric: true,
  },
  { name: 'bytes', title: 'BYTES', value: ({ bytes }) => bytes, align: 'right', numeric: true },
  { name: 'flows', title: 'FLOWS', value: ({ flows }) => flows, align: 'right', numeric: true },
];

/** `2026-11-26 14:03:07.120`, UTC. */
const timeWord = (atMs: number): string =>
  new Date(atMs).toISOString().replace('T', ' ').replace('Z', '');

const LOG: readonly ListColumn<RuleLogRow>[] = [
  { name: 'at', title: 'AT', value: ({ atMs }) => timeWord(atMs) },
  { name: 'host', title: 'HOST', value: ({ hostName, host }) => hostName || host },
  ...NAMED,
  { name: 'action', title: 'ACTION', value: ({ action: does }) => does },
  { name: 'port', title: 'FROM PORT', value: ({ port }) => port },
  { name: 'packet', title: 'PACKET', value: ({ packet }) => packet },
  { name: 'left', title: 'LEFT OUT', value: ({ left }) => left, align: 'right', numeric: true },
];
const keyOf = ({ host, hostName, seq, rule }: RuleLogRow): string =>
  `${host ?? hostName ?? ''} ${rule} ${seq}`;

function queryOf(options: Options): RulesQuery {
  const [chain, rule] = [options['chain'], options['rule']] as (string | undefined)[];
  return { chain, rule };
}

async function loadCounts(session: Session, options: Options, told: Set<string>) {
  const { rows, missing } = await session.io.client.ruleCounts(queryOf(options));
  tellMissing(session, missing, told);
  return [...rows];
}
async function loadLog(session: Session, options: Options, told: Set<string>) {
  const { rows, missing } = await session.io.client.ruleLog(queryOf(options));
  tellMissing(session, missing, told);
  return [...rows];
}

/** `14:03:07.120 h1 web 300 rest drop: tcp …  (12 left out before)` */
function lineOf(row: RuleLogRow): FollowLine {
  const where = [timeWord(row.atMs), row.hostName, chainWord(row), row.position, ruleWord(row)];
  const left = row.left === 0 ? '' : `  (${row.left} left out before)`;
  const what = `${where.filter(Boolean).join(' ')} ${row.action}: ${row.packet}${left}`;
  return { text: harmless(what), json: row };
}
function* news(rows: readonly RuleLogRow[], before: readonly RuleLogRow[]): Generator<FollowLine> {
  const had = new Set(before.map(keyOf));
  for (const row of rows) if (!had.has(keyOf(row))) yield lineOf(row);
}

const lookOptions = (command: Command): Command =>
  command
    .option('--chain <chain>', 'only rules of this chain')
    .option('--rule <rule>', 'only this rule');

function addCounters(session: Session, rule: Command): void {
  const command = lookOptions(rule.command('counters')).description(
    'packets and bytes that each rule has matched, on all hosts',
  );
  listingOptions(
    command,
    COUNTERS.map(({ name }) => name),
  );
  examples(command, [
    'mn rule counters',
    'mn chain create c1',
    'mn rule counters --chain c1',
    "mn rule counters --where 'packets=0'",
  ]);
  command.action(
    action(session, async (_args, options) => {
      const told = new Set<string>();
      await showList(session, options, {
        columns: COUNTERS,
        load: () => loadCounts(session, options, told),
        key: ({ rule: id }) => id,
        empty: 'no rule found',
      });
    }),
  );
}

function addLog(session: Session, rule: Command): void {
  const command = lookOptions(rule.command('log')).description(
    'the last packets that rules with --log have matched',
  );
  followOptions(command, 'what they match from now on');
  listingOptions(
    command,
    LOG.map(({ name }) => name),
  );
  examples(command, [
    'mn chain create c2',
    'mn rule create --chain c2 --action drop --log true --name rest',
    'mn rule log --chain c2',
    'mn rule log --rule rest --follow --count 0',
  ]);
  command.action(
    action(session, async (_args, options) => {
      const told = new Set<string>();
      const all = { columns: LOG, load: () => loadLog(session, options, told) };
      const note = (): string => 'what logged rules match from now on follows';
      if (isFollowing(options, 'mn rule log'))
        return await follow(session, options, { ...all, note, news });
      await showList(session, options, {
        ...all,
        key: keyOf,
        empty: 'no rule with --log has matched anything',
      });
    }),
  );
}

export function addRuleLooks(session: Session, rule: Command): void {
  addCounters(session, rule);
  addLog(session, rule);
}
