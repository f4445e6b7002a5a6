/** Live flows through a whole cluster in one process: listed, followed, and why they are there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runCli } from '#cli/cli.ts';
import { splitWords } from '#cli/testing.ts';
import type { FlowRow } from '#client/flows.ts';
import { parseFrameText } from '#net/text.ts';
import { World } from './world.ts';

const COMMANDS = `
bridge create --name b1
bridge create --name b2
port create --name vm1 --bridge b1 --host h1 --interface vm1 --addresses mac=02:00:00:00:01:02,ip=10.0.1.2
port create --name vm2 --bridge b2 --host h2 --interface vm2 --addresses mac=02:00:00:00:02:02,ip=10.0.2.2
router create --name r0
port create --name r0-b1 --router r0 --mac 02:00:00:00:01:01 --networks 10.0.1.1/24
port create --name r0-b2 --router r0 --mac 02:00:00:00:02:01 --networks 10.0.2.1/24
port create --name b1-r0 --bridge b1 --peer r0-b1
port create --name b2-r0 --bridge b2 --peer r0-b2 --wait`;

/** Two subnets and a router, over two hosts. */
async function routed(): Promise<World> {
  const workload = (n: number, host: string) => ({
    name: `vm${n}`,
    host,
    mac: `02:00:00:00:0${n}:02`,
    addresses: [`10.0.${n}.2/24`],
    via: [`10.0.${n}.1`],
  });
  const workloads = [workload(1, 'h1'), workload(2, 'h2')];
  const world = await World.open({ hosts: ['h1', 'h2'], workloads });
  for (const line of COMMANDS.trim().split('\n')) await world.mn(splitWords(line));
  return world;
}
const udp = (from: number, to: number, more = ''): string =>
  `02:00:00:00:01:02 > 02:00:00:00:01:01 udp 10.0.1.2:${from} > 10.0.2.2:${to}${more}`;
async function send(world: World, text: string): Promise<void> {
  const frame = parseFrameText(text);
  assert.ok(frame instanceof Uint8Array, JSON.stringify(frame));
  world.transmit('vm1', frame);
  await world.settle();
}
const causes = (rows: readonly FlowRow[]) =>
  rows.map(({ match, lines, actions }) => [match, actions, ...lines]).toSorted();

test('flows of all hosts are listed page by page, each once', async () => {
  await using world = await routed();
  // Tags make each of them a flow of its own.
  for (let vlan = 1; vlan <= 5; vlan++)
    await send(world, udp(1, 2).replace(' udp', ` vlan ${vlan} udp`));
  await send(world, udp(1, 2));
  const { items: all, next: none } = await world.client.flows({ limit: 1_000 });
  assert.equal(none, undefined);
  assert.ok(all.length > 5);
  const found: string[] = [];
  for (let after: string | undefined; ;) {
    const page = await world.client.flows({ limit: 2, ...(after && { after }) });
    assert.ok(page.items.length <= 2);
    found.push(...page.items.map(({ id }) => id));
    after = page.next;
    if (after === undefined) break;
  }
  assert.deepEqual(
    found,
    all.map(({ id }) => id),
  );
  const own = await world.client.flows({ port: 'vm1', host: 'h1' });
  assert.deepEqual(new Set(own.items.map(({ portName }) => portName)), new Set(['vm1']));
  assert.deepEqual((await world.client.flows({ port: 'vm1', host: 'h2' })).items, []);
});

test('a host that is cut off is named; the flows of others are there', async () => {
  await using world = await routed();
  await send(world, udp(1, 2));
  world.cut('h2', true);
  const { items, missing } = await world.client.flows();
  assert.deepEqual(new Set(items.map(({ hostName }) => hostName)), new Set(['h1']));
  assert.deepEqual(missing, [{ host: 'h2', why: 'no agent of it is connected' }]);
  world.cut('h2', false);
});

test('an agent that adopts flows comes to the causes that they had', async () => {
  await using world = await routed();
  await send(world, udp(1, 2));
  await send(world, udp(1, 2).replace('10.0.2.2', '10.9.9.9'));
  const before = (await world.client.flows({ host: 'h1' })).items;
  assert.ok(before.some(({ verdict }) => verdict === 'forward'));
  await world.agent('h1', 'kill');
  await world.agent('h1', 'start');
  const after = (await world.client.flows({ host: 'h1' })).items;
  assert.deepEqual(causes(after), causes(before));
  assert.deepEqual(
    after.map(({ id }) => id),
    before.map(({ id }) => id),
  );
});

