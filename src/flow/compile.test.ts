/** Outcomes become actions; every question asked of the bindings leaves its tag. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Mac } from '#net/mac.ts';
import type { BridgeId, HostId, PortId } from '#virtual/ids.ts';
import type { Outcome, Recipient, Verdict } from '#virtual/outcome.ts';
import type { Guards, Rewrites } from '#virtual/match.ts';
import { compile as compileWhole } from './compile.ts';
import type { Bindings, FloodMembers, RemotePort, RouterHosts } from './compile.ts';
import { OUTPUTS_PER_FLOW_MAX } from './flow.ts';
import type { DpPeer, DpPort, TunnelKey } from './flow.ts';

const port = (n: number) => `p${n}` as PortId;
const dp = (n: number) => n as DpPort;
const host = (n: number) => `h${n}` as HostId;
const address = (n: number) => n as DpPeer;
const BRIDGE = 'b' as BridgeId;
const KEY = 0x800005 as TunnelKey;
const ingress = { port: port(1) };

const NO_GUARDS: Guards = { decTtl: 0, mtu: undefined };
const outcome = (
  verdict: Verdict,
  rewrites: Rewrites = {},
  guards: Guards = NO_GUARDS,
): Outcome => ({
  verdict,
  rewrites,
  guards,
  seen: 0,
  cacheable: true,
  charge: undefined,
  tags: [],
  claims: [],
  sends: [],
  tells: [],
  connection: undefined,
  confirms: [],
  steps: [],
});
const forward = (...to: Recipient[]): Outcome => outcome({ kind: 'forward', to });

/** Without limits, where the world has none. */
function compile(...args: Parameters<typeof compileWhole>) {
  const { actions, tags } = compileWhole(...args);
  return { actions, tags };
}

interface World {
  readonly local?: readonly [PortId, DpPort | undefined][];
  readonly remote?: readonly [PortId, RemotePort][];
  readonly flood?: FloodMembers;
  readonly hosts?: RouterHosts;
}
const bindings = ({ local = [], remote = [], flood, hosts }: World): Bindings => ({
  dpPort: (id) => new Map(local).get(id),
  remote: (id) => new Map(remote).get(id),
  ready: () => undefined,
  floodMembers: (id) => (id === BRIDGE ? flood : undefined),
  routerHosts: () => hosts,
  mtu: () => undefined,
});
const members = (
  local: readonly [PortId, DpPort | undefined][],
  remotes: readonly [HostId, DpPeer | undefined][],
): FloodMembers => ({
  key: KEY,
  local: local.map(([id, dpPort]) => ({ port: id, dpPort })),
  remotes: remotes.map(([id, remote]) => ({ host: id, remote })),
});

test('the least MTU of the outputs, and of the routers on the way, guards the flow', () => {
  const limits = new Map([
    [20, 1500],
    [77, 1450],
    [78, undefined],
  ]);
  const flood = members(
    [
      [port(2), dp(20)],
      [port(3), dp(30)],
    ],
    [
      [host(1), address(77)],
      [host(2), address(78)],
    ],
  );
  const remote: [PortId, RemotePort][] = [
    [port(4), { host: host(1), key: 9 as TunnelKey, remote: address(77), mtu: 1400 }],
  ];
  const world: Bindings = {
    ...bindings({ local: [[port(2), dp(20)]], flood, remote }),
    mtu: (output) => limits.get('port' in output ? output.port : output.remote),
  };
  const limitsOf = (to: Recipient, tagged = false, mtu?: number) => {
    const guards = { decTtl: 0, mtu };
    const walked = outcome({ kind: 'forward', to: [to] }, {}, guards);
    const { actions, limits: each } = compileWhole(walked, ingress, world, tagged);
    return [actions.mtu, each];
  };
  const all = { flood: BRIDGE };
  assert.deepEqual(limitsOf({ port: port(2) }), [1500, [1500]]);
  assert.deepEqual(limitsOf({ port: port(4) }), [1400, [1400]]);
  assert.deepEqual(limitsOf(all), [1450, [1500, undefined, 1450, undefined]]);
  assert.deepEqual(limitsOf(all, true), [1446, [1500, undefined, 1446, undefined]]);
  assert.deepEqual(limitsOf({ ...all, vlan: 0 }, true), [1450, [1500, undefined, 1450, undefined]]);
  assert.deepEqual(limitsOf({ ...all, vlan: 0x1007 })[0], 1446);
  assert.deepEqual(limitsOf(all, false, 1300)[0], 1300);
  const dropped = outcome({ kind: 'drop', reason: 'no-route' }, {}, { decTtl: 0, mtu: 1300 });
  assert.deepEqual(compileWhole(dropped, ingress, world).limits, []);
});

