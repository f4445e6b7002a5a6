/** A frame is found again behind bridges and routers, and no other frame is taken for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fragments } from '#net/fragment.ts';
import { parseFrameText } from '#net/text.ts';
import { answersTo, follow } from './follow.ts';

const A = '02:00:00:00:00:01';
const B = '02:00:00:00:00:02';
function frame(text: string): Uint8Array {
  const bytes = parseFrameText(text);
  if (!(bytes instanceof Uint8Array)) throw new Error(bytes.error);
  return bytes;
}
const UDP = 'udp 10.0.1.2:1000 > 10.0.2.2:2000';

test('other MACs, tag and TTL: the same', () => {
  const isSent = follow(frame(`${A} > ${B} ${UDP}`));
  assert.ok(isSent(frame(`${B} > ${A} ${UDP} ttl 62`)));
  assert.ok(isSent(frame(`${A} > ${B} vlan 7 ${UDP}`)));
});

test('other ports, addresses or protocol: another one', () => {
  const isSent = follow(frame(`${A} > ${B} ${UDP}`));
  assert.ok(!isSent(frame(`${A} > ${B} udp 10.0.1.2:1000 > 10.0.2.2:2001`)));
  assert.ok(!isSent(frame(`${A} > ${B} udp 10.0.1.3:1000 > 10.0.2.2:2000`)));
  assert.ok(!isSent(frame(`${A} > ${B} tcp 10.0.1.2:1000 > 10.0.2.2:2000`)));
  assert.ok(!isSent(frame(`${A} > ${B} icmp 10.0.2.2 > 10.0.1.2 port-unreachable`)));
});

test('translated on the way: known by what it carries', () => {
  const isSent = follow(frame(`${A} > ${B} ${UDP} data 0102030405060708`));
  assert.ok(isSent(frame(`${B} > ${A} udp 192.0.2.1:4000 > 10.0.2.2:2000 data 0102030405060708`)));
  assert.ok(!isSent(frame(`${B} > ${A} udp 192.0.2.1:4000 > 10.0.2.2:2000 data 0102030405060709`)));
  assert.ok(!isSent(frame(`${B} > ${A} tcp 192.0.2.1:4000 > 10.0.2.2:2000 data 0102030405060708`)));
});

test('an error that is translated: known by the packet that it quotes', () => {
  const quoted = (source: string, next: number): string =>
    `60000000 0008 ${next}40 ${source.repeat(16)} ${'bb'.repeat(16)}`.replaceAll(' ', '');
  const error = (to: string, data: string): Uint8Array =>
    frame(`${A} > ${B} icmp6 fd00::1 > ${to} too-big mtu 1300 data ${data}`);
  const isSent = follow(error('fd00::2', quoted('aa', 11)));
  assert.ok(isSent(error('fd00::3', quoted('cc', 11))));
  assert.ok(!isSent(error('fd00::3', quoted('cc', 58))));
});

test('every part of it, when it was cut', () => {
  const whole = frame(`${A} > ${B} ${UDP} length 3000`);
  const parts = fragments(whole, 1400) ?? [];
  assert.equal(parts.length, 3);
  assert.ok(parts.every(follow(whole)));
});

test('an echo reply is not the request', () => {
  const isSent = follow(frame(`${A} > ${B} icmp 10.0.1.2 > 10.0.2.2 echo id 7 seq 1`));
  assert.ok(isSent(frame(`${B} > ${A} icmp 10.0.1.2 > 10.0.2.2 echo id 7 seq 1 ttl 63`)));
  assert.ok(!isSent(frame(`${B} > ${A} icmp 10.0.1.2 > 10.0.2.2 echo id 7 seq 2`)));
  assert.ok(!isSent(frame(`${B} > ${A} icmp 10.0.2.2 > 10.0.1.2 reply id 7 seq 1`)));
});

test('what is no IP stays as it is, but for its tag', () => {
  const isSent = follow(frame(`${A} > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.2 tell 10.0.0.1`));
  assert.ok(isSent(frame(`${A} > ff:ff:ff:ff:ff:ff vlan 5 arp who-has 10.0.0.2 tell 10.0.0.1`)));
  assert.ok(!isSent(frame(`${B} > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.2 tell 10.0.0.1`)));
});

test('an answer comes from whom was asked, to where it was asked from', () => {
  const isAnswer = answersTo(frame(`${A} > ${B} tcp 10.0.1.2:1000 > 10.0.2.2:80`));
  assert.ok(isAnswer(frame(`${B} > ${A} tcp 10.0.2.2:80 > 10.0.1.2:1000 ack rst`)));
  assert.ok(!isAnswer(frame(`${B} > ${A} tcp 10.0.2.3:80 > 10.0.1.2:1000 ack rst`)));
  assert.ok(!isAnswer(frame(`${B} > ${A} udp 10.0.2.2:80 > 10.0.1.2:1000`)));
  assert.ok(!isAnswer(frame(`${A} > ${B} tcp 10.0.1.2:1000 > 10.0.2.2:80`)));
  assert.ok(!isAnswer(frame(`${B} > ${A} icmp 10.0.2.2 > 10.0.1.2 port-unreachable`)));
});