test('a packet that its flow would hand up is told apart', async () => {
  await using world = await routed();
  await send(world, udp(1, 2));
  const hex = (text: string): string => {
    const frame = parseFrameText(text);
    assert.ok(frame instanceof Uint8Array);
    return frame.toHex();
  };
  const served = await world.client.whyPacket('vm1', hex(udp(7, 8)));
  assert.equal(served.flow?.verdict, 'forward');
  assert.equal(served.trace, undefined);
  const short = await world.client.whyPacket('vm1', hex(udp(7, 8, ' ttl 1')));
  assert.equal(short.flow?.id, served.flow?.id);
  assert.match(short.beyond ?? '', /TTL/);
  assert.equal(short.trace?.verdict, 'drop');
  assert.equal(short.trace?.reason, 'ttl-exceeded');
  const large = await world.client.whyPacket('vm1', hex(udp(7, 8, ' length 1473')));
  assert.match(large.beyond ?? '', /larger/);
});

test('why changes nothing: no flow, no claim, no counter', async () => {
  await using world = await routed();
  const counters = () => {
    const { upcalls, flowsInstalled } = world.host('h1').edge?.state().counters ?? {};
    return [upcalls, flowsInstalled, world.host('h1').datapath.dump().length];
  };
  const before = counters();
  const unknown = parseFrameText(udp(1, 2).replace('01:02 >', '01:77 >'));
  assert.ok(unknown instanceof Uint8Array);
  for (let i = 0; i < 3; i++) {
    const why = await world.client.whyPacket('vm1', unknown.toHex());
    assert.match(why.trace?.lines.join() ?? '', /learn 02:00:00:00:01:77/);
  }
  assert.deepEqual(counters(), before);
});

test('between two ports: flows there and back, and what is dropped on the way', async () => {
  await using world = await routed();
  await send(world, udp(1, 2));
  await send(world, udp(1, 2).replace('10.0.2.2', '10.9.9.9'));
  let pair = await world.client.whyPair('vm1', 'vm2');
  assert.deepEqual(
    pair.forth.map(({ verdict }) => verdict),
    ['forward'],
  );
  await world.mn(splitWords('port update vm2 --admin-state-up false'));
  await send(world, udp(1, 2));
  pair = await world.client.whyPair('vm1', 'vm2');
  assert.deepEqual(
    pair.forth.map(({ reason }) => reason),
    ['port-down'],
  );
  const printed = await world.mn(['why', 'vm1', 'vm2']);
  assert.match(printed, /vm1 > vm2: 1 flow/);
  assert.match(printed, /drop: The port is administratively down\./);
});

test('what no flow dropped is told from the counters of the port', async () => {
  await using world = await routed();
  const frame = parseFrameText(udp(1, 2).replace('10.0.2.2', '10.9.9.9'));
  assert.ok(frame instanceof Uint8Array);
  // More first packets at once than the budget of a port lets up.
  for (let i = 0; i < 20_000; i++) world.transmit('vm1', frame);
  await world.settle();
  const { drops } = await world.client.whyPacket('vm1', frame.toHex());
  const budget = drops.find(({ reason }) => reason.startsWith('upcall-'));
  assert.ok(budget !== undefined && budget.frames > 1_000, JSON.stringify(drops));
  assert.equal(budget.port, 'vm1');
  assert.match(
    await world.mn(['why', 'udp 10.0.1.2:1 > 10.9.9.9:2 from vm1']),
    /besides, of port vm1 \d+ frames dropped by no flow here: upcall-\w+: [A-Z]/,
  );
});

test('flows that come and go are followed, as lines', async () => {
  await using world = await routed();
  let out = '';
  let looks = 0;
  const looked = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const running = runCli(splitWords('flows --follow --port vm1 --count 2'), {
    client: world.client,
    out: (text) => (out += text),
    err: () => {},
    sleep: async () => {
      looks += 1;
      looked.resolve();
      await go.promise;
      if (looks === 2) await world.mn(splitWords('port update vm2 --admin-state-up false'));
    },
  });
  await looked.promise;
  await send(world, udp(1, 2));
  go.resolve();
  assert.equal(await running, 0);
  const [came, went] = out.split('\n');
  assert.match(came ?? '', /^\+ h1:\d+\.\d+ vm1 {2}.* > 10\.0\.2\.2 {2}forward$/);
  assert.match(went ?? '', /^- h1:\d+\.\d+ vm1 .*forward {2}1 packet, \d+ bytes$/);
});
