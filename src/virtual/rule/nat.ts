/**
 * What rules that translate addresses say: their actions, and their targets as text at the edge and
 * as numbers in the walk.
 *
 * Invariant: what a schema answers, its schema accepts unchanged, and its reader reads.
 */
import { z } from 'zod';
import { formatIp, isIp6, parseIp, type Ip, type Ip4, type Ip6 } from '#net/ip.ts';
import { bitsOf, formatPrefix, networkOf, parsePrefix, type Prefix } from '#net/prefix.ts';
import type { Range } from './values.ts';

/**
 * `snat`, `dnat`: other source, or destination, for packets of whoever opens a connection.
 * `reverse-snat`, `reverse-dnat`: what such a rule of the same router did is undone in answers: the
 * destination, or the source, is again what it was.
 */
export const NAT_ACTIONS = ['snat', 'dnat', 'reverse-snat', 'reverse-dnat'] as const;
export type NatAction = (typeof NAT_ACTIONS)[number];
export const isNatAction = (action: string): action is NatAction =>
  (NAT_ACTIONS as readonly string[]).includes(action);

/** What comes after a translation. */
export const NAT_AFTER = ['accept', 'continue', 'return'] as const;
export type NatAfter = (typeof NAT_AFTER)[number];

/** Targets of one rule. */
export const TARGETS_PER_RULE_MAX = 32;
/** Addresses of one target. */
export const ADDRESSES_PER_TARGET_MAX = 65_536;
/**
 * Where a source is translated to when its target names no ports: all but those that services have
 * (RFC 6056 §3.2).
 */
export const SNAT_PORTS: Range = { first: 1_024, last: 65_535 };

/** Where to: `count` addresses from `first` on. `ports`: undefined: those of its kind of rule. */
export interface Target {
  readonly first: Ip;
  readonly count: number;
  readonly ports: Range | undefined;
}

/** One rule's translation, as the walk sees it. */
export interface NatView {
  readonly action: NatAction;
  readonly after: NatAfter;
  readonly targets: readonly Target[];
  /** Without a record: the bits behind the prefix stay. */
  readonly static: { readonly from: Prefix; readonly to: Prefix } | undefined;
  /** A protocol without ports that the rule names, and so translates by address alone. */
  readonly portless: number | undefined;
}

const numberOf = (ip: Ip): bigint => (isIp6(ip) ? BigInt(`0x${ip}`) : BigInt(ip));
/** `by` addresses behind one; of its family. */
export const addressAfter = (ip: Ip, by: number): Ip =>
  isIp6(ip)
    ? ((BigInt(`0x${ip}`) + BigInt(by)).toString(16).padStart(32, '0') as Ip6)
    : ((ip + by) as Ip4);

/** Whether an endpoint is one of the target's; `ports`: those of its kind of rule. */
export function isIn({ first, count, ports }: Target, ip: Ip, port: number, all: Range): boolean {
  const range = ports ?? all;
  if (isIp6(ip) !== isIp6(first) || port < range.first || port > range.last) return false;
  if (count === 1) return ip === first;
  const by = numberOf(ip) - numberOf(first);
  return by >= 0n && by < BigInt(count);
}

/** An address of one prefix as the one that has its place in another of the same length. */
export function mapped(ip: Ip, { address, length }: Prefix): Ip {
  if (length === bitsOf(ip)) return address;
  if (!isIp6(address)) {
    const own = networkOf(ip, length) as number;
    return ((address as number) + ((ip as number) - own)) as Ip4;
  }
  const host = BigInt(`0x${ip}`) & ((1n << BigInt(128 - length)) - 1n);
  return (BigInt(`0x${address}`) | host).toString(16).padStart(32, '0') as Ip6;
}

const PORTS = /^(?<addresses>.*):(?<ports>\d{1,5}(?:-\d{1,5})?)$/;
const IN_BRACKETS = /^\[(?<addresses>[^\]]*)\](?::(?<ports>\d{1,5}(?:-\d{1,5})?))?$/;

const FORMS =
  'must be an address, or a range of addresses, and ports if it has any: 203.0.113.5, 203.0.113.5-203.0.113.8:1024-65535, [2001:db8::5]:80';

function portsIn(text: string | undefined): Range | undefined | string {
  if (text === undefined) return undefined;
  const [first = '', last = first] = text.split('-');
  const range = { first: Number(first), last: Number(last) };
  if (range.first > range.last || range.last > 65_535)
    return 'has ports that are no range from 0 to 65535';
  return range;
}

/** The target of a text; a text: what is wrong with it. */
export function readTarget(text: string): Target | string {
  const six = text.split(':').length > 2;
  const { groups } = (six ? IN_BRACKETS : PORTS).exec(text) ?? {};
  const [from = '', to = from, ...more] = (groups?.['addresses'] ?? text).split('-');
  const [first, last] = [parseIp(from), parseIp(to)];
  if (first === undefined || last === undefined || more.length > 0) return FORMS;
  if (isIp6(first) !== isIp6(last)) return 'must begin and end in one family';
  const count = numberOf(last) - numberOf(first) + 1n;
  if (count < 1n) return 'must begin before it ends';
  if (count > BigInt(ADDRESSES_PER_TARGET_MAX))
    return `must have at most ${ADDRESSES_PER_TARGET_MAX} addresses`;
  const ports = portsIn(groups?.['ports']);
  return typeof ports === 'string' ? ports : { first, count: Number(count), ports };
}

/** As `readTarget` reads it. */
export function formatTarget({ first, count, ports }: Target): string {
  const last = addressAfter(first, count - 1);
  const addresses = count === 1 ? formatIp(first) : `${formatIp(first)}-${formatIp(last)}`;
  if (ports === undefined) return addresses;
  const range = ports.first === ports.last ? `${ports.first}` : `${ports.first}-${ports.last}`;
  return isIp6(first) ? `[${addresses}]:${range}` : `${addresses}:${range}`;
}

/** A target, or a prefix, which static rules may have. */
const target = z.string().transform((text, context) => {
  const prefix = text.includes('/') ? parsePrefix(text) : undefined;
  if (prefix !== undefined) return formatPrefix(prefix);
  const read = readTarget(text);
  if (typeof read !== 'string') return formatTarget(read);
  context.addIssue({ code: 'custom', message: read });
  return z.NEVER;
});
export const targets = z
  .array(target)
  .min(1, 'must name at least one target')
  .max(TARGETS_PER_RULE_MAX, `must name at most ${TARGETS_PER_RULE_MAX} targets`)
  .refine((all) => new Set(all).size === all.length, 'names a target twice');

/** A stored target as a prefix: one address is the prefix that holds nothing else. */
export function targetPrefix(text: string): Prefix | undefined {
  if (text.includes('/')) return parsePrefix(text);
  const read = readTarget(text);
  if (typeof read === 'string' || read.count !== 1 || read.ports !== undefined) return undefined;
  return { address: read.first, length: bitsOf(read.first) };
}

/** A stored target of a rule that is not static. */
export function targetOf(text: string): Target {
  const read = readTarget(text);
  if (typeof read === 'string') throw new Error(`rule: ${text} is stored but not valid`);
  return read;
}
