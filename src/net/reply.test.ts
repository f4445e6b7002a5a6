/** Echo replies and resets: what they say, what gets none, and laws over any bytes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesUpTo, damaged, frames, ip4s, ip6s, macs, record } from './arbitraries.test.ts';
import { runs, tcps, u16, u8 } from './arbitraries.test.ts';
import { read16, write16 } from './bytes.ts';
import { fold } from './checksum.ts';
import { frameFault } from './fault.ts';
import { decodeFrame, encodeFrame, transportSum, type Frame } from './frame.ts';
import { namesOneHost } from './ip.ts';
import { isGroup, parseMac, ZERO_MAC } from './mac.ts';
import { readPcap } from './pcap.ts';
import { echoReply, tcpReset } from './reply.ts';
import { describeFrame, parseFrameText } from './text.ts';

const ENDS = '02:00:00:00:00:01 > 02:00:00:00:00:02';
const src = parseMac('02:00:00:00:00:02') ?? ZERO_MAC;
const dst = parseMac('02:00:00:00:00:01') ?? ZERO_MAC;
const BACK = { src, dst };

function frameOf(text: string): Uint8Array {
  const bytes = parseFrameText(text.includes(' > 02:') ? text : `${ENDS} ${text}`);
  assert.ok(bytes instanceof Uint8Array, `${text}: ${JSON.stringify(bytes)}`);
  return bytes;
}
function decoded(bytes: Uint8Array): Frame {
  const frame = decodeFrame(bytes);
  assert.ok(frame !== undefined);
  return frame;
}
/** The answer in text; `undefined` when there is none. It must be a right frame. */
function told(answer: Uint8Array | undefined): string | undefined {
  if (answer === undefined) return undefined;
  assert.equal(frameFault(answer), undefined);
  return describeFrame(answer).replace('02:00:00:00:00:02 > 02:00:00:00:00:01 ', '');
}
const echo = (text: string) => told(echoReply(frameOf(text), BACK));
const reset = (text: string) => told(tcpReset(frameOf(text), BACK));

test('echo replies', () => {
  assert.equal(
    echo('icmp 10.0.0.1 > 10.0.0.2 echo id 7 seq 9 data 010203 ttl 3 tos 184'),
    'icmp 10.0.0.2 > 10.0.0.1 reply id 7 seq 9 tos 184 data 010203',
  );
  assert.equal(
    echo('icmp6 fd00::1 > fd00::2 echo id 7 seq 9 length 1400 ttl 1 tos 184'),
    'icmp6 fd00::2 > fd00::1 reply id 7 seq 9 tos 184 length 1400',
  );
  const tagged = frameOf(`${ENDS} vlan 5 icmp 10.0.0.1 > 10.0.0.2 echo`);
  assert.match(told(echoReply(tagged, BACK)) ?? '', /^vlan 5 icmp .* reply id 0 seq 0$/);
  assert.match(told(echoReply(tagged, { ...BACK, tci: 6 })) ?? '', /^vlan 6 icmp /);
  assert.equal(echoReply(tagged, { ...BACK, tci: 0x10000 }), undefined);
  const padded = Uint8Array.from([...frameOf('icmp 10.0.0.1 > 10.0.0.2 echo'), 0, 0, 0]);
  assert.equal(told(echoReply(padded, BACK)), 'icmp 10.0.0.2 > 10.0.0.1 reply id 0 seq 0');
});

test('to the byte what the Linux kernel replies, but identification, DF and flow label', () => {
  const file = readPcap(readFileSync(new URL('./testdata/kernel.pcap', import.meta.url)));
  assert.ok('records' in file);
  const captured = file.records.map(({ frame }) => new Uint8Array(frame));
  const comparable = (bytes: Uint8Array): string => {
    const copy = bytes.slice();
    const ip = read16(copy, 12) === 0x0800 ? [18, 20, 24] : [16];
    for (const at of ip) write16(copy, at, 0);
    if (ip.length === 1) copy[15] = 0;
    return Buffer.from(copy).toString('hex');
  };
  const known = new Set(captured.map(comparable));
  let replies = 0;
  for (const bytes of captured) {
    const { ethernet } = decoded(bytes);
    const reply = echoReply(bytes, { src: ethernet.dst, dst: ethernet.src });
    if (reply === undefined) continue;
    replies++;
    assert.ok(known.has(comparable(reply)), describeFrame(reply));
  }
  assert.ok(replies >= 2, `${replies} replies`);
});

