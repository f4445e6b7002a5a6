/**
 * `/v1/rule-counts`, `/v1/rule-log`: what rules have matched on all hosts, asked of their agents.
 *
 * Invariants: a caller is told of rules it sees and of no others, and of a packet that one of them
 * matched as it was there; where that came from only if the caller sees the port; a host that does
 * not answer is named (to tenants: that there is one).
 */
import type { Ask } from '#client/asks.ts';
import {
  CHAINS_PER_ASK_MAX,
  type RuleCountRow,
  type RuleCounts,
  type RuleLog,
  type RuleLogRow,
} from '#client/firewall.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { type Reader, readerOf, titleOf } from './flow-rows.ts';
import { askHosts, hostWord } from './host-pages.ts';
import { find } from './lists.ts';
import type { Node } from './node.ts';
import { refuseField } from './problems.ts';
import { type Call, json, NOT_HOSTS, onlyQuery, type Route } from './route.ts';

/** Lines of a log in one answer: the newest. */
const LOG_ROWS_MAX = 10_000;

interface Wanted {
  readonly reader: Reader;
  /** Undefined: of all that the reader sees. */
  readonly rule: string | undefined;
  readonly chains: string[] | undefined;
}

function wantedBy(node: Node, { query, caller }: Call): Wanted {
  onlyQuery(query, ['chain', 'rule']);
  const { topology } = node.replica;
  const reader = readerOf(caller.token, topology);
  const { sees, operator } = reader;
  const [chain, rule] = [query.get('chain'), query.get('rule')];
  const inChain = chain === null ? undefined : find(topology, 'chain', chain, sees).id;
  if (rule !== null) {
    const found = find(topology, 'rule', rule, sees) as ObjectOf<'rule'>;
    if (inChain !== undefined && found.chain !== inChain)
      throw refuseField('rule', 'must be in the chain');
    return { reader, rule: found.id, chains: [found.chain] };
  }
  if (inChain !== undefined) return { reader, rule: undefined, chains: [inChain] };
  if (operator) return { reader, rule: undefined, chains: undefined };
  const own = [...topology.list('chain')].filter((one) => sees('chain', one)).map(({ id }) => id);
  if (own.length > CHAINS_PER_ASK_MAX)
    throw refuseField('chain', `must be given: there are more than ${CHAINS_PER_ASK_MAX}`);
  return { reader, rule: undefined, chains: own };
}

async function askAll<A extends Ask>(node: Node, call: Call, reader: Reader, ask: A) {
  const hosts = [...reader.topology.list('host')].map(({ id }) => ({ host: id, ask }));
  const answers = await askHosts(node, call, hosts);
  const missing = answers.flatMap(({ host, why }) =>
    why === undefined ? [] : [{ host: hostWord(reader, host), why }],
  );
  return { answers, missing };
}

/** What is said of a rule in every row; undefined: it is gone, or none of the reader's business. */
function ruleWords({ reader: { topology, sees }, rule: only }: Wanted, id: string) {
  const rule = topology.get('rule', id) as ObjectOf<'rule'> | undefined;
  if (rule === undefined || !sees('rule', rule) || (only !== undefined && only !== id))
    return undefined;
  const chainName = topology.get('chain', rule.chain)?.name;
  return {
    chain: rule.chain,
    ...(chainName !== undefined && { chainName }),
    rule: id,
    ...(rule.name !== undefined && { ruleName: rule.name }),
    position: rule.position ?? 0,
    action: rule.action,
  };
}

const placeOf = ({ chainName, chain, position }: RuleCountRow): string =>
  `${chainName ?? ''} ${chain} ${String(position).padStart(8, '0')}`;

/** Every rule has a row, also one that has matched nothing. */
async function ruleCounts(node: Node, call: Call): Promise<RuleCounts> {
  const wanted = wantedBy(node, call);
  const { reader, chains } = wanted;
  const ask = { kind: 'rule-counts', ...(chains && { chains }) } as const;
  const { answers, missing } = await askAll(node, call, reader, ask);
  const rows = new Map<string, RuleCountRow>();
  for (const { id } of reader.topology.list('rule')) {
    const words = ruleWords(wanted, id);
    if (words === undefined || chains?.includes(words.chain) === false) continue;
    rows.set(id, { ...words, packets: 0, bytes: 0, flows: 0 });
  }
  for (const { parts } of answers)
    for (const { rule, packets, bytes, flows } of parts) {
      const row = rows.get(rule);
      if (row === undefined) continue;
      row.packets += packets;
      row.bytes += bytes;
      row.flows += flows;
    }
  const sorted = [...rows.values()].toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
  return { rows: sorted, missing };
}

async function ruleLog(node: Node, call: Call): Promise<RuleLog> {
  const wanted = wantedBy(node, call);
  const { reader, chains } = wanted;
  const { topology, sees, operator } = reader;
  const ask = { kind: 'rule-log', ...(chains && { chains }) } as const;
  const { answers, missing } = await askAll(node, call, reader, ask);
  const now = node.wall();
  const rows: RuleLogRow[] = [];
  for (const { host, parts } of answers)
    for (const { rule, seq, agoMs, port: at, packet, left } of parts) {
      const words = ruleWords(wanted, rule);
      if (words === undefined) continue;
      const port = at === undefined ? undefined : topology.get('port', at);
      const hostName = topology.get('host', host)?.name;
      rows.push({
        atMs: Math.round(now - agoMs),
        ...(operator && { host, ...(hostName !== undefined && { hostName }) }),
        ...words,
        ...(port !== undefined &&
          sees('port', port) && { port: titleOf(topology, 'port', port.id) }),
        packet,
        left,
        seq,
      });
    }
  rows.sort((a, b) => a.atMs - b.atMs || a.seq - b.seq);
  return { rows: rows.slice(-LOG_ROWS_MAX), missing };
}

const QUERY = [
  { name: 'chain', about: 'Only rules of this chain, by id or unique name.', type: 'string' },
  { name: 'rule', about: 'Only this rule, by id or unique name.', type: 'string' },
] as const;

export const ruleRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/rule-counts',
    operationId: 'list-rule-counts',
    about: 'How many packets and bytes each rule has matched, on all hosts.',
    who: NOT_HOSTS,
    output: 'RuleCounts',
    query: QUERY,
    handle: async (call) => json(await ruleCounts(node, call)),
  },
  {
    method: 'GET',
    path: '/v1/rule-log',
    operationId: 'list-rule-log',
    about: 'The last packets that logged rules matched, on all hosts.',
    who: NOT_HOSTS,
    output: 'RuleLog',
    query: QUERY,
    handle: async (call) => json(await ruleLog(node, call)),
  },
];
