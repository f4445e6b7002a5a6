/** What probes say: one finding for each host that loses them, and for each size. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostId } from '#virtual/ids.ts';
import { judge, type Way } from './probing.ts';

const host = (name: string) => ({ id: name as HostId, name });
const way = (from: string, to: string, more: Partial<Way> = {}): Way => ({
  from: host(from),
  to: host(to),
  address: `172.16.0.${to.slice(1)}`,
  mtu: 1_550,
  sent: [128, 1_400, 1_550],
  arrived: [128, 1_400, 1_550],
  ...more,
});

test('ways that carry what they should are no finding', () => {
  assert.deepEqual(judge([way('h1', 'h2'), way('h2', 'h1')]), []);
});

test('a host at which nothing arrives is one finding, whoever sends', () => {
  const found = judge([
    way('h1', 'h2', { arrived: [] }),
    way('h3', 'h2', { arrived: [] }),
    way('h2', 'h1'),
    way('h3', 'h1'),
  ]);
  assert.equal(found.length, 1);
  assert.deepEqual(
    [found[0]?.severity, found[0]?.check, found[0]?.host],
    ['error', 'tunnel', 'h2'],
  );
  assert.match(found[0]?.what ?? '', /^nothing arrives at h2 by the tunnel from h1, h3$/);
  assert.match(found[0]?.evidence ?? '', /128 to 1550 bytes/);
});

test('a way that is narrower than it is believed to be names what fits, and a remedy', () => {
  const [found, ...others] = judge([way('h1', 'h2', { arrived: [128, 1_400] }), way('h2', 'h1')]);
  assert.deepEqual(others, []);
  assert.equal(found?.check, 'mtu');
  assert.match(
    found?.what ?? '',
    /1550 bytes to h2 from h1 are lost on the way, 1400 bytes arrive/,
  );
  assert.match(found?.remedy ?? '', /ip route replace 172\.16\.0\.2 dev DEVICE mtu 1400/);
});

test('a host that may not send says so itself', () => {
  const [found, ...others] = judge([
    way('h1', 'h2', { sent: [], arrived: [], error: '128 bytes: EPERM' }),
  ]);
  assert.deepEqual(others, []);
  assert.deepEqual([found?.check, found?.host], ['tunnel-send', 'h1']);
  assert.match(found?.remedy ?? '', /a firewall of h1/);
});

test('many senders are counted, not listed', () => {
  const ways = Array.from({ length: 90 }, (_, i) => way(`h${i + 10}`, 'h2', { arrived: [] }));
  assert.match(judge(ways)[0]?.what ?? '', /from h10, h11, h12, h13, h14, and 85 more$/);
});
