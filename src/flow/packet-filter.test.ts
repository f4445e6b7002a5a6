/** A filter's bytes agree with exactly the packets that its words say, by walking the frame. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePacketFilter } from '#net/packet-filter.ts';
import { parseFrameText } from '#net/text.ts';
import { KEY_SIZE } from './layout.ts';
import { matchesOf } from './packet-filter.ts';
import { parseKey } from './parse.ts';

const MACS = '02:00:00:00:00:01 > 02:00:00:00:00:02';
function fits(text: string, frame: string): boolean {
  const filter = parsePacketFilter(text);
  assert.ok(!('error' in filter), text);
  const bytes = parseFrameText(`${MACS} ${frame}`);
  assert.ok(bytes instanceof Uint8Array, frame);
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(parseKey(bytes, key));
  return matchesOf(filter).some(({ key: want, mask }) =>
    key.every((byte, i) => (byte & mask[i]!) === want[i]),
  );
}

test('frames that a filter is about, and frames that it is not', () => {
  const tcp = 'tcp 10.0.0.5:3333 > 10.0.1.7:80';
  const answer = 'tcp 10.0.1.7:80 > 10.0.0.5:3333';
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['', tcp, true],
    ['', 'arp who-has 10.0.0.1 tell 10.0.0.2', true],
    ['tcp', tcp, true],
    ['udp', tcp, false],
    ['tcp 10.0.0.5 > 10.0.1.7:80', tcp, true],
    ['tcp 10.0.0.5 > 10.0.1.7:80', answer, false],
    ['tcp 10.0.0.5 <> 10.0.1.7:80', answer, true],
    ['tcp 10.0.0.5 <> 10.0.1.7:81', answer, false],
    ['tcp 10.0.0.0/24 > *', tcp, true],
    ['tcp 10.0.0.0/30 > *', tcp, false],
    ['tcp 10.0.0.4/31 > *:80', tcp, true],
    ['ip6', tcp, false],
    ['0.0.0.0/0 > *', tcp, true],
    ['0.0.0.0/0 > *', 'tcp [fd00::1]:1 > [fd00::2]:2', false],
    ['fd00::/16 > *', 'tcp [fd00::1]:1 > [fd00::2]:2', true],
    ['tcp [fd00::1]:1 > [fd00::2]:2', 'tcp [fd00::1]:1 > [fd00::2]:2', true],
    ['tcp [fd00::1]:1 > [fd00::3]:2', 'tcp [fd00::1]:1 > [fd00::2]:2', false],
    ['fd00::1 > *', tcp, false],
    ['arp 10.0.0.2 > 10.0.0.1', 'arp who-has 10.0.0.1 tell 10.0.0.2', true],
    ['icmp 10.0.0.1 <> 10.0.0.2', 'icmp 10.0.0.2 > 10.0.0.1 reply', true],
  ];
  for (const [filter, frame, expected] of cases)
    assert.equal(fits(filter, frame), expected, `${filter} | ${frame}`);
});