test('what gets no echo reply', () => {
  for (const text of [
    'icmp 10.0.0.1 > 10.0.0.2 reply',
    'icmp 10.0.0.1 > 10.0.0.2 type 8 code 1',
    'icmp6 fd00::1 > fd00::2 reply',
    'icmp6 fd00::1 > fd00::2 type 8 code 0',
    'icmp 10.0.0.1 > 10.0.0.2 type 128 code 0',
    'icmp6 fd00::1 > fd00::2 type 128 code 1',
    'icmp 10.0.0.1 > 224.0.0.1 echo',
    'icmp 10.0.0.1 > 255.255.255.255 echo',
    'icmp 0.0.0.0 > 10.0.0.2 echo',
    'icmp6 :: > fd00::2 echo',
    'icmp6 fd00::1 > ff02::1 echo',
    '02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff icmp 10.0.0.1 > 10.0.0.2 echo',
    'udp 10.0.0.1:8 > 10.0.0.2:0',
    'arp who-has 10.0.0.2 tell 10.0.0.1',
  ]) {
    const whole = text.includes('ff:ff') ? text : `${ENDS} ${text}`;
    const bytes = parseFrameText(whole);
    assert.ok(bytes instanceof Uint8Array, text);
    assert.equal(echoReply(bytes, BACK), undefined, text);
  }
  for (const text of [
    'icmp 10.0.0.1 > 10.0.0.2 echo length 9',
    'icmp6 fd00::1 > fd00::2 echo length 9',
  ]) {
    const wrong = frameOf(text);
    wrong[wrong.length - 1] = 1;
    assert.equal(echoReply(wrong, BACK), undefined, `${text}, wrong checksum`);
    assert.equal(echoReply(frameOf(text).subarray(0, -1), BACK), undefined, `${text}, cut short`);
  }
  const { ethernet, network, transport } = decoded(frameOf('icmp 10.0.0.1 > 10.0.0.2 echo'));
  assert.ok(network?.kind === 'ipv4');
  const first = { ethernet, network: { ...network, moreFragments: true }, transport };
  assert.equal(echoReply(encodeFrame(first), BACK), undefined, 'a fragment');
});

/** A segment with these numbers. */
function segment(text: string, numbers: { sequence: number; acknowledgement?: number }) {
  const { ethernet, network, transport, payload } = decoded(frameOf(text));
  assert.ok(transport?.kind === 'tcp');
  return encodeFrame({ ethernet, network, payload, transport: { ...transport, ...numbers } });
}

test('resets (RFC 9293 §3.10.7.1)', () => {
  const noAck = 'tcp 10.0.0.2:80 > 10.0.0.1:9 ack rst';
  assert.equal(reset('tcp 10.0.0.1:9 > 10.0.0.2:80 syn'), `${noAck} (ack 1, win 0)`);
  const syn = segment('tcp 10.0.0.1:9 > 10.0.0.2:80 syn fin length 5', { sequence: 2 ** 32 - 3 });
  assert.equal(told(tcpReset(syn, BACK)), `${noAck} (ack 4, win 0)`);
  const none = segment('tcp 10.0.0.1:9 > 10.0.0.2:80 noflags', { sequence: 5 });
  assert.equal(told(tcpReset(none, BACK)), `${noAck} (ack 5, win 0)`);
  const ack = segment('tcp 10.0.0.1:9 > 10.0.0.2:80 ack psh length 5', {
    sequence: 100,
    acknowledgement: 4_000_000_000,
  });
  assert.equal(
    told(tcpReset(ack, BACK)),
    'tcp 10.0.0.2:80 > 10.0.0.1:9 rst (seq 4000000000, win 0)',
  );
  assert.equal(
    reset(`${ENDS} vlan 5 tcp [fd00::1]:9 > [fd00::2]:80 syn tos 187`),
    'vlan 5 tcp [fd00::2]:80 > [fd00::1]:9 ack rst tos 184 (ack 1, win 0)',
  );
});

test('what gets no reset', () => {
  for (const text of [
    'tcp 10.0.0.1:9 > 10.0.0.2:80 rst',
    'tcp 10.0.0.1:9 > 10.0.0.2:80 rst ack',
    'tcp 10.0.0.1:9 > 224.0.0.1:80 syn',
    'tcp 0.0.0.0:9 > 10.0.0.2:80 syn',
    'udp 10.0.0.1:9 > 10.0.0.2:80',
    'ip 10.0.0.1 > 10.0.0.2 proto 6 length 19',
  ])
    assert.equal(reset(`${ENDS} ${text}`), undefined, text);
  const wrong = frameOf('tcp 10.0.0.1:9 > 10.0.0.2:80 syn length 4');
  wrong[wrong.length - 1] = 1;
  assert.equal(tcpReset(wrong, BACK), undefined);
});

