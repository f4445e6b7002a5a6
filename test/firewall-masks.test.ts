/**
 * How narrow the flows of each sort of policy are: the guide's table is what the walk reads. A rule
 * that asks for more than it needs makes a flow for each value of that, and fills the table.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fieldsOf } from '#virtual/match.ts';
import { macOf, Network } from '#virtual/network.fixture.ts';

type Rule = Readonly<Record<string, unknown>>;
const DROP = { action: 'drop' };
const CONNECTIONS = ['established', 'related'];

/** In the words of the guide. */
const SHAPES: readonly (readonly [what: string, rules: readonly Rule[]])[] = [
  ['no filter', []],
  ['everything is dropped', [DROP]],
  ['by protocol', [{ action: 'accept', protocol: 'tcp' }, DROP]],
  ['one service', [{ action: 'accept', protocol: 'tcp', destinationPorts: '80' }, DROP]],
  [
    'a hundred services',
    [
      ...Array.from({ length: 100 }, (_, n) => ({
        ...{ action: 'accept', protocol: 'tcp', destinationPorts: String(80 + n) },
      })),
      DROP,
    ],
  ],
  ['by source network', [{ action: 'accept', source: '10.0.0.0/8' }, DROP]],
  ['by address group', [{ action: 'accept', sourceGroup: 'friends' }, DROP]],
  ['by MAC', [{ action: 'accept', sourceMac: macOf(1) }, DROP]],
  ['with state', [{ action: 'accept', connection: CONNECTIONS }, DROP]],
  ['logged', [{ action: 'accept', protocol: 'tcp', log: true }, DROP]],
];

function matched(rules: readonly Rule[]): string {
  const net = new Network()
    .bridge('b')
    .bridgePort('vm1', 'b', { addresses: [{ mac: macOf(1) }] })
    .bridgePort('vm2', 'b', { addresses: [{ mac: macOf(2) }] })
    .put('address-group', 'friends', { addresses: ['10.0.0.1'] });
  const friends = net.id('address-group', 'friends');
  const named = rules.map((rule) =>
    'sourceGroup' in rule ? { ...rule, sourceGroup: friends } : rule,
  );
  if (rules.length > 0) net.chain('c', ...named).filter('port', 'vm2', 'outboundFilter', 'c');
  const { seen } = net.send('vm1', `${macOf(1)} > ${macOf(2)} tcp 10.0.0.1:999 > 10.0.0.2:80`);
  const bare = new Set(['ethSrc', 'ethDst', 'ethType', 'vlan']);
  return fieldsOf(seen)
    .filter((field) => !bare.has(field))
    .join(' ');
}

test('the guide says which fields flows match, by the sort of the policy', () => {
  const guide = readFileSync(join(import.meta.dirname, '../docs/guide/firewall.md'), 'utf8');
  const rows = SHAPES.map(([what, rules]) => `| ${what} | ${matched(rules) || '–'} |`);
  for (const row of rows) assert.ok(guide.includes(row), `the guide lacks:\n${rows.join('\n')}`);
});
