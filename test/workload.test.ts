/**
 * The world's workloads among themselves, on a wire and with a router of three lines between them:
 * what they are relied on for elsewhere.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeFrame } from '#net/frame.ts';
import { errorAbout, type ErrorCause } from '#net/icmp-error.ts';
import { parseIp, type Ip } from '#net/ip.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import { parseFrameText } from '#net/text.ts';
import { Workload, type WorkloadOptions } from './workload.ts';

const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
const mac = (n: number): Mac => parseMac(`02:00:00:00:00:0${n}`) ?? assert.fail();

type Place = Pick<WorkloadOptions, 'addresses' | 'via'>;
/** Workloads on one wire; frames are carried until none is left. */
function wire(places: readonly Place[]): { all: Workload[]; carry(): void; sent: Uint8Array[] } {
  const queue: { from: number; frame: Uint8Array }[] = [];
  const sent: Uint8Array[] = [];
  const all = places.map((place, n) => {
    const send = (frame: Uint8Array): void => {
      queue.push({ from: n, frame: Uint8Array.from(frame) });
    };
    return new Workload({ name: `w${n}`, mac: mac(n + 1), ...place, send });
  });
  const carry = (): void => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      sent.push(next.frame);
      for (const [n, each] of all.entries()) if (n !== next.from) each.receive(next.frame);
    }
  };
  return { all, carry, sent };
}
const PAIR: readonly Place[] = [
  { addresses: ['10.0.0.1/24', 'fd00::1/64'], via: ['10.0.0.254', 'fd00::254'] },
  { addresses: ['10.0.0.2/24', 'fd00::2/64'] },
];
function pair() {
  const { all, carry, sent } = wire(PAIR);
  const [a, b] = all;
  assert.ok(a && b);
  return { a, b, carry, sent };
}

for (const [family, to] of [
  [4, ip('10.0.0.2')],
  [6, ip('fd00::2')],
] as const) {
  test(`IPv${family}: resolves, is answered, cuts and puts together`, () => {
    const { a, carry, sent } = pair();
    a.ping(to, { id: 1 });
    carry();
    assert.deepEqual(a.outcome(1), { kind: 'reply' });
    const frames = sent.length;
    a.ping(to, { id: 2, size: 60_000 });
    carry();
    assert.deepEqual(a.outcome(2), { kind: 'reply' });
    assert.ok(sent.length - frames > 80, 'in parts, there and back');
    assert.ok(sent.every((frame) => frame.length <= 1514));
  });

  test(`IPv${family}: what must not be cut is not sent`, () => {
    const { a, carry } = pair();
    a.ping(to, { id: 1, size: 1600, df: true });
    carry();
    assert.deepEqual(a.outcome(1), { kind: 'too-long', mtu: 1500 });
  });

  test(`IPv${family}: an address moves by announcement`, () => {
    const { b, carry } = pair();
    const own = family === 4 ? ip('10.0.0.1') : ip('fd00::1');
    b.resolve(own);
    carry();
    assert.equal(b.neighbour(own), mac(1));
    const told = parseFrameText(
      family === 4
        ? '02:00:00:00:00:07 > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.1 tell 10.0.0.1'
        : '02:00:00:00:00:07 > 33:33:00:00:00:01 na fd00::1 is-at 02:00:00:00:00:07 to ff02::1',
    );
    assert.ok(told instanceof Uint8Array);
    b.receive(told);
    assert.equal(b.neighbour(own), mac(7));
    const stranger = family === 4 ? ip('10.0.0.9') : ip('fd00::9');
    assert.equal(b.neighbour(stranger), undefined);
  });
}

test('what is not near goes to the gateway, and waits for its MAC', () => {
  const { a, carry, sent } = pair();
  a.ping(ip('192.0.2.1'), { id: 1 });
  carry();
  assert.equal(sent.length, 1, 'only the question');
  const answer = parseFrameText(
    '02:00:00:00:00:09 > 02:00:00:00:00:01 arp reply 10.0.0.254 is-at 02:00:00:00:00:09 to 10.0.0.1',
  );
  assert.ok(answer instanceof Uint8Array);
  a.receive(answer);
  carry();
  const echo = decodeFrame(sent[1] ?? new Uint8Array());
  assert.equal(echo?.ethernet.dst, mac(9));
  assert.equal(echo?.network?.kind === 'ipv4' && echo.network.dst, ip('192.0.2.1'));
});

