/** Whole frames: the codec law, checksums against the slow sum, frames of a real kernel, damage. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesUpTo, damaged, frames, runs } from './arbitraries.test.ts';
import { frameFault } from './fault.ts';
import { decodeFrame, encodeFrame, fragmentKind, networkLength } from './frame.ts';
import type { Frame, Layers } from './frame.ts';
import type { Ip4, Ip6 } from './ip.ts';
import { ZERO_MAC } from './mac.ts';
import { readPcap } from './pcap.ts';
import { describeFrame } from './text.ts';

/** Every field of `wanted` that encoding does not compute, in `found`. */
function assertKept(
  found: object | undefined,
  wanted: object | undefined,
  computed: string[],
): void {
  if (wanted === undefined) return assert.equal(found, undefined);
  assert.ok(found !== undefined);
  for (const [name, value] of Object.entries(wanted)) {
    if (!computed.includes(name)) assert.deepEqual(found[name as never], value, name);
  }
}

test('decode(encode(x)) has every layer of x, and no fault', () => {
  fc.assert(
    fc.property(frames, (layers) => {
      const bytes = encodeFrame(layers);
      const frame = decodeFrame(bytes);
      assert.ok(frame !== undefined);
      assertKept(frame.ethernet, layers.ethernet, []);
      assertKept(frame.network, layers.network, ['checksum', 'totalLength', 'payloadLength']);
      const kept = frame.network?.kind === 'ipv4' && frame.network.moreFragments;
      assertKept(frame.transport, layers.transport, kept ? [] : ['checksum', 'length']);
      assert.deepEqual(frame.payload, layers.payload ?? new Uint8Array(0));
      assert.deepEqual(frame.trailer, layers.trailer ?? new Uint8Array(0));
      assert.equal(frameFault(bytes), undefined);
      assert.deepEqual(encodeFrame(frame), bytes);
      assert.equal(
        bytes.length - frame.trailer.length,
        networkLength(layers) + (layers.ethernet.tci === undefined ? 14 : 18),
      );
    }),
    runs(4000),
  );
});

/** RFC 1071 by hand over a list of bytes; 0 when the checksum inside is right. */
function slow(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
    if (sum >= 65_536) sum = sum - 65_536 + 1;
  }
  return 65_535 - sum;
}

/** The bytes that the transport checksum covers, straight from the RFCs' drawings. */
function covered(bytes: Uint8Array, frame: Frame): number[] {
  const { network, transport } = frame;
  assert.ok(network !== undefined && network.kind !== 'arp' && transport !== undefined);
  const start = frame.ethernet.tci === undefined ? 14 : 18;
  const end = bytes.length - frame.trailer.length;
  const header =
    network.kind === 'ipv4'
      ? 20 + (network.options?.length ?? 0)
      : 40 + (network.extensions?.length ?? 0);
  const segment = [...bytes.subarray(start + header, end)];
  const length = [segment.length >>> 8, segment.length & 255];
  if (network.kind === 'ipv6') {
    return [
      ...bytes.subarray(start + 8, start + 40),
      0,
      0,
      ...length,
      0,
      0,
      0,
      network.protocol,
      ...segment,
    ];
  }
  if (transport.kind === 'icmp') return segment;
  return [...bytes.subarray(start + 12, start + 20), 0, network.protocol, ...length, ...segment];
}

test('checksums equal the slow sum', () => {
  let checked = 0;
  fc.assert(
    fc.property(frames, (layers) => {
      const bytes = encodeFrame(layers);
      const frame = decodeFrame(bytes);
      assert.ok(frame !== undefined);
      const { network, transport } = frame;
      if (network === undefined || network.kind === 'arp') return;
      const start = frame.ethernet.tci === undefined ? 14 : 18;
      const size = 20 + (network.kind === 'ipv4' ? (network.options?.length ?? 0) : 0);
      if (network.kind === 'ipv4') assert.equal(slow([...bytes.subarray(start, start + size)]), 0);
      if (transport === undefined || fragmentKind(network) !== 0) return;
      if (transport.kind === 'udp' && transport.checksum === 0) return;
      assert.equal(slow(covered(bytes, frame)), 0);
      checked++;
    }),
    runs(2000),
  );
  assert.ok(checked > 500, `${checked} checked`);
});

