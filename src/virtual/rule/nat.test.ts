/** Targets of rules that translate, as text and as numbers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIp, parseIp, type Ip } from '#net/ip.ts';
import { bitsOf, contains, networkOf } from '#net/prefix.ts';
import { addressAfter, formatTarget, isIn, mapped, readTarget, type Target } from './nat.ts';

const ALL = { first: 0, last: 65_535 };
const ip = (text: string): Ip => parseIp(text)!;
const ips = fc.oneof(
  fc.nat(0xfffffffe).map((n) => n as Ip),
  fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map((bytes) => Buffer.from(bytes).toString('hex') as Ip),
);

test('a target is read as it is written, and written in one way', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['192.0.2.1', '192.0.2.1'],
    ['192.0.2.1-192.0.2.9', '192.0.2.1-192.0.2.9'],
    ['192.0.2.1-192.0.2.1:80-80', '192.0.2.1:80'],
    ['192.0.2.1:1024-2047', '192.0.2.1:1024-2047'],
    ['2001:DB8::1', '2001:db8::1'],
    ['[2001:db8::1]:80', '[2001:db8::1]:80'],
    ['[2001:db8::1-2001:db8::9]:1-2', '[2001:db8::1-2001:db8::9]:1-2'],
  ];
  for (const [text, canonical] of cases) {
    const target = readTarget(text);
    assert.ok(typeof target === 'object', `${text}: ${JSON.stringify(target)}`);
    assert.equal(formatTarget(target), canonical);
    assert.deepEqual(readTarget(canonical), target);
  }
  for (const text of [
    '',
    'x',
    '192.0.2.1:',
    '192.0.2.1:70000',
    '192.0.2.9-192.0.2.1',
    '1.2.3.4-::1',
  ])
    assert.equal(typeof readTarget(text), 'string', text);
  assert.match(JSON.stringify(readTarget('10.0.0.0-10.2.0.0')), /at most 65536 addresses/);
});

test('an endpoint is in a target exactly when one of its addresses and ports is', () => {
  fc.assert(
    fc.property(ips, fc.nat(300), fc.nat(400), fc.nat(9), fc.nat(9), (first, count, by, a, b) => {
      if (!('string' === typeof first) && (first as number) + 800 > 0xffffffff) return;
      const target: Target = {
        ...{ first, count: count + 1 },
        ports: { first: Math.min(a, b), last: Math.max(a, b) },
      };
      if (typeof first === 'string' && first.startsWith('ffffffff')) return;
      const at = addressAfter(first, by);
      assert.equal(isIn(target, at, a, ALL), by <= count);
      assert.equal(isIn(target, at, 10, ALL), false);
    }),
    { seed: 1 },
  );
});

test('a prefix maps to another one to one, and what is behind it stays', () => {
  fc.assert(
    fc.property(ips, ips, ips, fc.nat(128), (from, to, other, bits) => {
      if (typeof from !== typeof to || typeof from !== typeof other) return;
      const length = Math.min(bits, bitsOf(from));
      const target = { address: networkOf(to, length), length };
      const there = mapped(from, target);
      assert.ok(contains(target, there), formatIp(there));
      const home = { address: networkOf(from, length), length };
      assert.equal(mapped(there, home), from, 'and back');
      void other;
    }),
    { seed: 1 },
  );
  assert.equal(
    formatIp(mapped(ip('10.0.0.77'), { address: ip('192.0.2.0'), length: 24 })),
    '192.0.2.77',
  );
});
