/** The tree finds the rule that asking one by one finds, and reads no more of the packet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '#net/ip.ts';
import { parseFrameText } from '#net/text.ts';
import { contains, spanOf, parsePrefix } from '#net/prefix.ts';
import { PORT_IDS, BRIDGE_IDS, ROUTER_IDS } from '../ids.arbitrary.ts';
import type { AddressGroupId, ChainId, PortGroupId, PortId, RuleId } from '../ids.ts';
import { fieldsOf, FIELDS, Match, type Field } from '../match.ts';
import { headersOf, packets, scramble, type Packet } from '../packet.arbitrary.ts';
import { ReadyChain } from '../ready.ts';
import {
  ADDRESS_GROUP_IDS,
  CHAIN_IDS,
  conditions,
  PORT_GROUP_IDS,
} from '../rule/rule.arbitrary.ts';
import {
  CONDITION,
  CONDITION_FIELDS,
  conditionOf,
  type ConditionField,
} from '../rule/condition.ts';
import type { Tag } from '../tags.ts';
import type { ChainView, TopologyView } from '../view.ts';
import { connectionsOf } from '../connections.arbitrary.ts';
import { Subject, type Asked } from './facts.ts';
import { FirstMatch } from './first-match.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 4_000);

type Stored = Readonly<Record<string, unknown>>;
const chainOf = (rules: readonly Stored[]): ChainView => {
  const id = CHAIN_IDS[0] as ChainId;
  return {
    id,
    name: 'c',
    ready: new ReadyChain(id),
    rules: rules.map((rule, i) => ({
      id: `r${i}` as RuleId,
      name: undefined,
      position: i + 1,
      action: 'accept',
      jump: undefined,
      log: false,
      nat: undefined,
      condition: conditionOf(rule),
    })),
  };
};

/** Groups hold every other member. */
const groups = {
  bridge: () => ({ floodKey: 8_388_609 }),
  inPortGroup: (group: PortGroupId, port: PortId) =>
    (PORT_GROUP_IDS.indexOf(group) + PORT_IDS.indexOf(port)) % 2 === 0,
  inAddressGroup: (group: AddressGroupId, ip: unknown) =>
    (ADDRESS_GROUP_IDS.indexOf(group) + String(ip).length) % 2 === 0,
} as unknown as TopologyView;

interface Walked {
  readonly in: number;
  readonly out: number;
}
const ways = fc.record({ in: fc.nat(5), out: fc.nat(5) });

const subjectOf = (packet: Packet, way: Walked, before: readonly Field[]) => {
  const match = new Match(packet.headers, packet.bytes, packet.size);
  for (const field of before) match.get(field);
  const tags: Tag[] = [];
  const of: Asked = {
    match,
    tags,
    topology: groups,
    state: { connections: connectionsOf(way.in) },
    ingress: { flood: BRIDGE_IDS[0]! },
    look: undefined,
    from: PORT_IDS[way.in],
    inPort: PORT_IDS[way.in],
    outPort: PORT_IDS[way.out],
    crossed: ROUTER_IDS.slice(0, 1),
    changes: [],
    changedBefore: 0,
    chosenBy: [],
    about: [],
  };
  return { subject: new Subject(of), match, tags };
};
const befores = fc.subarray([...FIELDS]);

test('the tree answers the rule that asking one by one does, and reads the same', () => {
  let found = 0;
  fc.assert(
    fc.property(
      fc.array(conditions, { minLength: 9, maxLength: 40 }),
      fc.array(fc.tuple(packets, ways, befores, fc.nat(5)), { minLength: 4, maxLength: 12 }),
      (rules, walks) => {
        const matches = new FirstMatch(chainOf(rules));
        for (const [packet, way, before, start] of walks) {
          const plain = subjectOf(packet, way, before);
          const tree = subjectOf(packet, way, before);
          const rule = matches.plain(plain.subject, start);
          assert.equal(matches.tree(tree.subject, start), rule);
          assert.deepEqual(fieldsOf(tree.match.seen), fieldsOf(plain.match.seen));
          assert.deepEqual(tree.tags, plain.tags);
          if (rule >= 0) found++;
        }
      },
    ),
    { seed, numRuns: numRuns / 4 },
  );
  assert(found > numRuns, `only ${found}`);
});

test('packets that agree on what was read have one answer', () => {
  fc.assert(
    fc.property(
      fc.array(conditions, { minLength: 1, maxLength: 20 }),
      packets,
      packets,
      ways,
      (rules, a, b, way) => {
        const matches = new FirstMatch(chainOf(rules));
        const first = subjectOf(a, way, []);
        const rule = matches.tree(first.subject, 0);
        const headers = scramble(a.headers, b.headers, fieldsOf(first.match.seen));
        const other = subjectOf({ ...b, headers }, way, []);
        assert.equal(matches.tree(other.subject, 0), rule);
        assert.equal(other.match.seen, first.match.seen);
      },
    ),
    { seed, numRuns },
  );
});

test('each field of a condition reads what its row says', () => {
  fc.assert(
    fc.property(conditions, packets, ways, (stored, packet, way) => {
      const { subject, match } = subjectOf(packet, way, []);
      new FirstMatch(chainOf([stored])).plain(subject, 0);
      const may = new Set<Field>(['ipFrag']);
      for (const field of CONDITION_FIELDS)
        if (stored[field] !== undefined) for (const each of CONDITION[field].reads) may.add(each);
      for (const field of fieldsOf(match.seen))
        assert(may.has(field), `${field}: ${JSON.stringify(stored)}`);
    }),
    { seed, numRuns },
  );
});

