/**
 * Values of conditions as text at the edge and as numbers in the walk: each field type here has a
 * strict schema that answers canonical text, and the reader of that text.
 *
 * Invariant: what a schema answers, its schema accepts unchanged, and its reader reads.
 */
import { z } from 'zod';
import { parseIp } from '#net/ip.ts';
import { formatMac, macUnder, parseMac, type Mac } from '#net/mac.ts';
import { bitsOf, formatPrefix, parsePrefix, type Prefix } from '#net/prefix.ts';
import { prefix } from '../fields.ts';

/** A MAC and which of its bits count. */
export interface MaskedMac {
  readonly mac: Mac;
  readonly mask: Mac;
}
/** From the first to the last, both included. */
export interface Range {
  readonly first: number;
  readonly last: number;
}

/** Names of IP protocols (IANA) that a condition may give in place of the number. */
export const PROTOCOL_NAMES: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  icmp6: 58,
  sctp: 132,
};
/** Names of Ethernet types. */
export const ETHER_TYPE_NAMES: Readonly<Record<string, number>> = {
  ip: 0x0800,
  arp: 0x0806,
  ip6: 0x86dd,
};
const ALL_BITS = 0xffffffffffff as Mac;
const PORT_MAX = 65_535;
/** IEEE 802.3 §3.2.6: smaller values are lengths. */
const ETHER_TYPE_MIN = 0x600;
const DECIMAL = /^(?:0|[1-9][0-9]{0,4})$/;
const HEX = /^0x[0-9a-f]{1,4}$/i;

const nameIn = (names: Readonly<Record<string, number>>, value: number): string | undefined =>
  Object.keys(names).find((name) => names[name] === value);

/** A text, or a number where the text would be one; `read` answers canonical text or nothing. */
const textOrNumber = (read: (text: string) => string | undefined, must: string) =>
  z
    .union([z.string(), z.number()], {
      error: ({ input }) => (input === undefined ? 'is required' : must),
    })
    .transform((given, context) => {
      const text = read(String(given));
      if (text !== undefined) return text;
      context.addIssue({ code: 'custom', message: must });
      return z.NEVER;
    });

function readRange(text: string): Range | undefined {
  const [from = '', to = from, ...more] = text.split('-');
  if (more.length > 0 || !DECIMAL.test(from) || !DECIMAL.test(to)) return undefined;
  const range = { first: Number(from), last: Number(to) };
  return range.first <= range.last && range.last <= PORT_MAX ? range : undefined;
}
const formatRange = ({ first, last }: Range): string =>
  first === last ? String(first) : `${first}-${last}`;

function readProtocol(text: string): number | undefined {
  if (Object.hasOwn(PROTOCOL_NAMES, text)) return PROTOCOL_NAMES[text];
  const number = DECIMAL.test(text) ? Number(text) : 256;
  return number < 256 ? number : undefined;
}
function readEtherType(text: string): number | undefined {
  if (Object.hasOwn(ETHER_TYPE_NAMES, text)) return ETHER_TYPE_NAMES[text];
  const type = HEX.test(text) || DECIMAL.test(text) ? Number(text) : 0;
  return type >= ETHER_TYPE_MIN && type <= 0xffff ? type : undefined;
}
function readMasked(text: string): MaskedMac | undefined {
  const [first = '', second, ...more] = text.split('/');
  const mac = parseMac(first);
  const mask = second === undefined ? ALL_BITS : parseMac(second);
  if (mac === undefined || mask === undefined || more.length > 0) return undefined;
  return { mac, mask };
}

const stored = <Value>(value: Value | undefined, text: string): Value => {
  if (value === undefined) throw new Error(`rule: ${text} is stored but not valid`);
  return value;
};
export const rangeOf = (text: string): Range => stored(readRange(text), text);
export const protocolOf = (text: string): number => stored(readProtocol(text), text);
export const etherTypeOf = (text: string): number => stored(readEtherType(text), text);
export const maskedMacOf = (text: string): MaskedMac => stored(readMasked(text), text);
export const prefixOf = (text: string): Prefix => stored(parsePrefix(text), text);

/** `80`, `1000-2000`. */
export const portRange = textOrNumber((text) => {
  const range = readRange(text);
  return range && formatRange(range);
}, 'must be a port or a range of ports such as 80 or 1000-2000, each at most 65535');

/** `tcp`, `47`. */
export const protocol = textOrNumber(
  (text) => {
    const number = readProtocol(text);
    return number === undefined ? undefined : (nameIn(PROTOCOL_NAMES, number) ?? String(number));
  },
  `must be a protocol: a number up to 255, or ${Object.keys(PROTOCOL_NAMES).join(', ')}`,
);

/** `ip6`, `0x8847`. */
export const etherType = textOrNumber(
  (text) => {
    const type = readEtherType(text);
    if (type === undefined) return undefined;
    return nameIn(ETHER_TYPE_NAMES, type) ?? `0x${type.toString(16).padStart(4, '0')}`;
  },
  `must be an Ethernet type from 0x0600 to 0xffff, or ${Object.keys(ETHER_TYPE_NAMES).join(', ')}`,
);

/** `02:00:00:00:00:01`, `02:00:00:00:00:00/ff:ff:00:00:00:00`. */
export const maskedMac = z.string().transform((text, context) => {
  const masked = readMasked(text);
  if (masked === undefined)
    context.addIssue({
      code: 'custom',
      message:
        'must be a MAC address, or one and a mask such as 02:00:00:00:00:00/ff:ff:00:00:00:00',
    });
  else if (macUnder(masked.mac, masked.mask) !== masked.mac)
    context.addIssue({ code: 'custom', message: 'has bits that its mask leaves out' });
  else {
    const mac = formatMac(masked.mac);
    return masked.mask === ALL_BITS ? mac : `${mac}/${formatMac(masked.mask)}`;
  }
  return z.NEVER;
});

/** A prefix, or one address, which is the prefix that holds nothing else: `10.0.0.1/32`. */
export const addresses = z
  .string()
  .transform((text) => {
    const ip = parseIp(text);
    return ip === undefined ? text : formatPrefix({ address: ip, length: bitsOf(ip) });
  })
  .pipe(prefix);
