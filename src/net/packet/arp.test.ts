/** ARP for IPv4 over Ethernet, and the refusal of everything else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkCodec, ip4s, macs, record, u16 } from '../arbitraries.test.ts';
import type { Ip4 } from '../ip.ts';
import { ZERO_MAC, type Mac } from '../mac.ts';
import { ARP_REPLY, ARP_REQUEST, ARP_SIZE, decodeArp, describeArp, encodeArp } from './arp.ts';

const arbitrary = record({
  kind: fc.constant('arp' as const),
  operation: u16,
  senderMac: macs,
  senderIp: ip4s,
  targetMac: macs,
  targetIp: ip4s,
});

test('codec', () => {
  checkCodec({ arbitrary, size: () => ARP_SIZE, encode: encodeArp, decode: decodeArp });
});

const arp = {
  kind: 'arp',
  operation: ARP_REQUEST,
  senderMac: 0x020000000001 as Mac,
  senderIp: 0x0a000001 as Ip4,
  targetMac: ZERO_MAC,
  targetIp: 0x0a000002 as Ip4,
} as const;

test('other hardware, protocols and address lengths are refused', () => {
  for (let at = 0; at < 6; at++) {
    const bytes = new Uint8Array(ARP_SIZE);
    encodeArp(bytes, 0, arp);
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    assert.equal(decodeArp(bytes, 0, ARP_SIZE), undefined, `byte ${at}`);
  }
});

test('description', () => {
  assert.equal(describeArp(arp), 'arp who-has 10.0.0.2 tell 10.0.0.1');
  const reply = { ...arp, operation: ARP_REPLY };
  assert.equal(describeArp(reply), 'arp reply 10.0.0.1 is-at 02:00:00:00:00:01 to 10.0.0.2');
  const gratuitous = { ...reply, targetIp: reply.senderIp };
  assert.equal(describeArp(gratuitous), 'arp reply 10.0.0.1 is-at 02:00:00:00:00:01');
});