const packetOf = (text: string): Packet => {
  const bytes = parseFrameText(text, { src: 2 as never, dst: 4 as never });
  assert(bytes instanceof Uint8Array, text);
  return { bytes, headers: headersOf(bytes), size: bytes.length - 14 };
};
const matched = (rules: readonly Stored[], text: string) => {
  const { subject, match } = subjectOf(packetOf(text), { in: 0, out: 1 }, []);
  const chain = new FirstMatch(chainOf(rules));
  const at = chain.plain(subject, 0);
  return { at, read: fieldsOf(match.seen).join(' ') };
};

test('a mask grows with what had to be asked, and no more', () => {
  const web = { protocol: 'tcp', destinationPorts: '80' };
  const cases: readonly (readonly [string, string, number, string])[] = [
    ['nothing asked', '[{}]', 0, ''],
    ['another protocol', JSON.stringify([web]), -1, 'ethType ipProto'],
  ];
  for (const [what, rules, at, read] of cases)
    assert.deepEqual(
      matched(JSON.parse(rules) as Stored[], 'udp 10.0.0.1:1 > 10.0.0.2:80'),
      { at, read },
      what,
    );
  const tcp = 'tcp 10.0.0.1:1 > 10.0.0.2:80';
  assert.equal(matched([web], tcp).read, 'ethType ipProto ipFrag tpDst');
  assert.equal(
    matched([{ ...web, source: '10.0.0.0/8' }], tcp).read,
    'ethType ipSrc ipProto ipFrag tpDst',
  );
  // An address is not asked for where the port has decided.
  const ssh = { protocol: 'tcp', destinationPorts: '22', source: '10.0.0.0/8' };
  assert.equal(matched([ssh], tcp).read, 'ethType ipProto ipFrag tpDst');
});

test('what a packet lacks compares unequal, and its inversion is true', () => {
  const arp = 'arp who-has 10.0.0.2 tell 10.0.0.1';
  const lacks: readonly (readonly [ConditionField, unknown])[] = [
    ['protocol', 'icmp'],
    ['dscp', 0],
    ['sourcePorts', '0-65535'],
    ['destinationPorts', '0-65535'],
    ['icmpType', 0],
    ['source', '::/0'],
    ['outPortGroup', PORT_GROUP_IDS[0]],
  ];
  for (const [field, value] of lacks) {
    assert.equal(matched([{ [field]: value }], arp).at, -1, field);
    assert.equal(matched([{ [field]: value, not: [field] }], arp).at, 0, `not ${field}`);
  }
  assert.equal(matched([{ source: '10.0.0.0/8' }], arp).at, 0, 'ARP has addresses');
  assert.equal(matched([{ source: '0.0.0.0/0', not: ['source'] }], 'type 0x88cc').at, 0);
});

test('the whole is inverted, but for which parts of datagrams it is about', () => {
  const udp = 'udp 10.0.0.1:53 > 10.0.0.2:53';
  assert.equal(matched([{ protocol: 'tcp', invert: true }], udp).at, 0);
  assert.equal(matched([{ protocol: 'udp', invert: true }], udp).at, -1);
  assert.equal(matched([{ protocol: 'tcp', fragments: 'later', invert: true }], udp).at, -1);
  assert.equal(matched([{ invert: true }], udp).at, -1);
});

test('a tree is bounded, and begun anew', () => {
  const rules = Array.from({ length: 300 }, (_, i) => ({
    source: `10.0.${i >> 8}.${i & 255}/32`,
    destination: `10.1.${i >> 8}.${i & 255}/32`,
  }));
  const matches = new FirstMatch(chainOf(rules), 1_000);
  let [most, anew] = [0, 0];
  for (let i = 0; i < 3000; i++) {
    const text = `udp 10.0.${(i % 300) >> 8}.${(i % 300) & 255}:1 > 10.1.0.${i % 251}:1`;
    const packet = packetOf(text);
    const plain = subjectOf(packet, { in: 0, out: 1 }, []);
    const tree = subjectOf(packet, { in: 0, out: 1 }, []);
    assert.equal(matches.tree(tree.subject, 0), matches.plain(plain.subject, 0));
    if (matches.listed < most) anew++;
    most = matches.listed;
    assert(most <= 1_000 + 3 * rules.length);
  }
  assert(anew > 0);
});

test('the span of a prefix is what it contains', () => {
  for (const text of [
    '10.0.0.0/8',
    '0.0.0.0/0',
    '10.0.0.7/32',
    '::/0',
    'fc00::/7',
    'fd00::/13',
    'fd00::1/128',
  ]) {
    const prefix = parsePrefix(text) ?? assert.fail(text);
    const [first, last] = spanOf(prefix);
    assert(contains(prefix, first) && contains(prefix, last), text);
  }
  assert.deepEqual(spanOf(parsePrefix('10.1.0.0/16')!)[1], parseIp('10.1.255.255'));
  assert.deepEqual(
    spanOf(parsePrefix('fd00::/13')!)[1],
    parseIp('fd07:ffff:ffff:ffff:ffff:ffff:ffff:ffff'),
  );
});
