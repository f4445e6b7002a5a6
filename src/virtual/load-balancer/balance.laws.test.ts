/**
 * Laws of balancing, on random pools and changes of them.
 *
 * *Agreement*: whoever walks a packet on the same objects chooses the same member, in whatever
 * order these came, whatever else his state says. *Staying*: a connection leaves its member only
 * when that is taken away, or is down and the pool says so. *Flows*: what is decided with a record
 * depends on the tags that its flow holds, and these are not those by which the member was chosen.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pass, tenant } from '../nat/nat.fixture.ts';
import { macOf, type Fields, type Network } from '../network.fixture.ts';
import type { StoredObject } from '../kind.ts';
import type { Outcome } from '../outcome.ts';
import { covers, type Tag } from '../tags.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 150);
const OUT = `${macOf(9)} > ${macOf(0x13)}`;
const MEMBERS = ['m1', 'm2', 'm3', 'm4'] as const;
type Member = (typeof MEMBERS)[number];

/** One thing that somebody does to the pools. */
type Change =
  | { readonly kind: 'weight'; readonly member: Member; readonly weight: number }
  | { readonly kind: 'admin'; readonly member: Member; readonly up: boolean }
  | { readonly kind: 'health'; readonly member: Member; readonly status: 'up' | 'down' }
  | { readonly kind: 'delete'; readonly member: Member }
  | { readonly kind: 'create'; readonly member: Member }
  | { readonly kind: 'pool'; readonly up: boolean; readonly keep: boolean }
  | { readonly kind: 'vip'; readonly up: boolean }
  | { readonly kind: 'monitor'; readonly up: boolean };

const one = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const kind = <K extends string>(of: K) => fc.constant(of);
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: kind('weight'), member: one(MEMBERS), weight: one([0, 1, 5]) }),
  fc.record({ kind: kind('admin'), member: one(MEMBERS), up: fc.boolean() }),
  fc.record({ kind: kind('health'), member: one(MEMBERS), status: one(['up', 'down'] as const) }),
  fc.record({ kind: kind('delete'), member: one(MEMBERS) }),
  fc.record({ kind: kind('create'), member: one(MEMBERS) }),
  fc.record({ kind: kind('pool'), up: fc.boolean(), keep: fc.boolean() }),
  fc.record({ kind: kind('vip'), up: fc.boolean() }),
  fc.record({ kind: kind('monitor'), up: fc.boolean() }),
);

const addressOf = (member: Member): string => `10.0.0.${MEMBERS.indexOf(member) + 1}`;
const poolOf = (net: Network, name: string, fields: Fields = {}): Network =>
  net.put('pool', name, {
    loadBalancer: net.id('load-balancer', 'lb'),
    adminStateUp: true,
    whenDown: 'drop',
    onMemberDown: 'rebalance',
    tableSize: 1_021,
    ...fields,
  });
const memberOf = (net: Network, name: Member): Network =>
  net.put('pool-member', name, {
    // The last one stands by.
    pool: net.id('pool', name === 'm4' ? 'backup' : 'web'),
    address: addressOf(name),
    port: 80,
    weight: 1,
    adminStateUp: true,
  });

function made(order: readonly Member[]): Network {
  const net = tenant([], []);
  // 10.0.0.1 and 10.0.0.2 are seeded there.
  net.bridgePort('vm3', 'blue', {
    addresses: [
      { mac: macOf(3), ip: '10.0.0.3' },
      { mac: macOf(4), ip: '10.0.0.4' },
    ],
  });
  net.put('load-balancer', 'lb', { router: net.id('router', 'r'), adminStateUp: true });
  net.put('health-monitor', 'alive', { type: 'tcp', adminStateUp: true });
  poolOf(net, 'backup');
  poolOf(net, 'web', {
    backupPool: net.id('pool', 'backup'),
    healthMonitor: net.id('health-monitor', 'alive'),
  });
  for (const name of MEMBERS) memberOf(net, name);
  for (const name of order) net.put('pool-member', name, { labels: undefined });
  return net.put('vip', 'www', {
    loadBalancer: net.id('load-balancer', 'lb'),
    pool: net.id('pool', 'web'),
    address: '203.0.113.80',
    port: 80,
    protocol: 'tcp',
    adminStateUp: true,
    persistence: 'none',
  });
}

