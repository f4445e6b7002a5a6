/**
 * What ping and traceroute print, and what it means: texts as iputils 20221126 and traceroute 2.1
 * print them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeFrame } from '#net/frame.ts';
import { parseFrameText } from '#net/text.ts';
import { errorWord, readPing, readTraceroute, type PingOutcome } from './outcomes.ts';

const OWN = new Set(['10.0.1.2', 'fd00:1::2']);
const error = (from: string, what: string): PingOutcome => ({ kind: 'error', from, what });

const pings: readonly (readonly [string, PingOutcome])[] = [
  ['64 bytes from 10.0.2.2: icmp_seq=1 ttl=63 time=0.1 ms', { kind: 'reply' }],
  ['65008 bytes from fd00:2::2: icmp_seq=1 ttl=63 time=0.1 ms', { kind: 'reply' }],
  ['1 packets transmitted, 0 received, 100% packet loss, time 0ms', { kind: 'silence' }],
  ['ping: connect: Network is unreachable', { kind: 'silence' }],
  ['From 10.0.1.2 icmp_seq=1 Destination Host Unreachable', { kind: 'silence' }],
  ['From fd00:1::2 icmp_seq=1 Destination unreachable: Address unreachable', { kind: 'silence' }],
  ['From 10.0.1.1 icmp_seq=1 Destination Net Unreachable', error('10.0.1.1', 'net-unreachable')],
  [
    'From fd00:1::1 icmp_seq=1 Destination unreachable: No route',
    error('fd00:1::1', 'net-unreachable'),
  ],
  ['From 10.0.1.1 icmp_seq=1 Destination Host Unreachable', error('10.0.1.1', 'host-unreachable')],
  ['From 10.0.1.1 icmp_seq=1 Packet filtered', error('10.0.1.1', 'admin-prohibited')],
  [
    'From fd00:1::1 icmp_seq=1 Destination unreachable: Administratively prohibited',
    error('fd00:1::1', 'admin-prohibited'),
  ],
  ['From 10.0.1.1 icmp_seq=1 Time to live exceeded', error('10.0.1.1', 'ttl-exceeded')],
  ['From fd00:1::1 icmp_seq=1 Time exceeded: Hop limit', error('fd00:1::1', 'ttl-exceeded')],
  [
    'From 10.0.1.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)',
    error('10.0.1.1', 'frag-needed mtu 1400'),
  ],
  [
    'From fd00:1::1 icmp_seq=1 Packet too big: mtu=1400',
    error('fd00:1::1', 'frag-needed mtu 1400'),
  ],
  ['ping: local error: message too long, mtu=1500', { kind: 'too-long', mtu: 1500 }],
  ['ping: local error: message too long, mtu: 1400', { kind: 'too-long', mtu: 1400 }],
];
for (const [line, outcome] of pings)
  test(`ping: ${line}`, () => {
    const output = `PING 10.0.2.2 (10.0.2.2) 56(84) bytes of data.\n${line}\n\n--- 10.0.2.2 ping statistics ---\n`;
    assert.deepEqual(readPing(output, OWN), outcome);
  });

test('traceroute: hops, silence, an error, the target', () => {
  const head = 'traceroute to 10.0.2.2 (10.0.2.2), 8 hops max, 60 byte packets\n';
  const read = (lines: string): string[] => readTraceroute(head + lines, OWN);
  assert.deepEqual(read(' 1  10.0.1.1  0.046 ms\n 2  *\n 3  10.0.2.2  0.016 ms\n'), [
    '10.0.1.1',
    '*',
    '10.0.2.2',
  ]);
  assert.deepEqual(read(' 1  10.0.1.1  3069.247 ms !H\n'), ['10.0.1.1 host-unreachable']);
  assert.deepEqual(read(' 1  fd00:1::1  0.028 ms !X\n'), ['fd00:1::1 admin-prohibited']);
  assert.deepEqual(read(' 1  10.0.1.2  3058.778 ms !H\n'), ['*'], 'its own opinion');
  assert.deepEqual(read(' 1  10.0.1.1  0.1 ms\n 2  *\n 3  *\n 4  *\n'), ['10.0.1.1', '*', '*']);
});

const words: readonly (readonly [string, string | undefined])[] = [
  ['icmp 10.0.1.1 > 10.0.1.2 net-unreachable', 'net-unreachable'],
  ['icmp 10.0.1.1 > 10.0.1.2 frag-needed mtu 1400', 'frag-needed mtu 1400'],
  ['icmp 10.0.1.1 > 10.0.1.2 reply id 1 seq 1', undefined],
  ['icmp6 fd00::1 > fd00::2 no-route', 'net-unreachable'],
  ['icmp6 fd00::1 > fd00::2 address-unreachable', 'host-unreachable'],
  ['icmp6 fd00::1 > fd00::2 too-big mtu 70000', 'frag-needed mtu 70000'],
  ['icmp6 fd00::1 > fd00::2 hop-limit-exceeded', 'ttl-exceeded'],
  ['udp 10.0.1.1:1 > 10.0.1.2:2', undefined],
];
for (const [text, word] of words)
  test(`the word of ${text}`, () => {
    const frame = parseFrameText(`02:00:00:00:00:01 > 02:00:00:00:00:02 ${text}`);
    assert.ok(frame instanceof Uint8Array);
    const decoded = decodeFrame(frame);
    assert.ok(decoded);
    assert.equal(errorWord(decoded), word);
  });
