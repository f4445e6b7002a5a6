/** Prefixes against bits written out as text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ip4s, ip6s, ips, runs } from './arbitraries.test.ts';
import { formatIp, isIp6, type Ip } from './ip.ts';
import {
  bitsOf,
  contains,
  formatPrefix,
  mask4,
  networkOf,
  overlaps,
  parseNetwork,
  parsePrefix,
  type Prefix,
} from './prefix.ts';

/** Every bit a character: slow and obvious. */
const bits = (ip: Ip): string =>
  isIp6(ip)
    ? Array.from(ip, (digit) => Number.parseInt(digit, 16).toString(2).padStart(4, '0')).join('')
    : ip.toString(2).padStart(32, '0');

const lengthFor = (ip: Ip) => fc.integer({ min: 0, max: bitsOf(ip) });
const prefixes = ips.chain((address) => lengthFor(address).map((length) => ({ address, length })));
/** An address that shares a random number of leading bits with the prefix. */
const nearby = prefixes.chain((prefix) =>
  fc.tuple(
    fc.constant(prefix),
    (isIp6(prefix.address) ? ip6s : ip4s).chain((other) =>
      lengthFor(other).map((shared) => splice(prefix.address, other, shared)),
    ),
  ),
);
function splice(head: Ip, tail: Ip, shared: number): Ip {
  const mixed = bits(head).slice(0, shared) + bits(tail).slice(shared);
  if (!isIp6(head)) return Number.parseInt(mixed, 2) as Ip;
  return (mixed.match(/.{4}/g) ?? []).map((b) => Number.parseInt(b, 2).toString(16)).join('') as Ip;
}

test('networkOf clears the host bits', () => {
  fc.assert(
    fc.property(prefixes, ({ address, length }) => {
      const wanted = bits(address).slice(0, length).padEnd(bitsOf(address), '0');
      assert.equal(bits(networkOf(address, length)), wanted);
    }),
    runs(3000),
  );
  assert.deepEqual(
    [mask4(0), mask4(1), mask4(24), mask4(32)],
    [0, 0x80000000, 0xffffff00, 0xffffffff],
  );
});

test('contains agrees on the leading bits', () => {
  fc.assert(
    fc.property(nearby, ([prefix, ip]) => {
      const wanted = bits(ip).startsWith(bits(prefix.address).slice(0, prefix.length));
      assert.equal(contains(prefix, ip), wanted);
    }),
    runs(5000),
  );
});

test('overlaps: one holds the other; families never meet', () => {
  fc.assert(
    fc.property(nearby, fc.nat(128), ([a, address], n) => {
      const b = { address, length: Math.min(n, bitsOf(address)) };
      const short = Math.min(a.length, b.length);
      const wanted = bits(a.address).slice(0, short) === bits(b.address).slice(0, short);
      assert.equal(overlaps(a, b), wanted);
      assert.equal(overlaps(b, a), wanted);
    }),
    runs(3000),
  );
  fc.assert(
    fc.property(ip4s, ip6s, (v4, v6) => {
      assert.equal(contains({ address: v4, length: 0 }, v6), false);
      assert.equal(contains({ address: v6, length: 0 }, v4), false);
    }),
    runs(100),
  );
});

test('parse(format(x)) = x; parsePrefix wants zero host bits', () => {
  fc.assert(
    fc.property(prefixes, (prefix) => {
      assert.deepEqual(parseNetwork(formatPrefix(prefix)), prefix);
      const zero = networkOf(prefix.address, prefix.length) === prefix.address;
      assert.deepEqual(parsePrefix(formatPrefix(prefix)), zero ? prefix : undefined);
      const network: Prefix = { ...prefix, address: networkOf(prefix.address, prefix.length) };
      assert.deepEqual(parsePrefix(formatPrefix(network)), network);
    }),
    runs(3000),
  );
  const kept = parseNetwork('10.0.0.7/24');
  assert.equal(kept === undefined ? '' : formatIp(kept.address), '10.0.0.7');
});

test('refused forms', () => {
  const refused = (
    '10.0.0.0|10.0.0.0/|10.0.0.0/33|10.0.0.0/-1|10.0.0.0/+8|10.0.0.0/08|' +
    '10.0.0.0/8/8|10.0.0.0/ 8|10.0.0/8|/8||::/129|::/1e1|::/0x1|x/1|' +
    '10.0.0.0/255.0.0.0|::/00|010.0.0.0/8|::/1000'
  ).split('|');
  for (const text of refused) assert.equal(parseNetwork(text), undefined, text);
  for (const text of ['10.0.0.1/24', 'fd00::1/64', '0.0.0.1/0', '::1/127']) {
    assert.equal(parsePrefix(text), undefined, text);
    assert.notEqual(parseNetwork(text), undefined, text);
  }
});
