/** Blocks of a capture file, walked as a reader walks them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pcapngFrame, pcapngHeader } from './pcapng.ts';

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

/** Types and bodies; throws where a length is not what it should be. */
function blocks(bytes: Uint8Array): { type: number; body: DataView }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: { type: number; body: DataView }[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = view.getUint32(at + 4, true);
    assert.equal(size % 4, 0);
    assert.equal(view.getUint32(at + size - 4, true), size, 'the length stands at both ends');
    const body = new DataView(bytes.buffer, bytes.byteOffset + at + 8, size - 12);
    found.push({ type: view.getUint32(at, true), body });
    at += size;
  }
  return found;
}

test('a file is a section, an interface and frames with comments', () => {
  const frame = Uint8Array.from({ length: 17 }, (_, i) => i);
  const comment = 'in, flow h1:3.1 → tunnel to h2';
  const file = Buffer.concat([
    pcapngHeader({ application: text('mn 1'), name: text('vm1'), snapLength: 1600 }),
    pcapngFrame({
      atMs: 1_700_000_000_123.456,
      frame,
      originalLength: 90,
      comment: text(comment),
      direction: 'out',
    }),
  ]);
  const [section, link, packet, ...rest] = blocks(file);
  assert.equal(rest.length, 0);
  assert.equal(section?.type, 0x0a0d0d0a);
  assert.equal(section?.body.getUint32(0, true), 0x1a2b3c4d);
  assert.deepEqual([section?.body.getUint16(4, true), section?.body.getUint16(6, true)], [1, 0]);
  assert.equal(link?.type, 1);
  assert.deepEqual([link?.body.getUint16(0, true), link?.body.getUint32(4, true)], [1, 1600]);
  assert.ok(packet?.type === 6);
  const { body } = packet;
  const us = body.getUint32(4, true) * 2 ** 32 + body.getUint32(8, true);
  assert.equal(us, 1_700_000_000_123_456);
  assert.deepEqual([body.getUint32(12, true), body.getUint32(16, true)], [17, 90]);
  const bytes = new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  assert.deepEqual([...bytes.subarray(20, 37)], [...frame]);
  assert.equal(body.getUint16(40, true), 1, 'a comment');
  const length = body.getUint16(42, true);
  assert.equal(new TextDecoder().decode(bytes.subarray(44, 44 + length)), comment);
  const flags = 44 + Math.ceil(length / 4) * 4;
  assert.deepEqual([body.getUint16(flags, true), body.getUint32(flags + 4, true)], [2, 2]);
});
