/**
 * Whether rules of this host's firewall drop the overlay's packets: what nft and iptables say, read
 * strictly. A rule that is not understood is no finding: whether packets arrive, the probes show.
 */
import type { LocalFinding } from '#client/health-asks.ts';
import { type Check, finding } from './eye.ts';

/** A rule that drops packets to a UDP port, and how it is deleted. */
export interface Dropping {
  readonly where: string;
  readonly rule: string;
  readonly remedy: string;
}

type Json = Readonly<Record<string, unknown>>;
const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether `right` of a match names the port: a number, a range, or a set of these. */
function names(right: unknown, port: number): boolean {
  if (typeof right === 'number') return right === port;
  if (!isJson(right)) return false;
  const { set, range } = right;
  if (Array.isArray(set)) return set.some((each) => names(each, port));
  return Array.isArray(range) && Number(range[0]) <= port && port <= Number(range[1]);
}

/** Whether an expression holds of the overlay's packets; undefined: it is about something else. */
function matches(expression: Json, port: number): boolean | undefined {
  const { match } = expression;
  if (!isJson(match)) return undefined;
  const { left, right, op } = match;
  const payload = isJson(left) && isJson(left['payload']) ? left['payload'] : undefined;
  const meta = isJson(left) && isJson(left['meta']) ? left['meta'] : undefined;
  if (payload?.['field'] === 'dport') {
    const udp = payload['protocol'] === 'udp' || payload['protocol'] === 'th';
    const named = names(right, port);
    return udp && (op === '!=' ? !named : named);
  }
  if (meta?.['key'] === 'l4proto') return right === 'udp' || right === 17;
  return undefined;
}

/**
 * Rules of `nft -j list ruleset` that name the port and drop or refuse. Throws when it is no JSON.
 */
export function nftDrops(text: string, port: number): Dropping[] {
  const { nftables } = JSON.parse(text) as { readonly nftables?: readonly Json[] };
  const dropping: Dropping[] = [];
  for (const { rule } of nftables ?? []) {
    if (!isJson(rule)) continue;
    const expressions = Array.isArray(rule['expr']) ? rule['expr'].filter(isJson) : [];
    const drops = expressions.some((each) => 'drop' in each || 'reject' in each);
    const held = expressions.map((each) => matches(each, port));
    const named = expressions.some(
      (each) => matches(each, port) === true && JSON.stringify(each).includes('dport'),
    );
    if (!drops || !named || held.includes(false)) continue;
    const [family, table, chain] = [rule['family'], rule['table'], rule['chain']].map(String);
    const handle = String(rule['handle']);
    dropping.push({
      where: `nft ${family} ${table} ${chain}`,
      rule: `handle ${handle}: udp dport ${port} dropped or refused`,
      remedy: `nft delete rule ${family} ${table} ${chain} handle ${handle}`,
    });
  }
  return dropping;
}

/** Rules of `iptables-save` that name the port and drop or refuse. */
export function iptablesDrops(text: string, port: number, command: string): Dropping[] {
  const dropping: Dropping[] = [];
  let table = 'filter';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1).trim();
    const rule = /^-A (\S+) (.*)-j (?:DROP|REJECT)\b/.exec(line);
    if (rule === null || !/-p (?:udp|17) /.test(line)) continue;
    const [, ports = ''] = /(?<!! )--(?:dport|dports|destination-port) (\S+)/.exec(line) ?? [];
    const named = ports.split(',').some((part) => {
      const [first = '', last = first] = part.split(':');
      return first !== '' && Number(first) <= port && port <= Number(last);
    });
    if (!named) continue;
    dropping.push({
      where: `${command} ${table} ${rule[1] ?? ''}`,
      rule: line,
      remedy: `${command} -t ${table} ${line.replace(/^-A/, '-D')}`,
    });
  }
  return dropping;
}

const findings = (dropping: readonly Dropping[], port: number, of: string): LocalFinding[] =>
  dropping.map(({ where, rule, remedy }) =>
    finding('error', 'firewall', {
      what: `the firewall of this host drops ${of} (UDP port ${port})`,
      evidence: `${where}: ${rule}`.slice(0, 1_000),
      remedy: remedy.slice(0, 1_000),
    }),
  );

export const firewall: Check = async ({ output }, { tunnelUdpPort, recordUdpPort }) => {
  const rules = await output('nft', '-j', 'list', 'ruleset');
  const four = await output('iptables-save');
  const six = await output('ip6tables-save');
  const droppedAt = (port: number): Dropping[] => [
    ...(rules === undefined ? [] : nftDrops(rules, port)),
    ...(four === undefined ? [] : iptablesDrops(four, port, 'iptables')),
    ...(six === undefined ? [] : iptablesDrops(six, port, 'ip6tables')),
  ];
  return [
    ...findings(droppedAt(tunnelUdpPort), tunnelUdpPort, "the overlay's packets"),
    ...findings(
      droppedAt(recordUdpPort),
      recordUdpPort,
      'what agents tell each other of connections',
    ),
  ];
};
