/** Which checksum and segmentation work a frame still needs, told from its bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { VNET_BYTES, writeVnetHeader } from './offload.ts';

interface Shape {
  readonly v6: boolean;
  readonly tcp: boolean;
  readonly tagged: boolean;
  readonly payload: number;
}

/** A frame whose L4 checksum is the pseudo-header sum (`partial`) or something else. */
function frameOf({ v6, tcp, tagged, payload }: Shape, partial: boolean): Uint8Array {
  const ip = tagged ? 18 : 14;
  const l4 = ip + (v6 ? 40 : 20);
  const length = (tcp ? 20 : 8) + payload;
  const frame = new Uint8Array(l4 + length);
  const view = new DataView(frame.buffer);
  if (tagged) view.setUint32(12, 0x81000005);
  view.setUint16(ip - 2, v6 ? 0x86dd : 0x0800);
  frame[ip] = v6 ? 0x60 : 0x45;
  frame[ip + (v6 ? 6 : 9)] = tcp ? 6 : 17;
  view.setUint16(ip + (v6 ? 4 : 2), v6 ? length : length + 20);
  for (let i = ip + (v6 ? 8 : 12); i < l4; i++) frame[i] = i * 7;
  if (tcp) frame[l4 + 12] = 0x50;
  let sum = (tcp ? 6 : 17) + length;
  for (let i = ip + (v6 ? 8 : 12); i < l4; i += 2) sum += view.getUint16(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(l4 + (tcp ? 16 : 6), partial ? sum : sum ^ 0x1234);
  return frame;
}

const header = (
  frame: Uint8Array,
  gso: number,
): { flags: number; type: number; words: number[] } => {
  const out = new Uint8Array(VNET_BYTES + 3).fill(0xee);
  writeVnetHeader(frame, gso, out, 1);
  assert.deepEqual([out[0], out[VNET_BYTES + 1]], [0xee, 0xee]);
  const view = new DataView(out.buffer);
  return {
    flags: out[1]!,
    type: out[2]!,
    words: [3, 5, 7, 9].map((at) => view.getUint16(at, true)),
  };
};

test('partial checksums, whole ones and super-packets of each protocol', () => {
  for (const v6 of [false, true])
    for (const tcp of [false, true])
      for (const tagged of [false, true]) {
        const shape = { v6, tcp, tagged, payload: 100 };
        const l4 = (tagged ? 18 : 14) + (v6 ? 40 : 20);
        const at = tcp ? 16 : 6;
        const none = { flags: 0, type: 0, words: [0, 0, 0, 0] };
        assert.deepEqual(header(frameOf(shape, false), 0), none);
        assert.deepEqual(header(frameOf(shape, true), 0), {
          flags: 1,
          type: 0,
          words: [0, 0, l4, at],
        });
        const type = tcp ? (v6 ? 4 : 1) : 5;
        const head = l4 + (tcp ? 20 : 8);
        assert.deepEqual(header(frameOf(shape, true), 50), {
          flags: 1,
          type,
          words: [head, 50, l4, at],
        });
      }
});

test('a congestion-window-reduced super-packet says so', () => {
  const frame = frameOf({ v6: false, tcp: true, tagged: false, payload: 9 }, true);
  frame[34 + 13] = 0x80;
  assert.equal(header(frame, 5).type, 0x81);
});

test('junk never throws and never writes outside', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 14, maxLength: 120 }),
      fc.constantFrom(0x0800, 0x86dd),
      (frame, type) => {
        new DataView(frame.buffer, frame.byteOffset).setUint16(12, type);
        header(frame, 0);
        header(frame, 1000);
      },
    ),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 3000 },
  );
});
