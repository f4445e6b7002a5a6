/** Neighbours of routers: who may teach them, who is told of them, and when they are forgotten. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isNeighbour, type Client, type LearnedNeighbour, type WatchEvent } from '#client/types.ts';
import { parseIp } from '#net/ip.ts';
import type { PortId } from '#virtual/ids.ts';
import type { Operation } from '#virtual/plan.ts';
import { update, World } from '#virtual/plan/world.fixture.ts';
import { openNode, type Fixture } from './fixture.ts';
import { NEIGHBOURS_PER_PORT_MAX } from './learned.ts';
import { LEARN_BATCH_MAX } from './learned-rows.ts';
import { mayNeighbour, segmentOf, SEGMENT_BRIDGES_MAX } from './learned-rules.ts';

const MAC = '02:00:00:00:00:aa';
const create = (kind: Operation['kind'], body: Record<string, unknown>): Operation => ({
  op: 'create',
  kind,
  body,
});

/** The neighbours that a host holds which applies what it is told: `IP MAC` by router port. */
class Holder {
  readonly known = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #events: AsyncIterator<WatchEvent>;

  constructor(client: Client) {
    this.#events = client.watch({ signal: this.#stop.signal })[Symbol.asyncIterator]();
  }
  async reach(expected: readonly string[]): Promise<void> {
    const is = (): boolean =>
      [...this.known.values()].sort().join() === [...expected].sort().join();
    for (let heard = false; !heard || !is();) {
      const { value } = (await this.#events.next()) as { value: WatchEvent };
      if (value.type !== 'learned') continue;
      heard = true;
      if (value.all) this.known.clear();
      for (const row of value.put)
        if (isNeighbour(row)) this.known.set(`${row.of} ${row.ip}`, `${row.ip} ${row.mac}`);
      for (const row of value.forget)
        if (isNeighbour(row)) this.known.delete(`${row.of} ${row.ip}`);
    }
  }
  /** Ends the stream, so that nothing of it waits on. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#events.return?.();
  }
}

/**
 * b0 (p0 on h0) and b1 (p1 on h1), joined by r0; b2 (p2 on h2) is a VLAN of b0; b3 (p3 on h3) is
 * alone; x0, of r0, is on h0 itself.
 */
async function network(node: Fixture) {
  const { operator } = node;
  const places = ['b0', 'b1', 'b2', 'b3'];
  await operator.transact([
    ...places.map((name) => create('bridge', { name })),
    ...places.map((_, i) => create('host', { name: `h${i}` })),
    create('router', { name: 'r0' }),
    ...places.map((bridge, i) =>
      create('port', { name: `p${i}`, bridge, host: `h${i}`, interface: 'e' }),
    ),
    create('port', { name: 'r0-0', router: 'r0', networks: ['10.0.0.1/24', 'fd00::1/64'] }),
    create('port', { name: 'r0-1', router: 'r0', networks: ['10.0.1.1/24'] }),
    create('port', { name: 'b0-r', bridge: 'b0', peer: 'r0-0' }),
    create('port', { name: 'b1-r', bridge: 'b1', peer: 'r0-1' }),
    create('port', { name: 'b2-0', bridge: 'b2' }),
    create('port', { name: 'b0-2', bridge: 'b0', vlan: 7, peer: 'b2-0' }),
    create('port', {
      name: 'x0',
      router: 'r0',
      networks: ['10.0.9.1/24'],
      host: 'h0',
      interface: 'x',
    }),
  ]);
  const ids = new Map((await operator.listAll('port')).map(({ id, name }) => [name, id]));
  const agents: Client[] = [];
  for (const i of places.keys()) {
    const agent = await node.as({ role: 'host', name: `h${i}`, host: `h${i}` });
    await agent.locate(`p${i}`, { interface: 'e' });
    agents.push(agent);
  }
  await agents[0]?.locate('x0', { interface: 'x' });
  const row = (of: string, ip: string, port: string): LearnedNeighbour => ({
    of: ids.get(of) ?? of,
    ip,
    mac: MAC,
    port: ids.get(port) ?? port,
  });
  const agent = (i: number): Client => agents[i] ?? assert.fail();
  return { agent, row, operator };
}

test('a host teaches neighbours that it can have heard, in any bridge of the segment', async () => {
  await using node = openNode();
  const { agent, row } = await network(node);
  await agent(0).learn([row('r0-0', '10.0.0.5', 'p0'), row('r0-0', 'fe80::5', 'p0')], []);
  await agent(2).learn([row('r0-0', '10.0.0.6', 'p2')], []);
  await agent(0).learn([row('x0', '10.0.9.5', 'x0')], []);
  const refused = async (i: number, bad: LearnedNeighbour, why: string): Promise<void> => {
    const good = row('r0-0', '10.0.0.7', 'p0');
    await assert.rejects(agent(i).learn([...(i === 0 ? [good] : []), bad], []), (error: Error) => {
      assert.match(error.message, new RegExp(`put\\.${i === 0 ? 1 : 0}\\.${why}`));
      return true;
    });
  };
  await refused(0, row('r0-0', '10.0.0.5', 'p2'), 'port: is not bound to this host');
  await refused(0, row('p0', '10.0.0.5', 'p0'), 'of: is not a port of a router');
  await refused(0, row('r0-1', '10.0.1.5', 'p0'), 'port: is not in the segment of the port');
  await refused(3, row('r0-0', '10.0.0.5', 'p3'), 'port: is not in the segment of the port');
  await refused(0, row('r0-0', '10.0.9.5', 'x0'), 'port: is not in the segment of the port');
  await refused(0, row('r0-0', '10.0.1.5', 'p0'), 'ip: is in no network of the port');
  await refused(0, row('r0-0', '169.254.0.5', 'p0'), 'ip: is in no network of the port');
  await refused(0, row('r0-0', '10.0.0.1', 'p0'), 'ip: is an address of the port');
  await refused(0, row('r0-0', '224.0.0.1', 'p0'), 'ip: must be a unicast address');
  await refused(0, { ...row('r0-0', '10.0.0.5', 'p0'), mac: 'x' }, 'mac: must be a MAC address');
  const { port } = row('', '', 'x0');
  await assert.rejects(
    agent(0).learn([{ bridge: port, vlan: 0, mac: MAC, port }], []),
    /put\.0\.bridge: is not the bridge of the port/,
  );
  const metrics = await (await node.request('/metrics')).text();
  assert.match(metrics, /^mn_api_neighbours 4$/m, 'what was refused left nothing behind');
  assert.match(metrics, /^mn_api_learned_macs 0$/m);
});

test('whoever sees the port of the router is told of its neighbours, as long as it does', async () => {
  await using node = openNode();
  const { agent, row, operator } = await network(node);
  const near = new Holder(agent(1));
  const far = new Holder(agent(3));
  await near.reach([]);
  await far.reach([]);
  const [a, b] = [row('r0-0', '10.0.0.5', 'p0'), row('r0-0', '10.0.0.6', 'p2')];
  await agent(0).learn([a], []);
  await agent(2).learn([b], []);
  const both = [`10.0.0.5 ${MAC}`, `10.0.0.6 ${MAC}`];
  await near.reach(both);
  assert.equal(far.known.size, 0);
  await operator.create('port', { name: 'b3-2', bridge: 'b3' });
  await operator.create('port', { name: 'b2-3', bridge: 'b2', peer: 'b3-2' });
  await far.reach(both);
  await operator.update('port', 'b3-2', { peer: null });
  await far.reach([]);
  await agent(0).learn([], [{ ...a, mac: '02:00:00:00:00:bb' }]);
  await agent(0).learn([], [b]);
  await agent(0).learn([{ ...a, mac: '02:00:00:00:00:cc' }], []);
  await near.reach(['10.0.0.5 02:00:00:00:00:cc', `10.0.0.6 ${MAC}`]);
  await agent(0).learn([], [{ ...a, mac: '02:00:00:00:00:cc' }]);
  await near.reach([`10.0.0.6 ${MAC}`]);
  await near.stop();
  await far.stop();
});

test('a neighbour is forgotten with the port that heard it, and with what the router knew', async () => {
  await using node = openNode();
  const { agent, row, operator } = await network(node);
  const holder = new Holder(agent(1));
  const teach = async (): Promise<void> => {
    await agent(0).learn([row('r0-0', '10.0.0.5', 'p0'), row('r0-0', 'fd00::5', 'p0')], []);
    await agent(0).learn([row('x0', '10.0.9.5', 'x0')], []);
  };
  const [four, six, x] = [`10.0.0.5 ${MAC}`, `fd00::5 ${MAC}`, `10.0.9.5 ${MAC}`];
  await teach();
  await holder.reach([four, six, x]);
  await operator.update('port', 'r0-0', { networks: ['10.0.0.1/24'] });
  await holder.reach([four, x]);
  await operator.update('port', 'r0-0', { adminStateUp: false, mtu: 1400 });
  await operator.update('port', 'b0-r', { peer: null });
  await holder.reach([x]);
  await operator.update('port', 'x0', { host: 'h1' });
  await holder.reach([]);
  await operator.update('port', 'x0', { host: 'h0' });
  await operator.update('port', 'r0-0', {
    peer: 'b0-r',
    networks: ['10.0.0.1/24', 'fd00::1/64'],
  });
  await agent(0).locate('x0', { interface: 'x' });
  await teach();
  await holder.reach([four, six, x]);
  await operator.update('port', 'p0', { host: null, interface: null });
  await holder.reach([x]);
  await operator.remove('port', 'x0');
  await holder.reach([]);
  await holder.stop();
});

test('a port of a router has so many neighbours and no more', async () => {
  await using node = openNode();
  const { agent, row, operator } = await network(node);
  await operator.update('port', 'r0-0', { networks: ['10.0.0.1/8'] });
  const many = (first: number, count: number): LearnedNeighbour[] =>
    Array.from({ length: count }, (_, i) =>
      row('r0-0', `10.1.${(first + i) >> 8}.${(first + i) & 255}`, 'p0'),
    );
  for (let n = 0; n < NEIGHBOURS_PER_PORT_MAX; n += LEARN_BATCH_MAX)
    await agent(0).learn(many(n, LEARN_BATCH_MAX), []);
  await agent(0).learn(many(0, 5), []);
  await assert.rejects(
    agent(0).learn(many(NEIGHBOURS_PER_PORT_MAX, 1), []),
    /put\.0\.ip: is one too many: a router port has at most 32768 neighbours/,
  );
  await agent(0).learn([row('x0', '10.0.9.5', 'x0')], many(0, 1));
});

test('a segment: bridges joined by links of bridges, in a ring too, and never beyond a router', () => {
  const world = new World();
  world.run([
    ...['b0', 'b1', 'b2', 'b3'].map((name) => create('bridge', { name })),
    create('router', { name: 'r0' }),
    ...['r0-0', 'r0-3'].map((name) => create('port', { name, router: 'r0' })),
    create('port', { name: 'b0-r', bridge: 'b0', peer: 'r0-0' }),
    create('port', { name: 'b3-r', bridge: 'b3', peer: 'r0-3' }),
  ]);
  const segment = (name: string): string[] => {
    const port = world.topology.port(world.topology.named('port', name)[0] as PortId);
    assert(port?.type === 'router');
    return [...segmentOf(world.topology, port)].map((id) => world.topology.bridge(id)?.name ?? '');
  };
  assert.deepEqual([segment('r0-0'), segment('r0-3')], [['b0'], ['b3']]);
  const link = (a: string, b: string): void => {
    world.run([
      create('port', { name: `${a}-${b}`, bridge: a }),
      create('port', { name: `${b}-${a}`, bridge: b, peer: `${a}-${b}` }),
    ]);
  };
  link('b0', 'b1');
  link('b1', 'b2');
  link('b2', 'b0');
  assert.deepEqual([segment('r0-0').sort(), segment('r0-3')], [['b0', 'b1', 'b2'], ['b3']]);
  world.run([update('port', 'b0-r', { peer: null })]);
  assert.deepEqual(segment('r0-0'), []);
  world.run([update('port', 'b0-r', { peer: 'r0-0' })]);
  for (let i = 4; i < SEGMENT_BRIDGES_MAX + 9; i++) {
    world.create('bridge', { name: `b${i}` });
    link(`b${i - 1}`, `b${i}`);
  }
  assert.equal(segment('r0-0').length, 3);
  assert.equal(segment('r0-3').length, SEGMENT_BRIDGES_MAX);
});

test('a neighbour is in a network of the port, or on the link', () => {
  const world = new World();
  world.run([
    create('router', { name: 'r' }),
    create('port', { name: 'p', router: 'r', networks: ['10.0.0.1/24', 'fd00::1/64'] }),
  ]);
  const port = world.topology.port(world.topology.named('port', 'p')[0] as PortId);
  assert(port?.type === 'router');
  const may = (text: string): boolean => mayNeighbour(port, parseIp(text) ?? assert.fail());
  assert.deepEqual(
    ['10.0.0.9', 'fd00::9', 'fe80::9', '10.0.1.9', 'fd01::9', '169.254.0.9'].map(may),
    [true, true, true, false, false, false],
  );
});

test('what was heard across a link between bridges goes with the link', async () => {
  await using node = openNode();
  const { agent, row, operator } = await network(node);
  await agent(0).learn([row('r0-0', '10.0.0.5', 'p0')], []);
  await agent(2).learn([row('r0-0', '10.0.0.6', 'p2')], []);
  const holder = new Holder(agent(0));
  await holder.reach([`10.0.0.5 ${MAC}`, `10.0.0.6 ${MAC}`]);
  await operator.update('port', 'b0-2', { peer: null });
  await holder.reach([`10.0.0.5 ${MAC}`]);
  await holder.stop();
});