/** Carries a change out; answers its tags. */
function make(net: Network, by: Change): readonly Tag[] {
  if (by.kind === 'weight') net.put('pool-member', by.member, { weight: by.weight });
  else if (by.kind === 'admin') net.put('pool-member', by.member, { adminStateUp: by.up });
  else if (by.kind === 'create') memberOf(net, by.member);
  else if (by.kind === 'delete') net.remove('pool-member', by.member);
  else if (by.kind === 'vip') net.put('vip', 'www', { adminStateUp: by.up });
  else if (by.kind === 'monitor') net.put('health-monitor', 'alive', { adminStateUp: by.up });
  else if (by.kind === 'pool') {
    const onMemberDown = by.keep ? 'keep' : 'rebalance';
    net.put('pool', 'web', { adminStateUp: by.up, onMemberDown });
  } else {
    const id = net.id('pool-member', by.member);
    const object = { id, member: id, status: by.status, reason: '', since: 0, revision: 1 };
    net.changed = net.topology.apply({
      revision: net.topology.revision + 1,
      rows: [{ kind: 'member-health', id, put: object }],
    });
  }
  return net.changed;
}

const PORTS = Array.from({ length: 12 }, (_, n) => 2_000 + n * 7);
/** Of these nothing is remembered. */
const FRESH = [3_001, 3_002, 3_003];
const frame = (port: number): string => `${OUT} tcp 198.51.100.7:${port} > 203.0.113.80:80 syn`;
const chosen = (net: Network, port: number): string =>
  pass(net, 'up', frame(port)).text.replace(/^.* > /, '');

test('all agree: on the same objects the same member, whatever the order and the state', () => {
  let choices = 0;
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 8 }),
      fc.shuffledSubarray([...MEMBERS]),
      fc.integer(),
      (changes, order, other) => {
        const [a, b] = [made([]), made(order)];
        for (const each of changes) {
          make(a, each);
          make(b, each);
        }
        // Another host, which came later and has other ports and secrets.
        const rows = [...b.topology.objects()].reverse();
        b.topology.reset(b.topology.revision + 1, []);
        b.topology.reset(b.topology.revision + 1, rows);
        b.publicPorts = { ...b.publicPorts, seed: other };
        b.here = () => false;
        for (const port of PORTS) {
          const is = chosen(a, port);
          if (is.endsWith(':80')) choices += 1;
          assert.equal(chosen(b, port), is);
        }
      },
    ),
    { seed, numRuns },
  );
  assert.ok(choices > numRuns, `${choices} choices`);
});

/** What no tag of a change covers is decided as before; false: something covers it. */
function same(was: Outcome, is: Outcome, tags: readonly Tag[]): boolean {
  if (tags.some((tag) => was.tags.some((held) => covers(tag, held)))) return false;
  assert.deepEqual(is.verdict, was.verdict);
  assert.deepEqual(is.rewrites, was.rewrites);
  return true;
}

/** What of a member is there. */
interface Known {
  readonly there: boolean;
  readonly down: boolean;
}
function knownOf(net: Network, address: string): Known {
  const name = MEMBERS.find((each) => address === `${addressOf(each)}:80`);
  const id = name === undefined ? '' : net.id<string>('pool-member', name);
  const row = net.topology.get('pool-member', id);
  const monitored = net.topology.get('health-monitor', net.id('health-monitor', 'alive')) as
    | (StoredObject & { adminStateUp: boolean })
    | undefined;
  const health = net.topology.get('member-health', id) as
    | (StoredObject & { status: string })
    | undefined;
  const pool = net.topology.get('pool', net.id('pool', 'web')) as unknown as {
    onMemberDown: string;
  };
  const moves = name !== 'm4' && monitored?.adminStateUp === true && pool.onMemberDown !== 'keep';
  return { there: row !== undefined, down: moves && health?.status === 'down' };
}

test('a connection stays with its member, and its flow depends on the tags that it holds', () => {
  let [stayed, moved, untouched] = [0, 0, 0];
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
      const net = made([]);
      for (const port of PORTS) pass(net, 'up', frame(port));
      for (const each of changes) {
        const before = PORTS.map((port) => net.send('up', frame(port)));
        const members = PORTS.map((port) => chosen(net, port));
        const fresh = FRESH.map((port) => net.send('up', frame(port)));
        const tags = make(net, each);
        for (const [i, port] of FRESH.entries()) same(fresh[i]!, net.send('up', frame(port)), tags);
        for (const [i, port] of PORTS.entries()) {
          const is = net.send('up', frame(port));
          const was = before[i]!;
          const member = members[i]!;
          const { there, down } = knownOf(net, member);
          if (member.endsWith(':80') && there && !down) {
            assert.equal(is.rewrites.ipDst, was.rewrites.ipDst, 'stays');
            stayed += 1;
          } else moved += 1;
          const chosenBy = was.connection?.chosenBy ?? [];
          const held =
            was.verdict.kind === 'forward'
              ? was.tags.filter((tag) => !chosenBy.includes(tag))
              : was.tags;
          if (same({ ...was, tags: held }, is, tags)) untouched += 1;
        }
      }
    }),
    { seed, numRuns },
  );
  assert.ok(
    stayed > numRuns && moved > 0 && untouched > numRuns,
    `${stayed} ${moved} ${untouched}`,
  );
});