test('a checksum left to the interface is no wrong one', () => {
  for (const text of ['10.0.0.1:9 > 10.0.0.2:80', '[fd00::1]:9 > [fd00::2]:80']) {
    const bytes = frameOf(`tcp ${text} syn length 5`);
    const wanted = tcpReset(bytes, BACK);
    const { network } = decoded(bytes);
    assert.ok(network?.kind === 'ipv4' || network?.kind === 'ipv6');
    const at = bytes.length - 25 + 16;
    write16(bytes, at, fold(transportSum(network, 'tcp', 25)));
    assert.ok(wanted !== undefined);
    assert.deepEqual(tcpReset(bytes, BACK), wanted);
    const worn = bytes.slice();
    worn[22] = 9;
    if (network.kind === 'ipv4') assert.equal(tcpReset(worn, BACK), undefined, 'IP checksum');
    assert.equal(tcpReset(bytes.subarray(0, -1), BACK), undefined, 'cut short');
    write16(bytes, at, fold(transportSum(network, 'tcp', 24)));
    assert.equal(tcpReset(bytes, BACK), undefined);
  }
});

const whole = frames.map(encodeFrame);
const networks = fc.oneof(
  record({ kind: fc.constant('ipv4' as const), src: ip4s, dst: ip4s, tos: u8, id: u16 }),
  record({ kind: fc.constant('ipv6' as const), src: ip6s, dst: ip6s, trafficClass: u8 }),
);
const ends = record({ src: macs, dst: macs });
const onlyHosts = (frame: Frame): boolean => {
  const { network: ip, ethernet } = frame;
  assert.ok(ip?.kind === 'ipv4' || ip?.kind === 'ipv6');
  return namesOneHost(ip.src) && namesOneHost(ip.dst) && !isGroup(ethernet.dst);
};

test('every echo between hosts is answered with what it carried, and the answer is not', () => {
  const words = record({ code: fc.constant(0), id: u16, sequence: u16 });
  fc.assert(
    fc.property(ends, networks, words, bytesUpTo(80), (ethernet, network, word, payload) => {
      const transport =
        network.kind === 'ipv4'
          ? { kind: 'icmp' as const, type: 8, ...word }
          : { kind: 'icmp6' as const, type: 128, ...word };
      const request = encodeFrame({ ethernet, network, transport, payload });
      const reply = echoReply(request, BACK);
      if (!onlyHosts(decoded(request))) return assert.equal(reply, undefined);
      assert.ok(reply !== undefined);
      assert.equal(frameFault(reply), undefined);
      const { transport: back, payload: same, network: ip } = decoded(reply);
      assert.ok(back?.kind === transport.kind && (ip?.kind === 'ipv4' || ip?.kind === 'ipv6'));
      assert.deepEqual(
        [back.type, back.id, back.sequence],
        [replyType(back.kind), word.id, word.sequence],
      );
      assert.deepEqual(same, payload);
      assert.deepEqual([ip.src, ip.dst], [network.dst, network.src]);
      if (ip.kind === 'ipv4') assert.ok(network.kind === 'ipv4' && ip.id === network.id);
      assert.equal(echoReply(reply, BACK), undefined);
    }),
    runs(2000),
  );
});
const replyType = (kind: 'icmp' | 'icmp6'): number => (kind === 'icmp' ? 0 : 129);

test('every segment between hosts but a reset is answered in its window, and the answer is not', () => {
  fc.assert(
    fc.property(ends, networks, tcps, bytesUpTo(80), (ethernet, network, transport, payload) => {
      const bytes = encodeFrame({ ethernet, network, transport, payload });
      const answer = tcpReset(bytes, BACK);
      if (!onlyHosts(decoded(bytes)) || (transport.flags & 4) !== 0)
        return assert.equal(answer, undefined);
      assert.ok(answer !== undefined);
      assert.equal(frameFault(answer), undefined);
      const { transport: back } = decoded(answer);
      assert.ok(back?.kind === 'tcp');
      const numbers = (transport.flags & 1) + ((transport.flags >> 1) & 1) + payload.length;
      const acked = (transport.flags & 16) !== 0;
      const expected = acked
        ? [transport.acknowledgement, 0, 4]
        : [0, (transport.sequence + numbers) % 2 ** 32, 20];
      assert.deepEqual([back.sequence, back.acknowledgement, back.flags], expected);
      assert.deepEqual([back.srcPort, back.dstPort], [transport.dstPort, transport.srcPort]);
      assert.equal(tcpReset(answer, BACK), undefined);
    }),
    runs(2000),
  );
});

test('any bytes: nothing, or a right answer', () => {
  fc.assert(
    fc.property(fc.oneof(whole, damaged(whole)), (bytes) => {
      const before = bytes.slice();
      for (const answer of [echoReply(bytes, BACK), tcpReset(bytes, BACK)])
        if (answer !== undefined) assert.equal(frameFault(answer), undefined);
      assert.deepEqual(bytes, before);
    }),
    runs(4000),
  );
});
