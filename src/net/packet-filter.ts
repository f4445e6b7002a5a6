/**
 * Which packets, in words: for looking at some of what passes.
 *
 *   [PROTOCOL] [FROM > TO | FROM <> TO]
 *
 *   PROTOCOL   tcp, udp, icmp, icmp6, arp, ip, ip6, or `proto N`
 *   FROM, TO   *, an address, a prefix, or one of these with a port: 10.0.0.5:80, [fd00::1]:80
 *
 * `>` is that way only, `<>` both ways. What is not said is not looked at. Invariant: what
 * `formatPacketFilter` says parses back to the same filter.
 */
import { formatIp, isIp6, parseIp } from './ip.ts';
import { bitsOf, formatPrefix, parsePrefix, type Prefix } from './prefix.ts';
import { Words } from './words.ts';

export interface FilterEnd {
  readonly prefix?: Prefix;
  readonly port?: number;
}
/** `both`: answers, with the ends exchanged, too. */
export interface PacketFilter {
  readonly ethType?: number;
  readonly protocol?: number;
  readonly from: FilterEnd;
  readonly to: FilterEnd;
  readonly both: boolean;
}

const ETH_IP4 = 0x0800;
const ETH_IP6 = 0x86dd;
const ETH_ARP = 0x0806;
const TCP = 6;
const UDP = 17;
const PORT_MAX = 65_535;
const PROTOCOL_MAX = 255;

const NAMED: Readonly<Record<string, { readonly ethType?: number; readonly protocol?: number }>> = {
  tcp: { protocol: TCP },
  udp: { protocol: UDP },
  icmp: { ethType: ETH_IP4, protocol: 1 },
  icmp6: { ethType: ETH_IP6, protocol: 58 },
  arp: { ethType: ETH_ARP },
  ip: { ethType: ETH_IP4 },
  ip6: { ethType: ETH_IP6 },
};

function prefixOf(text: string): Prefix | undefined {
  const address = parseIp(text);
  return address === undefined ? parsePrefix(text) : { address, length: bitsOf(address) };
}

/** Undefined: it is no end. */
function endOf(word: string): FilterEnd | undefined {
  if (word === '*') return {};
  const whole = prefixOf(word);
  if (whole !== undefined) return { prefix: whole };
  const [, bracketed, plain, digits] = /^(?:\[(.*)\]|(.*)):(\d{1,5})$/.exec(word) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > PORT_MAX) return undefined;
  if (plain === '*') return { port };
  const prefix = prefixOf(bracketed ?? plain ?? '');
  return prefix === undefined ? undefined : { prefix, port };
}

/** The filter, or what is wrong with its text. */
export function parsePacketFilter(text: string): PacketFilter | { readonly error: string } {
  const words = new Words(text);
  let named: (typeof NAMED)[string] = {};
  if (words.take('proto')) named = { protocol: words.number('proto', PROTOCOL_MAX) };
  else if (Object.hasOwn(NAMED, words.peek())) named = NAMED[words.next('a protocol')] ?? {};
  let from: FilterEnd = {};
  let to: FilterEnd = {};
  let both = true;
  if (words.peek() !== '') {
    const [a, arrow, b] = [words.next('from'), words.next("'>' or '<>'"), words.next('to')];
    const [first, second] = [endOf(a), endOf(b)];
    const rule = 'must be *, an address, a prefix, or one of these with a port';
    if (first === undefined) words.fail(`'${a}': ${rule}`);
    else if (arrow !== '>' && arrow !== '<>') words.fail(`'${arrow}': must be '>' or '<>'`);
    else if (second === undefined) words.fail(`'${b}': ${rule}`);
    [from, to, both] = [first ?? {}, second ?? {}, arrow === '<>'];
  }
  if (words.peek() !== '') words.fail(`'${words.peek()}': there is nothing more to say`);
  const family = familyOf(named.ethType, from, to);
  if (family === 'mixed') words.fail('the addresses: must be of one family, that of the protocol');
  if (named.protocol !== TCP && named.protocol !== UDP && (from.port ?? to.port) !== undefined)
    words.fail('a port: needs tcp or udp');
  if (words.fault !== undefined) return { error: words.fault.error };
  const ethType = family === 'mixed' ? undefined : family;
  return { ...named, ...(ethType !== undefined && { ethType }), from, to, both };
}

/** The EtherType that addresses bring; ARP has IPv4 ones. */
function familyOf(
  named: number | undefined,
  from: FilterEnd,
  to: FilterEnd,
): number | 'mixed' | undefined {
  let ethType = named;
  for (const { prefix } of [from, to]) {
    if (prefix === undefined) continue;
    const own = isIp6(prefix.address) ? ETH_IP6 : ETH_IP4;
    if (ethType === ETH_ARP ? own !== ETH_IP4 : ethType !== undefined && ethType !== own)
      return 'mixed';
    ethType ??= own;
  }
  return ethType;
}

function endText({ prefix, port }: FilterEnd): string {
  if (prefix === undefined) return port === undefined ? '*' : `*:${port}`;
  const { address, length } = prefix;
  const text = length === bitsOf(address) ? formatIp(address) : formatPrefix(prefix);
  if (port === undefined) return text;
  return isIp6(address) ? `[${text}]:${port}` : `${text}:${port}`;
}

/** The filter in words. */
export function formatPacketFilter({ ethType, protocol, from, to, both }: PacketFilter): string {
  const name = Object.entries(NAMED).find(
    ([, row]) =>
      row.protocol === protocol &&
      (row.ethType === ethType || (row.ethType === undefined && protocol !== undefined)),
  )?.[0];
  const bare = from.prefix === undefined && to.prefix === undefined;
  const said = name ?? (protocol === undefined ? '' : `proto ${protocol}`);
  // An address says its family, too.
  const first = !bare && (said === 'ip' || said === 'ip6') ? '' : said;
  const ends = `${endText(from)} ${both ? '<>' : '>'} ${endText(to)}`;
  return ends === '* <> *' ? first : `${first} ${ends}`.trim();
}