test('without a gateway nothing is sent', () => {
  const { b, carry, sent } = pair();
  b.ping(ip('192.0.2.1'), { id: 1 });
  carry();
  assert.equal(sent.length, 0);
  assert.equal(b.outcome(1), undefined);
});

/** The router's word about the last frame sent. */
function refused(a: Workload, frame: Uint8Array, cause: ErrorCause, from: string): void {
  const macs = { src: mac(9), dst: mac(1) };
  const error = errorAbout(frame, { cause, from: ip(from), ...macs });
  assert.ok(error);
  a.receive(error);
}

for (const [far, from] of [
  ['192.0.2.1', '10.0.0.254'],
  ['2001:db8::1', 'fd00::254'],
] as const)
  test(`errors about ${far} are remembered, and a path's MTU is kept to`, () => {
    const { a, carry, sent } = pair();
    const ask = (id: number, size?: number, df = false): Uint8Array => {
      a.ping(ip(far), { id, size, df });
      carry();
      return sent.at(-1) ?? assert.fail();
    };
    ask(1);
    const known = parseFrameText(
      far.includes(':')
        ? '02:00:00:00:00:09 > 02:00:00:00:00:01 na fd00::254 is-at 02:00:00:00:00:09 to fd00::1 router'
        : '02:00:00:00:00:09 > 02:00:00:00:00:01 arp reply 10.0.0.254 is-at 02:00:00:00:00:09 to 10.0.0.1',
    );
    assert.ok(known instanceof Uint8Array);
    a.receive(known);
    refused(a, ask(2), 'net-unreachable', from);
    assert.deepEqual(a.outcome(2), { kind: 'error', from, what: 'net-unreachable' });
    refused(a, ask(3, 1400, true), { tooBig: 1400 }, from);
    assert.deepEqual(a.outcome(3), { kind: 'error', from, what: 'frag-needed mtu 1400' });
    ask(4, 1400, true);
    assert.deepEqual(a.outcome(4), { kind: 'too-long', mtu: 1400 });
    const part = decodeFrame(ask(5, 1400));
    assert.ok(part && part.network && part.network.kind !== 'arp');
    const fragmentary =
      part.network.kind === 'ipv4' ? part.network.fragmentOffset : part.network.fragment?.offset;
    assert.ok((fragmentary ?? 0) > 0, 'the sender cuts it now');
  });

test('UDP to it is refused, and what is broken is not answered', () => {
  const { a, carry, sent } = pair();
  a.resolve(ip('10.0.0.2'));
  carry();
  const udp = parseFrameText('02:00:00:00:00:02 > 02:00:00:00:00:01 udp 10.0.0.2:1 > 10.0.0.1:2');
  assert.ok(udp instanceof Uint8Array);
  const before = sent.length;
  a.receive(udp);
  carry();
  const refusal = decodeFrame(sent[before] ?? new Uint8Array());
  assert.ok(refusal?.transport?.kind === 'icmp');
  assert.deepEqual([refusal.transport.type, refusal.transport.code], [3, 3]);
  const echo = parseFrameText(
    '02:00:00:00:00:02 > 02:00:00:00:00:01 icmp 10.0.0.2 > 10.0.0.1 echo id 1 seq 1 data 01',
  );
  assert.ok(echo instanceof Uint8Array);
  const count = sent.length;
  a.receive(echo.with(-1, 0x02));
  carry();
  assert.equal(sent.length, count);
});

test('announce: everybody who knows the address hears of it', () => {
  const { a, b, carry } = pair();
  for (const own of [ip('10.0.0.1'), ip('fd00::1')]) {
    b.resolve(own);
    carry();
    a.release(own);
    b.announce(own);
    a.resolve(own);
    carry();
    assert.equal(a.neighbour(own), mac(2));
  }
});
