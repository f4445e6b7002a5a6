/** The bytes that two languages share, pinned: a difference here is a new LAYOUT_VERSION. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { DROP_CODES_MAX, DROPS } from '#virtual/drop.ts';
import { describeLayout } from './description.ts';
import { FIELDS, fieldSet } from '#virtual/match.ts';
import { ENTRY_MASKS_MAX, MASKS_MAX, OUTPUTS_PER_FLOW_MAX } from './flow.ts';
import { headerText } from './layout-header.ts';
import * as layout from './layout.ts';
import { EXACT, fieldsOfMask, maskBytes, matchedFields } from './mask.ts';

test('the key has 72 bytes and its fields are where the program expects them', () => {
  assert.equal(layout.LAYOUT_VERSION, 8);
  assert.equal(layout.KEY_SIZE, 72);
  assert.deepEqual(layout.KEY, {
    in_port: 0,
    tun_key: 4,
    tun_src: 8,
    eth_dst: 12,
    eth_src: 18,
    eth_type: 24,
    vlan: 26,
    ip_src: 28,
    ip_dst: 44,
    tp_src: 60,
    tp_dst: 62,
    ip_proto: 64,
    ip_tos: 65,
    ip_ttl: 66,
    ip_frag: 67,
    mask_id: 68,
  });
});

test('every struct fills its alignment of 8, so that C adds no bytes', () => {
  const sizes = [
    [layout.FLOW_KEY, 72],
    [layout.ACTION_STRUCT, 112],
    [layout.FLOW_VALUE, 8],
    [layout.FLOW_STATS, 32],
    [layout.GROUP, 8],
    [layout.MEMBER, 32],
    [layout.KEY_TARGET, 24],
    [layout.PEER, 24],
    [layout.SENDER, 24],
    [layout.UPCALL, 32],
    [layout.ENTRY, 1168],
    [layout.CONFIG, 232],
    [layout.SIGHT, 336],
    [layout.SIGHTING, 64],
  ] as const;
  for (const [rows, size] of sizes) {
    const real = layout.sizeOf(rows);
    assert.equal(real % 8, 0);
    assert.equal(real, size);
    const at = Object.values(layout.offsets(rows));
    assert.deepEqual(
      at,
      at.toSorted((x, y) => x - y),
      'in order',
    );
  }
});

test('programs of two versions pass frames on to each other by one mark', () => {
  assert.equal(layout.MARK_SENT, 0x4d4e5458);
});

test('a misaligned field is refused', () => {
  const rows = [
    { name: 'a', type: 'u8' },
    { name: 'b', type: 'u32' },
  ] as const;
  assert.throws(() => layout.offsets(rows), /b is not aligned/);
});

test('the header names every field, constant and size', () => {
  const text = headerText();
  for (const name of Object.keys(layout.KEY)) assert.match(text, new RegExp(`\\b${name}\\b`));
  assert.match(text, /#define LAYOUT_VERSION 8u\n/);
  assert.match(text, /#define ACTION_STALE 1u\n/);
  assert.match(text, /_Static_assert\(sizeof\(struct flow_key\) == 72/);
  assert.match(text, /struct flow_key \{\n\t__u32 in_port;\n\t__u32 tun_key;/);
});

test('limits that two tables state are equal', () => {
  assert.equal(layout.LIMITS.MASKS_MAX, MASKS_MAX);
  assert.equal(layout.LIMITS.ENTRY_MASKS_MAX, ENTRY_MASKS_MAX);
  assert.equal(layout.HASH_SECRET_WORDS, layout.KEY_SIZE / 8 + 1);
  assert.equal(layout.LIMITS.GROUP_MEMBERS_MAX, OUTPUTS_PER_FLOW_MAX);
  assert.equal(layout.LIMITS.DROP_CODES_MAX, DROP_CODES_MAX);
  for (const { code } of Object.values(DROPS)) assert.ok(code > 0 && code < DROP_CODES_MAX);
});

test('each byte of the key belongs to the entry, to one field, or to mask_id', () => {
  const owners = new Array<number>(layout.KEY_SIZE).fill(0);
  maskBytes(0).forEach((byte, at) => (owners[at]! += byte === 0xff ? 1 : 0));
  for (const field of FIELDS) {
    const mask = maskBytes(fieldSet([field]));
    const type = field === 'ipSrc' || field === 'ipDst';
    mask.forEach((byte, at) => {
      if (at < 12 || (type && at >= 24 && at < 26)) return;
      owners[at]! += byte === 0xff ? 1 : 0;
    });
  }
  assert.deepEqual(owners, [...new Array<number>(68).fill(1), 0, 0, 0, 0]);
});

test('masks: fields come back, and addresses bring their type', () => {
  for (let fields = 0; fields <= EXACT; fields++)
    assert.equal(fieldsOfMask(maskBytes(fields)), matchedFields(fields));
  assert.equal(matchedFields(fieldSet(['ipDst'])), fieldSet(['ipDst', 'ethType']));
  assert.throws(() => maskBytes(EXACT + 1), /not a set of fields/);
});

/** What pinned maps say of themselves, of the version and what it stands for. */
const DESCRIBED = {
  version: 8,
  sha256: '0fd461f23ce949fa6ff29597dea7fc90427a41870bd1c56b2d5d9fbf7adb8df9',
};
test('what pinned maps are described by is another only with another version', () => {
  const sha256 = createHash('sha256')
    .update(JSON.stringify(describeLayout({})))
    .digest('hex');
  assert.deepEqual({ version: layout.LAYOUT_VERSION, sha256 }, DESCRIBED);
});
