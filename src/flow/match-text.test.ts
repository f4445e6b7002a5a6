/** Matches as text: in the words of frames, and of nothing that is not matched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFrameText } from '#net/text.ts';
import { FIELDS, type Field, fieldSet } from '#virtual/match.ts';
import { packets } from '#virtual/packet.arbitrary.ts';
import { KEY_SIZE } from './layout.ts';
import { EXACT, maskKey } from './mask.ts';
import { matchText } from './match-text.ts';
import { parseKey } from './parse.ts';

const MACS = '02:00:00:00:00:01 > 02:00:00:00:00:02';
function keyOf(text: string): Uint8Array {
  const frame = parseFrameText(`${MACS} ${text}`);
  assert.ok(frame instanceof Uint8Array, JSON.stringify(frame));
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(parseKey(frame, key));
  return key;
}
const IP: readonly Field[] = ['ethType', 'ipSrc', 'ipDst'];
const L4: readonly Field[] = [...IP, 'ipProto', 'tpSrc', 'tpDst'];

for (const [packet, fields, text] of [
  ['tcp 10.0.0.5:3333 > 10.0.1.7:80', L4, 'tcp 10.0.0.5:3333 > 10.0.1.7:80'],
  ['tcp 10.0.0.5:3333 > 10.0.1.7:80', ['ethType', 'ipDst'], 'ip * > 10.0.1.7'],
  ['tcp 10.0.0.5:3333 > 10.0.1.7:80', ['ethType', 'ipProto', 'tpDst'], 'tcp * > *:80'],
  ['tcp 10.0.0.5:3333 > 10.0.1.7:80', ['ethSrc'], '02:00:00:00:00:01 > *'],
  ['tcp 10.0.0.5:3333 > 10.0.1.7:80', ['ethSrc', 'ethDst', 'vlan'], MACS],
  ['vlan 5 udp 10.0.0.5:1 > 10.0.1.7:2', ['vlan', 'ethType'], 'vlan 5 ip'],
  ['udp [fd00::1]:1 > [fd00::2]:2', L4, 'udp [fd00::1]:1 > [fd00::2]:2'],
  ['udp [fd00::1]:1 > [fd00::2]:2', ['ethType', 'ipTtl'], 'ip6 ttl 64'],
  ['icmp 10.0.0.5 > 10.0.1.7 echo id 7', L4, 'icmp 10.0.0.5 > 10.0.1.7 echo id 7'],
  ['icmp6 fd00::1 > fd00::2 reply id 7', L4, 'icmp6 fd00::1 > fd00::2 reply id 7'],
  ['icmp 10.0.0.5 > 10.0.1.7 type 13 code 0', L4, 'icmp 10.0.0.5 > 10.0.1.7 type 13 code 0'],
  ['arp who-has 10.0.0.2 tell 10.0.0.1', [...IP, 'ipProto'], 'arp who-has 10.0.0.2 tell 10.0.0.1'],
  ['arp who-has 10.0.0.2 tell 10.0.0.1', ['ethType'], 'arp'],
  ['ip 10.0.0.5 > 10.0.1.7 proto 47', [...IP, 'ipProto'], 'ip 10.0.0.5 > 10.0.1.7 proto 47'],
  ['type 0x88cc', ['ethType'], 'type 0x88cc'],
  ['type 0x88cc', ['vlan'], 'any'],
] as const)
  test(`${packet} by ${fields.join(', ')}: ${text}`, () =>
    assert.equal(matchText(keyOf(packet), fieldSet(fields)), text));

test('nothing is told of what is not matched', () => {
  fc.assert(
    fc.property(packets, fc.subarray([...FIELDS]), ({ bytes }, some) => {
      const key = new Uint8Array(KEY_SIZE);
      if (!parseKey(bytes, key)) return;
      // The type says what an address is.
      const fields = fieldSet(some.length === 0 ? [] : ['ethType', ...some]);
      const masked = new Uint8Array(KEY_SIZE);
      maskKey(key, fields, masked);
      assert.equal(matchText(masked, fields), matchText(key, fields));
    }),
    { seed: Number(process.env['SEED'] ?? 1) },
  );
});

test('a frame that the grammar has no more to say of is told as it is typed', () => {
  const line = 'udp 10.0.0.5:1 > 10.0.1.7:2';
  assert.equal(matchText(keyOf(line), EXACT), `${MACS} ${line} ttl 64 tos 0`);
});
