/**
 * What became of a packet, in the words of a scenario, read from what the real tools print or from
 * the ICMP error itself. One set of words for both families: those of ICMP for IPv4.
 */
import type { Frame } from '#net/frame.ts';
import { ICMP_WORDS } from '#net/packet/icmp.ts';
import { ICMP6_WORDS } from '#net/packet/icmp6.ts';

export type PingOutcome =
  | { readonly kind: 'reply' }
  | { readonly kind: 'silence' }
  /** `from`: who sent the error; `what`: its word. */
  | { readonly kind: 'error'; readonly from: string; readonly what: string }
  /** Not sent: the sender knows that it would not fit, and must not cut it. */
  | { readonly kind: 'too-long'; readonly mtu: number };

export const SILENCE: PingOutcome = { kind: 'silence' };
export const REPLY: PingOutcome = { kind: 'reply' };
/** A hop that answers nothing. */
export const SILENT_HOP = '*';

/** Hops that a traceroute asks at most. */
export const HOPS_MAX = 8;
/** Silent hops in a row after which it gives up. */
export const SILENT_HOPS_MAX = 2;

export const tooLong = (mtu: number): string => `too long: mtu ${mtu}`;
const fragNeeded = (mtu: number): string => `frag-needed mtu ${mtu}`;

/** The words of ICMPv6 that differ. */
const WORDS6: Readonly<Record<string, string>> = {
  'no-route': 'net-unreachable',
  'address-unreachable': 'host-unreachable',
  'hop-limit-exceeded': 'ttl-exceeded',
};
const QUERIES: readonly string[] = ['echo', 'reply', 'router-solicitation', 'router-advertisement'];

/** The word of an ICMP error; undefined for everything else, and for an error that has none. */
export function errorWord({ transport }: Frame): string | undefined {
  if (transport?.kind !== 'icmp' && transport?.kind !== 'icmp6') return undefined;
  const { type, code, id, sequence } = transport;
  const words = transport.kind === 'icmp' ? ICMP_WORDS : ICMP6_WORDS;
  const word = Object.entries(words).find(([, [t, c]]) => t === type && c === code)?.[0];
  if (word === undefined || QUERIES.includes(word)) return undefined;
  if (word === 'frag-needed') return fragNeeded(sequence);
  if (word === 'too-big') return fragNeeded(id * 0x10000 + sequence);
  return WORDS6[word] ?? word;
}

/** What ping(8) of iputils says about each error, IPv4 and IPv6. */
const PING_TEXTS: readonly (readonly [RegExp, string])[] = [
  [/^Destination Net Unreachable/, 'net-unreachable'],
  [/^Destination unreachable: No route/, 'net-unreachable'],
  [/^Destination Host Unreachable/, 'host-unreachable'],
  [/^Destination unreachable: Address unreachable/, 'host-unreachable'],
  [/^Destination Port Unreachable/, 'port-unreachable'],
  [/^Destination unreachable: Port unreachable/, 'port-unreachable'],
  [/^Destination Protocol Unreachable/, 'protocol-unreachable'],
  [/^Packet filtered/, 'admin-prohibited'],
  [/^Destination unreachable: Administratively prohibited/, 'admin-prohibited'],
  [/^Time to live exceeded/, 'ttl-exceeded'],
  [/^Time exceeded: Hop limit/, 'ttl-exceeded'],
];

function pingWord(text: string): string {
  const mtu = /^(?:Frag needed and DF set|Packet too big).*\bmtu ?= ?(\d+)/.exec(text)?.[1];
  if (mtu !== undefined) return fragNeeded(Number(mtu));
  return PING_TEXTS.find(([pattern]) => pattern.test(text))?.[1] ?? text;
}

/**
 * What `ping -n -c 1` learned. `own`: the sender's addresses; an error "from" one of them is the
 * sender's own opinion (nobody answered its ARP), and no word from the network.
 */
export function readPing(output: string, own: ReadonlySet<string>): PingOutcome {
  if (/^\d+ bytes from /m.test(output)) return REPLY;
  const local = /local error: message too long, mtu[=:] ?(\d+)/.exec(output)?.[1];
  if (local !== undefined) return { kind: 'too-long', mtu: Number(local) };
  for (const [, from = '', text = ''] of output.matchAll(/^From (\S+?):? icmp_seq=\d+ (.*)$/gm))
    if (!own.has(from)) return { kind: 'error', from, what: pingWord(text.trim()) };
  return SILENCE;
}

/** The marks of traceroute(8) behind a time. */
const TRACE_MARKS: Readonly<Record<string, string>> = {
  '!N': 'net-unreachable',
  '!H': 'host-unreachable',
  '!P': 'protocol-unreachable',
  '!X': 'admin-prohibited',
};

/**
 * The hops that `traceroute -n -q 1` printed, as long as they tell something: it cannot be told to
 * give up.
 */
export function readTraceroute(output: string, own: ReadonlySet<string>): string[] {
  const hops: string[] = [];
  for (const [, text = ''] of output.matchAll(/^ *\d+ +(.*)$/gm)) {
    const [, from = '', mark] = /^(\S+)(?: +[\d.]+ ms)?(?: (!\S*))?/.exec(text.trim()) ?? [];
    if (from === SILENT_HOP || own.has(from)) hops.push(SILENT_HOP);
    else if (mark === undefined) hops.push(from);
    else hops.push(`${from} ${TRACE_MARKS[mark] ?? mark}`);
    if (givesUp(hops)) break;
  }
  return hops;
}

/** Whether the last hops were all silent. */
export const givesUp = (hops: readonly string[]): boolean =>
  hops.length >= SILENT_HOPS_MAX && hops.slice(-SILENT_HOPS_MAX).every((hop) => hop === SILENT_HOP);
