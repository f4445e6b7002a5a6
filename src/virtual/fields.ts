/** Field types shared by the kinds: strict text at the edge, canonical text in the store. */
import { z } from 'zod';
import {
  BROADCAST4,
  formatIp,
  isIp6,
  isLinkLocalIp,
  isLoopbackIp,
  isMulticastIp,
  isUnspecifiedIp,
  parseIp,
  type Ip,
} from '#net/ip.ts';
import { formatMac, isGroup, parseMac } from '#net/mac.ts';
import { bitsOf, formatPrefix, networkOf, parseNetwork, parsePrefix } from '#net/prefix.ts';

/** Characters of a name; a longer one is refused. */
export const NAME_LENGTH_MAX = 255;

export const name = z
  .string()
  .min(1, 'must not be empty')
  .max(NAME_LENGTH_MAX, `must have at most ${NAME_LENGTH_MAX} characters`)
  .regex(
    /^[A-Za-z0-9_](?:[A-Za-z0-9_.:@ -]*[A-Za-z0-9_.:@-])?$/,
    'must start with a letter, digit or _ and hold only letters, digits, _.:@- or inner spaces',
  );

/** Labels of one object. */
export const LABELS_MAX = 32;
const LABEL = /^[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?=[A-Za-z0-9._-]{0,63}$/;
const keyOf = (label: string): string => label.slice(0, label.indexOf('='));

/**
 * What operators and tenants sort their objects by. Sorted by key, so that one set of labels is one
 * value; no walk reads them, so a change of labels touches no flow.
 */
export const labels = z
  .array(
    z
      .string()
      .regex(
        LABEL,
        'must be key=value: a key of 1 to 63 of a-z 0-9 . _ / - between letters or digits, a value of up to 63 of A-Z a-z 0-9 . _ -',
      ),
  )
  .max(LABELS_MAX, `must hold at most ${LABELS_MAX} labels`)
  .superRefine((given, context) => {
    const seen = new Set<string>();
    for (const [i, label] of given.entries()) {
      const key = keyOf(label);
      if (seen.has(key))
        context.addIssue({ code: 'custom', path: [i], message: `gives ${key} twice` });
      seen.add(key);
    }
  })
  .overwrite((given) => [...given].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)))
  .optional()
  .describe('What it is sorted by: key=value, each key once.');

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** The name of an object: never of the form of an id, so that none is taken for the other. */
export const objectName = name.refine((text) => !UUID.test(text), 'must not look like an id');

/**
 * A UUID of the kind named. Callers may give a unique name instead: the API resolves it before it
 * validates.
 */
export const id = <K extends string>(_kind: K) =>
  z
    .uuid({ error: ({ input }) => (input === undefined ? 'is required' : 'must be a UUID') })
    .toLowerCase()
    .brand<K>();

/** A unicast MAC in canonical text. */
export const unicastMac = z.string().transform((text, context) => {
  const mac = parseMac(text);
  if (mac === undefined)
    context.addIssue({
      code: 'custom',
      message: 'must be a MAC address such as 02:00:00:00:00:01',
    });
  else if (isGroup(mac) || mac === 0)
    context.addIssue({ code: 'custom', message: 'must be a unicast MAC address' });
  else return formatMac(mac);
  return z.NEVER;
});

/** An IPv4 or IPv6 address in canonical text (RFC 5952 for IPv6). */
export const ip = z.string().transform((text, context) => {
  const address = parseIp(text);
  if (address !== undefined) return formatIp(address);
  context.addIssue({ code: 'custom', message: 'must be an IPv4 or IPv6 address' });
  return z.NEVER;
});

const isUnicastIp = (address: Ip): boolean =>
  !isMulticastIp(address) && !isUnspecifiedIp(address) && address !== BROADCAST4;

/** An address that one neighbour can own: neither a group, nor all hosts, nor unspecified. */
export const unicastIp = ip.refine((text) => {
  const address = parseIp(text);
  return address !== undefined && isUnicastIp(address);
}, 'must be a unicast address');

/**
 * An address that one host can have on the underlay: no link-local one, which names a host only
 * together with an interface, and no IPv4-mapped one: that is another way to say an IPv4 address.
 */
export const underlayIp = unicastIp.refine((text) => {
  const address = parseIp(text);
  if (address === undefined) return false;
  const mapped = isIp6(address) && formatIp(address).startsWith('::ffff:');
  return !mapped && !isLoopbackIp(address) && !(isIp6(address) && isLinkLocalIp(address));
}, 'must be an address by which other hosts reach this one: not loopback, link-local or IPv4-mapped');

/** The fault of a text that is no prefix; `also` is what else it may be. */
function prefixFault(text: string, also: string): string {
  const loose = parseNetwork(text);
  if (loose === undefined) return `must be ${also}a prefix such as 10.0.0.0/8 or fd00::/64`;
  const { address, length } = loose;
  const meant = formatPrefix({ address: networkOf(address, length), length });
  return `has bits behind its length: did you mean ${meant}?`;
}

/** A prefix in canonical text: `10.0.0.0/8`, `fd00::/64`; its host bits are zero. */
export const prefix = z.string().transform((text, context) => {
  const parsed = parsePrefix(text);
  if (parsed !== undefined) return formatPrefix(parsed);
  context.addIssue({ code: 'custom', message: prefixFault(text, '') });
  return z.NEVER;
});

/**
 * One unicast address, or a prefix, in canonical text: `10.0.0.5`, `fd00::/64`. A prefix of one
 * address is that address.
 */
export const addressOrPrefix = z.string().transform((text, context) => {
  const parsed = parsePrefix(text);
  if (parsed !== undefined && parsed.length < bitsOf(parsed.address)) return formatPrefix(parsed);
  const address = parsed?.address ?? parseIp(text);
  if (address !== undefined && isUnicastIp(address)) return formatIp(address);
  const message =
    address === undefined ? prefixFault(text, 'an address or ') : 'must be a unicast address';
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

/** An address of an interface and the prefix it is in: `10.0.0.1/24`, `fd00::1/64`. */
export const interfaceAddress = z.string().transform((text, context) => {
  const parsed = parseNetwork(text);
  if (parsed === undefined)
    context.addIssue({
      code: 'custom',
      message: 'must be an address with a length such as 10.0.0.1/24 or fd00::1/64',
    });
  else if (!isHostAddress(parsed.address, parsed.length))
    context.addIssue({ code: 'custom', message: 'must be the address of one host in its prefix' });
  else return formatPrefix(parsed);
  return z.NEVER;
});

/**
 * Neither a group nor unspecified, nor the network's own or broadcast address (RFC 1122 §3.2.1.3).
 */
function isHostAddress(address: Ip, length: number): boolean {
  if (isMulticastIp(address) || isUnspecifiedIp(address) || length === 0) return false;
  if (isIp6(address) || length >= bitsOf(address) - 1) return address !== BROADCAST4;
  const network = networkOf(address, length) as number;
  return address !== network && address !== network + 2 ** (32 - length) - 1;
}
