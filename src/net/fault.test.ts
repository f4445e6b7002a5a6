/** Every kind of fault is named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frameFault } from './fault.ts';
import { parseFrameText } from './text.ts';

const ENDS = '02:00:00:00:00:01 > 02:00:00:00:00:02 ';

/** The fault of a frame in text after `edits`: offsets and values. */
function fault(
  text: string,
  edits: readonly (readonly [at: number, value: number])[],
  cut?: number,
) {
  const bytes = parseFrameText(ENDS + text);
  assert.ok(bytes instanceof Uint8Array, text);
  for (const [at, value] of edits) bytes[at] = value;
  return frameFault(bytes.subarray(0, cut));
}

test('named faults', () => {
  const udp = 'udp 10.0.0.1:1 > 10.0.0.2:2 length 4';
  const udp6 = 'udp [fd00::1]:1 > [fd00::2]:2 length 4';
  const tcp = 'tcp 10.0.0.1:1 > 10.0.0.2:2 syn';
  assert.equal(fault(udp, []), undefined);
  assert.equal(fault(udp6, []), undefined);
  assert.match(fault(udp, [[22, 63]]) ?? '', /^ip checksum 0x/);
  assert.match(fault(udp, [], 45) ?? '', /^cut short at 31 of 32 bytes$/);
  assert.match(fault(udp6, [], 60) ?? '', /^cut short at 46 of 52 bytes$/);
  assert.match(fault(udp, [[39, 13]]) ?? '', /^udp length 13$/);
  assert.match(fault(udp, [[39, 11]]) ?? '', /^udp length 11$/);
  assert.match(fault(udp, [[45, 1]]) ?? '', /^udp checksum 0x/);
  assert.equal(
    fault(udp, [
      [40, 0],
      [41, 0],
    ]),
    undefined,
  );
  assert.equal(
    fault(udp6, [
      [60, 0],
      [61, 0],
    ]),
    'udp checksum missing',
  );
  assert.match(fault(tcp, [[53, 1]]) ?? '', /^tcp checksum 0x/);
  assert.equal(fault(tcp, [[46, 0x40]]), 'protocol 6 does not decode');
  assert.match(fault('icmp 10.0.0.1 > 10.0.0.2', [[38, 1]]) ?? '', /^icmp checksum 0x/);
  assert.match(fault('ns fd00::1 for fd00::2', [[85, 9]]) ?? '', /^icmp6 checksum 0x/);
  assert.equal(fault('type 0x0800 length 20', []), 'type 0x0800 does not decode');
  assert.equal(fault('type 0x88cc length 20', []), undefined);
  assert.equal(frameFault(new Uint8Array(13)), '13 bytes are no Ethernet frame');
});

test('0 and 0xffff are not taken for each other', () => {
  const zero = fault('icmp 10.0.0.1 > 10.0.0.2 type 255 code 255', []);
  assert.equal(zero, undefined);
  const ones = fault('icmp 10.0.0.1 > 10.0.0.2 type 255 code 255', [
    [36, 0xff],
    [37, 0xff],
  ]);
  assert.equal(ones, 'icmp checksum 0xffff');
});
