/** The size that an MTU is compared with: plain frames, tagged ones, segments, junk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { packets } from '#virtual/packet.arbitrary.ts';
import { GSO_BY_FRAGS, packetSize } from './size.ts';

interface Shape {
  readonly v6?: boolean;
  readonly vlan?: boolean;
  readonly proto: number;
  /** Bytes of IPv4 options, or of one IPv6 extension header. */
  readonly more?: number;
  readonly body: readonly number[];
}
/** A frame of 3000 bytes and more, with nothing in it that `packetSize` does not read. */
function frameOf({ v6 = false, vlan = false, proto, more = 0, body }: Shape): Uint8Array {
  const tag = vlan ? [0x81, 0, 0x60, 5] : [];
  const type = v6 ? [0x86, 0xdd] : [8, 0];
  const head = Array.from({ length: v6 ? 40 : 20 }, () => 0);
  head[0] = v6 ? 0x60 : 0x45 + more / 4;
  head[v6 ? 6 : 9] = v6 && more > 0 ? 60 : proto;
  const extra = Array.from({ length: more }, () => 0);
  if (v6 && more > 0) extra.splice(0, 2, proto, more / 8 - 1);
  const rest = Array.from({ length: 3000 }, () => 0);
  const macs = Array.from({ length: 12 }, () => 2);
  return Uint8Array.from([...macs, ...tag, ...type, ...head, ...extra, ...body, ...rest]);
}
const tcp = (words: number): number[] => [...Array<number>(12).fill(0), words << 4];

test('a packet is what is behind the Ethernet header and one tag', () => {
  for (const vlan of [false, true])
    for (const v6 of [false, true]) {
      const frame = frameOf({ v6, vlan, proto: 17, body: [] });
      assert.equal(packetSize(frame, 0), (v6 ? 40 : 20) + 3000);
    }
  const arp = frameOf({ proto: 17, body: [] });
  arp[13] = 6;
  assert.equal(packetSize(arp, 0), 0);
  assert.equal(packetSize(arp, 500), 0);
});

test('a segment has the headers of the super-packet and its share of the payload', () => {
  for (const vlan of [false, true]) {
    assert.equal(packetSize(frameOf({ vlan, proto: 17, body: [] }), 1000), 20 + 8 + 1000);
    assert.equal(packetSize(frameOf({ vlan, proto: 6, body: tcp(8) }), 1000), 20 + 32 + 1000);
    const options = frameOf({ vlan, proto: 6, more: 40, body: tcp(5) });
    assert.equal(packetSize(options, 1000), 60 + 20 + 1000);
    const v6 = frameOf({ vlan, v6: true, proto: 6, more: 24, body: tcp(15) });
    assert.equal(packetSize(v6, 1000), 64 + 60 + 1000);
  }
});

test('a segment is never larger than the super-packet, and its parts may be of any size', () => {
  const udp = frameOf({ proto: 17, body: [] });
  assert.equal(packetSize(udp, 2992), 3020);
  assert.equal(packetSize(udp, 2993), 3020);
  const sctp = frameOf({ proto: 132, body: [] });
  assert.equal(packetSize(sctp, 1000), 20 + 1000);
  assert.equal(packetSize(sctp, GSO_BY_FRAGS), 20);
  const broken = frameOf({ proto: 17, body: [] });
  broken[14] = 0x55;
  assert.equal(packetSize(broken, 1000), 3020);
});

test('of anything, a size between nothing and all there is', () => {
  const junk = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    packets.map(({ bytes }) => bytes),
  );
  fc.assert(
    fc.property(junk, fc.constantFrom(0, 1, 50, GSO_BY_FRAGS), fc.nat(200), (bytes, gso, cut) => {
      const frame = bytes.subarray(0, Math.max(0, bytes.length - cut));
      const size = packetSize(frame, gso);
      assert.ok(size >= 0 && size <= Math.max(0, frame.length - 14));
    }),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 2000 },
  );
});
