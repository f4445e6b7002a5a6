/** Chains and groups as the topology answers for them, and what their changes are told by. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '#net/ip.ts';
import { contains } from '#net/prefix.ts';
import { memberPrefix } from '../address-group/members.ts';
import type { RowChange } from '../change.ts';
import type { KindName } from '../kind.ts';
import type { ObjectOf } from '../kinds.ts';
import { ip, Network } from '../network.fixture.ts';
import { IPS } from '../packet.arbitrary.ts';
import { ADDRESS_GROUP_IDS, CHAIN_IDS, PORT_GROUP_IDS } from '../rule/rule.arbitrary.ts';
import { addressGroupTag, chainTag, covers, portGroupTag, portTag, type Tag } from '../tags.ts';
import type { Topology } from '../topology.ts';
import { PORT_IDS, rowChanges, topologies } from '../topology.arbitrary.ts';

const FIREWALL: readonly KindName[] = ['chain', 'rule', 'address-group', 'port-group'];

/** Everything a walk may ask of a firewall, by the tag that it holds then. */
function answers(topology: Topology): Map<Tag, unknown> {
  const all = new Map<Tag, unknown>();
  for (const id of CHAIN_IDS) all.set(chainTag(id), topology.chain(id)?.rules);
  for (const id of PORT_GROUP_IDS)
    for (const port of PORT_IDS) all.set(portGroupTag(id, port), topology.inPortGroup(id, port));
  for (const id of ADDRESS_GROUP_IDS)
    for (const of of IPS) all.set(addressGroupTag(id, of), topology.inAddressGroup(id, of));
  return all;
}

test('what a walk may be answered otherwise after a change, the change yields a tag of', () => {
  const ofFirewall = rowChanges.filter(({ kind }) => FIREWALL.includes(kind));
  const changes = fc.array(ofFirewall, { minLength: 1, maxLength: 3 });
  let differed = 0;
  fc.assert(
    fc.property(topologies, changes, (topology, rows: RowChange[]) => {
      const before = answers(topology);
      const tags = topology.apply({ revision: 2, rows });
      for (const [tag, answer] of answers(topology)) {
        if (JSON.stringify(answer) === JSON.stringify(before.get(tag))) continue;
        differed++;
        assert(
          tags.some((changed) => covers(changed, tag)),
          tag,
        );
      }
    }),
    { numRuns: 1_000 },
  );
  assert(differed > 500, String(differed));
});

test('groups answer what a scan of their members would', () => {
  fc.assert(
    fc.property(topologies, fc.array(rowChanges, { maxLength: 5 }), (topology, rows) => {
      topology.apply({ revision: 2, rows });
      for (const id of ADDRESS_GROUP_IDS) {
        const group = topology.get('address-group', id) as ObjectOf<'address-group'> | undefined;
        const prefixes = (group?.addresses ?? []).map(memberPrefix);
        for (const of of IPS)
          assert.equal(
            topology.inAddressGroup(id, of),
            prefixes.some((prefix) => contains(prefix, of)),
          );
      }
      for (const id of PORT_GROUP_IDS) {
        const group = topology.get('port-group', id) as ObjectOf<'port-group'> | undefined;
        for (const port of PORT_IDS)
          assert.equal(topology.inPortGroup(id, port), group?.ports.includes(port) ?? false);
      }
    }),
    { numRuns: 500 },
  );
});

const withRules = (): Network => {
  const network = new Network().put('chain', 'web', {}).put('chain', 'db', {});
  const chain = network.id('chain', 'web');
  return network
    .put('rule', 'rest', { chain, position: 900, action: 'drop', invert: false })
    .put('rule', 'http', {
      chain,
      position: 100,
      action: 'accept',
      destinationPorts: '80',
      invert: false,
    });
};

test('rules stand in the order of their positions, whichever came first', () => {
  const network = withRules();
  const names = (): unknown =>
    network.topology.chain(network.id('chain', 'web'))?.rules.map(({ name }) => name);
  assert.deepEqual(names(), ['http', 'rest']);
  network.put('rule', 'rest', { position: 50 });
  assert.deepEqual(names(), ['rest', 'http']);
  network.remove('rule', 'rest');
  assert.deepEqual(names(), ['http']);
});

test('a chain is one value until a rule of it changes', () => {
  const network = withRules();
  const web = network.id<never>('chain', 'web');
  const before = network.topology.chain(web);
  network.put('rule', 'http', { labels: ['app=web'] });
  assert.deepEqual(network.changed, []);
  network.put('rule', 'other', { chain: network.id('chain', 'db'), position: 1, action: 'drop' });
  assert.deepEqual(network.changed, [chainTag(network.id('chain', 'db'))]);
  assert.equal(network.topology.chain(web), before);
  network.put('rule', 'http', { destinationPorts: '80-90' });
  assert.deepEqual(network.changed, [chainTag(web)]);
  assert.notEqual(network.topology.chain(web), before);
});

test('a filter of a port is told as the port, and as the floods of its bridge', () => {
  const network = withRules().bridge('b').bridgePort('p', 'b');
  const chain = network.id('chain', 'web');
  for (const filter of ['inboundFilter', 'outboundFilter']) {
    network.put('port', 'p', { [filter]: chain });
    const told = [portTag(network.port('p')), `flood/${network.id('bridge', 'b')}`];
    assert.deepEqual(new Set<string>(network.changed), new Set<string>(told));
  }
});

test('one more of 10,000 members touches who asked about that one, and nobody else', () => {
  const address = (n: number): string => `10.1.${n >> 8}.${n & 255}`;
  const members = Array.from({ length: 9_999 }, (_, n) => address(n));
  const network = new Network().put('address-group', 'g', { addresses: members });
  const group = network.id<never>('address-group', 'g');
  assert.equal(network.topology.inAddressGroup(group, ip(address(9_999))), false);
  network.put('address-group', 'g', { addresses: [...members, address(9_999)] });
  assert.equal(network.topology.inAddressGroup(group, ip(address(9_999))), true);
  assert.equal(network.changed.length, 1);
  const [tag] = network.changed;
  assert(tag !== undefined);
  const touched = [...members, address(9_999)].filter((text) =>
    covers(tag, addressGroupTag(group, parseIp(text) ?? assert.fail(text))),
  );
  assert.deepEqual(touched, [address(9_999)]);
  network.put('address-group', 'g', {
    addresses: [...members.slice(1), address(9_999), '10.2.0.0/16'],
  });
  const held = ['10.1.0.0', '10.2.7.7'].map((text) => addressGroupTag(group, ip(text)));
  assert.equal(network.changed.length, 2);
  for (const each of held) assert(network.changed.some((changed) => covers(changed, each)));
});
