/** Filters of packets as text: what is understood, what is refused, and that it comes back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPacketFilter, parsePacketFilter } from './packet-filter.ts';

test('a filter comes back as it was said', () => {
  const texts = [
    '',
    'tcp',
    'arp',
    'ip6',
    'proto 47',
    'tcp 10.0.0.5 > 10.0.1.7:80',
    'udp *:53 <> 10.0.0.0/8',
    'tcp [fd00::1]:80 > *',
    'tcp [fd00::/64]:80 <> fd01::2',
    '10.0.0.1 > *',
    'icmp 10.0.0.1 <> 10.0.0.2',
    'icmp6 fe80::1 > *',
    'arp 10.0.0.1 > *',
    'proto 47 10.0.0.1 > 10.0.0.2',
  ];
  for (const text of texts) {
    const filter = parsePacketFilter(text);
    assert.ok(!('error' in filter), `${text}: ${JSON.stringify(filter)}`);
    assert.equal(formatPacketFilter(filter), text);
  }
});

test('an address says its family, and both ways is what is said without ends', () => {
  const filter = parsePacketFilter('tcp 10.0.0.5 > *:80');
  assert.ok(!('error' in filter));
  assert.deepEqual([filter.ethType, filter.protocol, filter.both], [0x0800, 6, false]);
  assert.equal(filter.to.port, 80);
  const all = parsePacketFilter('udp');
  assert.ok(!('error' in all));
  assert.equal(all.both, true);
});

test('what cannot be is refused with the word and the rule', () => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['tcp 10.0.0.5 >', /to: missing/],
    ['tcp 10.0.0.5 - 10.0.0.6', /'-': must be '>' or '<>'/],
    ['tcp 10.0.0.500 > *', /'10\.0\.0\.500': must be \*, an address/],
    ['tcp 10.0.0.5:99999 > *', /must be/],
    ['tcp 10.0.0.0/33 > *', /must be/],
    ['tcp 10.0.0.1/8 > *', /must be/],
    ['tcp 10.0.0.5 > fd00::1', /one family/],
    ['icmp6 10.0.0.5 > *', /one family/],
    ['icmp 10.0.0.5:80 > *', /a port: needs tcp or udp/],
    ['10.0.0.5:80 > *', /a port: needs tcp or udp/],
    ['tcp 10.0.0.5 > 10.0.0.6 syn', /'syn': there is nothing more/],
    ['proto 256', /proto/],
  ];
  for (const [text, rule] of wrong) {
    const filter = parsePacketFilter(text);
    assert.ok('error' in filter, text);
    assert.match(filter.error, rule, text);
  }
});