test('UDP sends a computed 0 as all ones', () => {
  const layers = (port: number): Layers => ({
    ethernet: { src: ZERO_MAC, dst: ZERO_MAC },
    network: { kind: 'ipv4', src: 0x0a000001 as Ip4, dst: 0x0a000002 as Ip4 },
    transport: { kind: 'udp', srcPort: port, dstPort: 0 },
  });
  const sent = (port: number): number => {
    const transport = decodeFrame(encodeFrame(layers(port)))?.transport;
    return transport?.kind === 'udp' ? transport.checksum : -1;
  };
  const toZero = sent(0);
  assert.equal(sent(toZero), 0xffff);
  assert.equal(frameFault(encodeFrame(layers(toZero))), undefined);
});

test('what cannot be encoded is refused', () => {
  const ethernet = { src: ZERO_MAC, dst: ZERO_MAC };
  const network = { kind: 'ipv4', src: 0 as Ip4, dst: 0 as Ip4 } as const;
  assert.throws(() => encodeFrame({ ethernet }), /EtherType/);
  assert.throws(() => encodeFrame({ ethernet, network }), /protocol/);
  const most = { ...network, protocol: 255 };
  const bytes = encodeFrame({ ethernet, network: most, payload: new Uint8Array(65_515) });
  assert.equal(frameFault(bytes), undefined);
  const over = new Uint8Array(65_516);
  assert.throws(() => encodeFrame({ ethernet, network: most, payload: over }), /65536 bytes/);
  const nobody = '0'.repeat(32) as Ip6;
  const six = { kind: 'ipv6', src: nobody, dst: nobody, protocol: 255 } as const;
  const most6 = encodeFrame({ ethernet, network: six, payload: new Uint8Array(65_535) });
  assert.equal(frameFault(most6), undefined);
  const over6 = new Uint8Array(65_536);
  assert.throws(() => encodeFrame({ ethernet, network: six, payload: over6 }), /65576 bytes/);
});

test('damaged frames and junk never throw; without a fault they are kept to the byte', () => {
  const valid = frames.map(encodeFrame);
  let whole = 0;
  fc.assert(
    fc.property(damaged(valid), (bytes) => {
      const frame = decodeFrame(bytes);
      describeFrame(bytes);
      if (frameFault(bytes) !== undefined || frame === undefined) return;
      assert.deepEqual(encodeFrame(frame), bytes);
      whole++;
    }),
    runs(12_000),
  );
  assert.ok(whole > 500, `${whole} without a fault`);
  fc.assert(
    fc.property(bytesUpTo(120), (bytes) => {
      decodeFrame(bytes);
      frameFault(bytes);
      describeFrame(bytes);
    }),
    runs(12_000),
  );
  // Junk behind a real EtherType reaches the decoders above.
  const types = fc.constantFrom([8, 0], [8, 6], [0x86, 0xdd], [0x81, 0, 0, 1, 8, 0]);
  const versions = fc.constantFrom([], [0x45], [0x60], [0x46]);
  fc.assert(
    fc.property(types, versions, bytesUpTo(120), (type, version, junk) => {
      const bytes = Uint8Array.from([...Array(12).fill(2), ...type, ...version, ...junk]);
      decodeFrame(bytes);
      frameFault(bytes);
      describeFrame(bytes);
    }),
    runs(12_000),
  );
});

/**
 * Taken from a veth pair with checksum offload off: ping, fragments, TCP, UDP, ICMP errors, MLD,
 * ND.
 */
const capture = readPcap(readFileSync(new URL('./testdata/kernel.pcap', import.meta.url)));

test('frames of a real kernel have no fault and survive a round trip', () => {
  assert.ok('records' in capture);
  assert.equal(capture.records.length, 31);
  for (const { frame: bytes } of capture.records) {
    const frame = decodeFrame(bytes);
    assert.equal(frameFault(bytes), undefined, describeFrame(bytes));
    assert.ok(frame !== undefined);
    assert.equal(Buffer.compare(encodeFrame(frame), bytes), 0, describeFrame(bytes));
  }
});

test('a flipped bit in a real frame is a fault, unless nothing covers it', () => {
  assert.ok('records' in capture);
  for (const { frame: bytes } of capture.records) {
    const frame = decodeFrame(bytes);
    if (frame?.transport === undefined || frame.network?.kind !== 'ipv4') continue;
    if (fragmentKind(frame.network) !== 0) continue;
    for (let at = 16; at < bytes.length; at++) {
      const copy = bytes.slice();
      copy[at] = (copy[at] ?? 0) ^ 0x10;
      assert.notEqual(frameFault(copy), undefined, `${describeFrame(bytes)}: byte ${at}`);
    }
  }
});
