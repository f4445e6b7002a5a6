/** Other ends for packets and for quoted ones: what changes, and that checksums stay as right. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checksum, pseudoSum } from './checksum.ts';
import { decodeFrame } from './frame.ts';
import { networkFault } from './fault.ts';
import { errorAbout } from './icmp-error.ts';
import { parseIp, type Ip } from './ip.ts';
import type { Mac } from './mac.ts';
import { addressesOf, readdress, readdressQuoted } from './readdress.ts';
import { describeFrame, parseFrameText } from './text.ts';

const MACS = '02:00:00:00:00:01 > 02:00:00:00:00:02';
const frame = (text: string): Uint8Array => {
  const bytes = parseFrameText(`${MACS} ${text}`);
  assert.ok(bytes instanceof Uint8Array, text);
  return bytes;
};
const ip = (text: string): Ip => parseIp(text)!;
const text = (bytes: Uint8Array | undefined): string => describeFrame(bytes ?? new Uint8Array(0));
const FOUR = { src: ip('192.0.2.7'), dst: ip('198.51.100.9'), srcPort: 4_000, dstPort: 53 };
const SIX = { src: ip('2001:db8::7'), dst: ip('2001:db8::9'), srcPort: 4_000, dstPort: 53 };

/** All checksums of a whole frame are right. */
function isSound(bytes: Uint8Array): boolean {
  const decoded = decodeFrame(bytes);
  if (decoded === undefined || networkFault(bytes, decoded) !== undefined) return false;
  const { network, transport } = decoded;
  if (network === undefined || network.kind === 'arp' || transport === undefined) return false;
  const six = network.kind === 'ipv6';
  const at = 14 + (six ? 40 : 20);
  const protocol = six ? network.nextHeader : network.protocol;
  const length = bytes.length - at;
  const covered = protocol === 1 ? 0 : pseudoSum({ ...network, protocol, length });
  return checksum(bytes, at, bytes.length, covered) === 0;
}

test('addresses and ports are others, and every checksum is as right as it was', () => {
  const cases = [
    [
      'udp 10.0.0.1:7 > 10.0.0.2:8 data 010203',
      FOUR,
      'udp 192.0.2.7:4000 > 198.51.100.9:53 data 010203',
    ],
    ['tcp 10.0.0.1:7 > 10.0.0.2:8 syn', FOUR, 'tcp 192.0.2.7:4000 > 198.51.100.9:53 syn'],
    [
      'icmp 10.0.0.1 > 10.0.0.2 echo id 5 seq 6',
      FOUR,
      'icmp 192.0.2.7 > 198.51.100.9 echo id 4000 seq 6',
    ],
    [
      'icmp 10.0.0.1 > 10.0.0.2 reply id 5 seq 6',
      FOUR,
      'icmp 192.0.2.7 > 198.51.100.9 reply id 53 seq 6',
    ],
    ['udp [fd00::1]:7 > [fd00::2]:8', SIX, 'udp [2001:db8::7]:4000 > [2001:db8::9]:53'],
    [
      'icmp6 fd00::1 > fd00::2 echo id 5 seq 6',
      SIX,
      'icmp6 2001:db8::7 > 2001:db8::9 echo id 4000 seq 6',
    ],
  ] as const;
  for (const [before, ends, after] of cases) {
    const bytes = frame(before);
    const kept = bytes.slice();
    const changed = readdress(bytes, ends);
    assert.ok(changed !== undefined && isSound(changed), before);
    assert.equal(text(changed), `${MACS} ${after}`);
    assert.deepEqual(bytes, kept, 'the bytes given stay');
  }
});

test('ends of another family, and frames without a packet, are refused', () => {
  assert.equal(readdress(frame('udp 10.0.0.1:7 > 10.0.0.2:8'), SIX), undefined);
  assert.equal(readdress(frame('type 0x88b5'), FOUR), undefined);
  assert.equal(readdressQuoted(frame('udp 10.0.0.1:7 > 10.0.0.2:8'), FOUR), undefined);
});

test('a quoted packet has other ends, and the message a checksum that is right', () => {
  for (const [about, ends, from] of [
    ['udp 10.0.0.1:7 > 10.0.0.2:8 data 010203', FOUR, '10.0.0.2'],
    ['tcp 10.0.0.1:7 > 10.0.0.2:8 syn', FOUR, '203.0.113.1'],
    ['icmp 10.0.0.1 > 10.0.0.2 echo id 5 seq 6', FOUR, '10.0.0.2'],
    ['udp [fd00::1]:7 > [fd00::2]:8', SIX, 'fd00::2'],
  ] as const) {
    const cause = about.startsWith('icmp') ? 'ttl-exceeded' : 'port-unreachable';
    const macs = { src: 2 as Mac, dst: 4 as Mac };
    const error = errorAbout(frame(about), { cause, from: ip(from), ...macs });
    assert.ok(error !== undefined, about);
    const changed = readdressQuoted(error, ends);
    assert.ok(changed !== undefined && isSound(changed), about);
    assert.deepEqual(addressesOf(changed), addressesOf(error), 'the outer ends stay');
    const inner = changed.subarray(14 + (typeof ends.src === 'string' ? 40 : 20) + 8);
    const again = new Uint8Array(14 + inner.length);
    again.set(error.subarray(0, 14));
    again.set(inner, 14);
    assert.deepEqual(addressesOf(again), { src: ends.src, dst: ends.dst });
  }
});

test('nothing throws, whatever the bytes are, and whole frames stay whole', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(
        'udp 10.0.0.1:7 > 10.0.0.2:8 data 010203',
        'icmp 10.0.0.1 > 10.0.0.2 ttl-exceeded',
      ),
      fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 6 }),
      fc.nat(100),
      (of, changes, cut) => {
        const bytes = frame(of);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const part = bytes.slice(0, Math.min(bytes.length, cut));
        for (const ends of [FOUR, SIX]) {
          const out = readdress(part, ends);
          assert.ok(out === undefined || out.length === part.length);
          readdressQuoted(part, ends);
        }
      },
    ),
    { seed: 1, numRuns: 2_000 },
  );
});