test('to a port here', () => {
  const world = bindings({ local: [[port(2), dp(20)]] });
  assert.deepEqual(compile(forward({ port: port(2) }), ingress, world), {
    actions: { outputs: [{ port: 20 }] },
    tags: ['binding/p1', 'binding/p2'],
  });
});

test('to a port on another host, with and without an address', () => {
  const there = { host: host(7), key: 9 as TunnelKey };
  for (const remote of [address(77), undefined]) {
    const world = bindings({ remote: [[port(2), { ...there, remote }]] });
    const { actions, tags } = compile(forward({ port: port(2) }), ingress, world);
    assert.deepEqual(tags, ['binding/p1', 'binding/p2', 'location/p2', 'host/h7']);
    assert.deepEqual(
      actions,
      remote === undefined
        ? { drop: 'not-located', outputs: [] }
        : { outputs: [{ key: 9, remote: 77 }] },
    );
  }
});

test('to a port that is nowhere', () => {
  const { actions, tags } = compile(forward({ port: port(2) }), ingress, bindings({}));
  assert.deepEqual(actions, { drop: 'not-located', outputs: [] });
  assert.deepEqual(tags, ['binding/p1', 'binding/p2', 'location/p2']);
});

test('a flood reaches every other port here and every other host once', () => {
  const local = [1, 2, 3].map((n) => [port(n), dp(n * 10)] as [PortId, DpPort]);
  const flood = members(
    [...local, [port(4), undefined]],
    [
      [host(1), address(101)],
      [host(2), undefined],
    ],
  );
  const to = { flood: BRIDGE, except: port(1) };
  assert.deepEqual(compile(forward(to), ingress, bindings({ flood })), {
    actions: { outputs: [{ port: 20 }, { port: 30 }, { key: KEY, remote: 101 }] },
    tags: ['binding/p1', 'flood/b'],
  });
});

test('the egress half of a flood, and nothing else of it, stays on this host', () => {
  const flood = members([[port(2), dp(20)]], [[host(1), address(101)]]);
  const remote: [PortId, RemotePort][] = [
    [port(5), { host: host(1), key: 9 as TunnelKey, remote: address(101) }],
  ];
  const world = bindings({ flood, remote });
  const from = { flood: BRIDGE };
  for (const to of [{ flood: BRIDGE, here: true as const }, { flood: BRIDGE }])
    assert.deepEqual(compile(forward(to), from, world).actions, { outputs: [{ port: 20 }] });
  const { actions } = compile(forward({ port: port(5) }), from, world);
  assert.deepEqual(actions, { drop: 'not-located', outputs: [] });
});

