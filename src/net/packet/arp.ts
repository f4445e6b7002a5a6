/**
 * ARP for IPv4 over Ethernet (RFC 826). Other hardware or protocol types are refused: nothing here
 * could answer them.
 */
import { read16, write16 } from '../bytes.ts';
import { formatIp4, readIp4, writeIp4, type Ip4 } from '../ip.ts';
import { formatMac, readMac, writeMac, type Mac } from '../mac.ts';

export const ARP_SIZE = 28;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

/** Hardware type 1, protocol type 0x0800, address lengths 6 and 4. */
const FIXED = Uint8Array.of(0, 1, 8, 0, 6, 4);

export interface Arp {
  readonly kind: 'arp';
  readonly operation: number;
  readonly senderMac: Mac;
  readonly senderIp: Ip4;
  readonly targetMac: Mac;
  readonly targetIp: Ip4;
}

/** `undefined` when too short, or not for IPv4 over Ethernet. */
export function decodeArp(bytes: Uint8Array, at: number, end: number): Arp | undefined {
  if (end - at < ARP_SIZE || end > bytes.length) return undefined;
  for (let i = 0; i < FIXED.length; i++) if (bytes[at + i] !== FIXED[i]) return undefined;
  return {
    kind: 'arp',
    operation: read16(bytes, at + 6),
    senderMac: readMac(bytes, at + 8),
    senderIp: readIp4(bytes, at + 14),
    targetMac: readMac(bytes, at + 18),
    targetIp: readIp4(bytes, at + 24),
  };
}

/** Writes ARP_SIZE bytes; answers the offset behind them. */
export function encodeArp(bytes: Uint8Array, at: number, arp: Arp): number {
  bytes.set(FIXED, at);
  write16(bytes, at + 6, arp.operation);
  writeMac(bytes, at + 8, arp.senderMac);
  writeIp4(bytes, at + 14, arp.senderIp);
  writeMac(bytes, at + 18, arp.targetMac);
  writeIp4(bytes, at + 24, arp.targetIp);
  return at + ARP_SIZE;
}

/** `arp who-has 10.0.0.2 tell 10.0.0.1`; a reply whose target is its own sender has no `to`. */
export function describeArp(arp: Arp): string {
  const sender = formatIp4(arp.senderIp);
  const target = formatIp4(arp.targetIp);
  if (arp.operation === ARP_REQUEST) return `arp who-has ${target} tell ${sender}`;
  if (arp.operation === ARP_REPLY) {
    const to = arp.targetIp === arp.senderIp ? '' : ` to ${target}`;
    return `arp reply ${sender} is-at ${formatMac(arp.senderMac)}${to}`;
  }
  return `arp (operation ${arp.operation}, sender ${sender}, target ${target})`;
}
