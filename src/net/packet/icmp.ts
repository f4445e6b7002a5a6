/**
 * ICMP headers (RFC 792): eight bytes, whatever the type makes of the last four.
 */
import { read16, read8, write16 } from '../bytes.ts';
import { formatIp4, type Ip4 } from '../ip.ts';

export const ICMP_SIZE = 8;
export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_TIME_EXCEEDED = 11;

/**
 * `id` and `sequence`: the last two 16-bit words. They have these meanings in an echo; in
 * "fragmentation needed" (RFC 1191 §4) `sequence` is the MTU of the next hop.
 */
export interface Icmp {
  readonly kind: 'icmp';
  readonly type: number;
  readonly code: number;
  readonly checksum: number;
  readonly id: number;
  readonly sequence: number;
}

/** Type and code of the messages that have a word in the text form. */
export const ICMP_WORDS: Readonly<Record<string, readonly [type: number, code: number]>> = {
  echo: [ICMP_ECHO_REQUEST, 0],
  reply: [ICMP_ECHO_REPLY, 0],
  'net-unreachable': [ICMP_UNREACHABLE, 0],
  'host-unreachable': [ICMP_UNREACHABLE, 1],
  'protocol-unreachable': [ICMP_UNREACHABLE, 2],
  'port-unreachable': [ICMP_UNREACHABLE, 3],
  'frag-needed': [ICMP_UNREACHABLE, 4],
  'admin-prohibited': [ICMP_UNREACHABLE, 13],
  'ttl-exceeded': [ICMP_TIME_EXCEEDED, 0],
};

/** True for echo requests and replies, whose `id` names a conversation. */
export const isEcho = (type: number): boolean =>
  type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY;

/** `undefined` when cut short. */
export function decodeIcmp(bytes: Uint8Array, at: number, end: number): Icmp | undefined {
  if (end - at < ICMP_SIZE || end > bytes.length) return undefined;
  return {
    kind: 'icmp',
    type: read8(bytes, at),
    code: read8(bytes, at + 1),
    checksum: read16(bytes, at + 2),
    id: read16(bytes, at + 4),
    sequence: read16(bytes, at + 6),
  };
}

/** Writes ICMP_SIZE bytes as given, the checksum too; answers the offset behind them. */
export function encodeIcmp(bytes: Uint8Array, at: number, icmp: Omit<Icmp, 'kind'>): number {
  bytes[at] = icmp.type;
  bytes[at + 1] = icmp.code;
  write16(bytes, at + 2, icmp.checksum);
  write16(bytes, at + 4, icmp.id);
  write16(bytes, at + 6, icmp.sequence);
  return at + ICMP_SIZE;
}

/** Messages whose last four bytes tell an MTU. */
const WITH_MTU: readonly string[] = ['frag-needed', 'too-big'];

/**
 * `echo id 7 seq 1`, `frag-needed mtu 1400`, or `type 5 code 1 id 0 seq 0` for what has no word.
 */
export function describeMessage(
  message: Omit<Icmp, 'kind' | 'checksum'>,
  words: Readonly<Record<string, readonly [type: number, code: number]>>,
): string {
  const { type, code, id, sequence } = message;
  const word = Object.entries(words).find(([, [t, c]]) => t === type && c === code)?.[0];
  if (word !== undefined && WITH_MTU.includes(word)) {
    return `${word} mtu ${id * 0x10000 + sequence}`;
  }
  return `${word ?? `type ${type} code ${code}`} id ${id} seq ${sequence}`;
}

/** `icmp 10.0.0.1 > 10.0.0.2 echo id 7 seq 1`. */
export const describeIcmp = (src: Ip4, dst: Ip4, icmp: Icmp): string =>
  `icmp ${formatIp4(src)} > ${formatIp4(dst)} ${describeMessage(icmp, ICMP_WORDS)}`;