test('a flood to nobody, of nothing, and to too many is a drop with its tags', () => {
  const alone = members([[port(1), dp(10)]], [[host(2), undefined]]);
  const to = { flood: BRIDGE, except: port(1) };
  const nobody = compile(forward(to), ingress, bindings({ flood: alone }));
  assert.deepEqual(nobody.actions, { drop: 'no-recipient', outputs: [] });
  assert.deepEqual(nobody.tags, ['binding/p1', 'flood/b']);
  assert.equal(compile(forward(to), ingress, bindings({})).actions.drop, 'no-recipient');
  for (const extra of [0, 1]) {
    const many = Array.from({ length: OUTPUTS_PER_FLOW_MAX + extra }, (_, n) => n + 2);
    const flood = members(
      many.map((n) => [port(n), dp(n)]),
      [],
    );
    const { actions, tags } = compile(forward(to), ingress, bindings({ flood }));
    assert.equal(actions.drop, extra === 0 ? undefined : 'flood-limit');
    assert.equal(actions.outputs.length, extra === 0 ? OUTPUTS_PER_FLOW_MAX : 0);
    assert.deepEqual(tags, ['binding/p1', 'flood/b'], 'however many there are');
  }
});

test('rewrites become actions; a drop has none', () => {
  const rewrites = { ethSrc: 1 as Mac, ethDst: 2 as Mac };
  const world = bindings({ local: [[port(2), dp(20)]] });
  const to: Verdict = { kind: 'forward', to: [{ port: port(2) }] };
  assert.deepEqual(compile(outcome(to, rewrites), ingress, world).actions, {
    ethSrc: 1,
    ethDst: 2,
    outputs: [{ port: 20 }],
  });
  const drop = outcome({ kind: 'drop', reason: 'port-down' }, rewrites);
  assert.deepEqual(compile(drop, ingress, world), {
    actions: { drop: 'port-down', outputs: [] },
    tags: ['binding/p1'],
  });
  assert.throws(
    () => compile(outcome({ kind: 'answer' }), ingress, world),
    /answer forwards nothing/,
  );
});

/** Law 2 for compilation: change one answer; if the actions differ, that answer's tag was there. */
test('a change of a binding, location or address that alters the actions was tagged', () => {
  const id = fc.integer({ min: 1, max: 4 });
  const maybe = fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined });
  const places = fc.tuple(maybe, maybe, maybe, maybe);
  const asked = fc.oneof(fc.constant(undefined), id);
  const world = (local: readonly unknown[], on: readonly unknown[], at: readonly unknown[]) => {
    const all = [1, 2, 3, 4];
    const of = <T>(list: readonly unknown[], n: number) => list[n - 1] as T | undefined;
    const hostOf = (n: number) => of<number>(on, n);
    const flood = members(
      all.map((n) => [port(n), of<DpPort>(local, n)]),
      [1, 2, 3]
        .filter((h) => all.some((n) => of(local, n) === undefined && hostOf(n) === h))
        .map((h) => [host(h), of<DpPeer>(at, h)]),
    );
    const remote = all.flatMap((n): [PortId, RemotePort][] => {
      const h = hostOf(n);
      if (h === undefined) return [];
      return [[port(n), { host: host(h), key: n as TunnelKey, remote: of<DpPeer>(at, h) }]];
    });
    return bindings({ local: all.map((n) => [port(n), of<DpPort>(local, n)]), remote, flood });
  };
  fc.assert(
    fc.property(places, places, places, asked, id, maybe, (local, on, at, target, n, value) => {
      const to = target === undefined ? { flood: BRIDGE, except: port(1) } : { port: port(target) };
      const before = compile(forward(to), ingress, world(local, on, at));
      const changed = (list: readonly unknown[]) => list.map((x, i) => (i === n - 1 ? value : x));
      const changes: [Bindings, readonly string[]][] = [
        [world(changed(local), on, at), [`binding/p${n}`, 'flood/b']],
        [world(local, changed(on), at), [`location/p${n}`, 'flood/b']],
        [world(local, on, changed(at)), [`host/h${n}`, 'flood/b']],
      ];
      for (const [after, tags] of changes) {
        if (tags.some((tag) => (before.tags as readonly string[]).includes(tag))) continue;
        assert.deepEqual(compile(forward(to), ingress, after).actions, before.actions);
      }
    }),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 1000 },
  );
});
