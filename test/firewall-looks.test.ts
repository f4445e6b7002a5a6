/**
 * A firewall at work on two hosts in one process: what its rules count and write down, the
 * connections that are known, and what of all that a tenant is told.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitWords } from '#cli/testing.ts';
import type { Client } from '#client/types.ts';
import { parseFrameText } from '#net/text.ts';
import { World } from './world.ts';

const COMMANDS = `
bridge create --name b0 --tenant red
chain create --name in --tenant red
rule create --chain in --action accept --ether-type arp --name arp
rule create --chain in --action continue --name all
rule create --chain in --action accept --connection established --name answers
rule create --chain in --action accept --protocol udp --destination-ports 53 --name dns
rule create --chain in --action drop --log true --name rest
port create --name vm1 --bridge b0 --host h1 --interface vm1 --addresses mac=02:00:00:00:00:01,ip=10.0.0.1 --outbound-filter in
port create --name vm2 --bridge b0 --host h2 --interface vm2 --addresses mac=02:00:00:00:00:02,ip=10.0.0.2 --outbound-filter in --wait`;

async function stage(): Promise<World> {
  const workload = (n: number) => ({
    name: `vm${n}`,
    host: `h${n}`,
    mac: `02:00:00:00:00:0${n}`,
    // Not the address that frames are for: nothing answers them.
    addresses: [`10.0.0.10${n}/24`],
  });
  const world = await World.open({ hosts: ['h1', 'h2'], workloads: [workload(1), workload(2)] });
  for (const line of COMMANDS.trim().split('\n')) await world.mn(splitWords(line));
  return world;
}
async function send(world: World, from: 1 | 2, text: string): Promise<void> {
  const other = 3 - from;
  const frame = parseFrameText(
    `02:00:00:00:00:0${from} > 02:00:00:00:00:0${other} ${text.replace('A', `10.0.0.${from}`).replace('B', `10.0.0.${other}`)}`,
  );
  assert.ok(frame instanceof Uint8Array, JSON.stringify(frame));
  world.transmit(`vm${from}`, frame);
  await world.settle();
}
const counts = async (client: Client): Promise<Record<string, number>> =>
  Object.fromEntries(
    (await client.ruleCounts({ chain: 'in' })).rows.map(({ ruleName, packets }) => [
      ruleName,
      packets,
    ]),
  );

test('a rule counts every packet that it matched, whoever carried it', async () => {
  await using world = await stage();
  const { client } = world;
  const none = { arp: 0, all: 0, answers: 0, dns: 0, rest: 0 };
  assert.deepEqual(await counts(client), none);
  for (let n = 0; n < 5; n++) await send(world, 1, 'udp A:4000 > B:53');
  assert.deepEqual(await counts(client), { ...none, all: 5, dns: 5 });
  for (let n = 0; n < 3; n++) await send(world, 2, 'udp A:53 > B:4000');
  for (let n = 0; n < 4; n++) await send(world, 2, 'udp A:54 > B:4000');
  const after = { ...none, all: 12, dns: 5, answers: 3, rest: 4 };
  assert.deepEqual(await counts(client), after);
  const rows = (await client.ruleCounts({ rule: 'dns' })).rows;
  assert.equal(rows.length, 1);
  assert.equal(rows[0]?.bytes, 5 * (14 + 20 + 8));
  // Flows go, what they counted stays; a rule that moves keeps its count.
  world.host('h1').edge?.forgetFlows();
  world.host('h2').edge?.forgetFlows();
  assert.deepEqual(await counts(client), after);
  await world.mn(['rule', 'update', 'dns', '--position', '250', '--wait']);
  await send(world, 1, 'udp A:4000 > B:53');
  assert.deepEqual(await counts(client), { ...after, all: 13, dns: 6 });
  await world.mn(['rule', 'delete', 'dns', '--wait']);
  await send(world, 1, 'udp A:4000 > B:53');
  const { dns: _gone, ...left } = await counts(client);
  assert.deepEqual(left, { arp: 0, all: 14, answers: 3, rest: 5 });
});

test('a logged rule writes a line for each flow, within its budget', async () => {
  await using world = await stage();
  const { client } = world;
  await send(world, 2, 'udp A:54 > B:4000');
  await send(world, 2, 'udp A:54 > B:4000');
  await send(world, 2, 'tcp A:1024 > B:22 syn');
  const { rows } = await client.ruleLog({ chain: 'in' });
  assert.deepEqual(
    rows.map(({ hostName, ruleName, action, port, packet }) =>
      [hostName, ruleName, action, port, packet].join(' | '),
    ),
    [
      'h2 | rest | drop | vm2 | 02:00:00:00:00:02 > 02:00:00:00:00:01 udp 10.0.0.2:54 > 10.0.0.1:4000',
      'h2 | rest | drop | vm2 | 02:00:00:00:00:02 > 02:00:00:00:00:01 tcp 10.0.0.2:1024 > 10.0.0.1:22',
    ],
  );
  for (let n = 0; n < 100; n++) await send(world, 2, `udp A:54 > B:${5_000 + n}`);
  const all = (await client.ruleLog({ rule: 'rest' })).rows;
  assert.ok(all.length < 60, `${all.length} lines`);
  await world.advance(2_000);
  await send(world, 2, 'udp A:54 > B:7');
  const last = (await client.ruleLog({ rule: 'rest' })).rows.at(-1);
  assert.ok((last?.left ?? 0) > 40, `${last?.left} left out`);
  const said = await world.mn(['rule', 'log', '--rule', 'rest', '--where', 'left>0']);
  assert.match(said, /10\.0\.0\.2:54 > 10\.0\.0\.1:7/);
});

test('a connection is one row, with what was seen of it', async () => {
  await using world = await stage();
  const { client } = world;
  assert.deepEqual((await client.connections()).items, []);
  await send(world, 1, 'udp A:4000 > B:53');
  const words = async (query = {}) =>
    (await client.connections(query)).items.map(
      ({ hostName, protocol, from, to, fromPort, toPort, phase }) =>
        [hostName, protocol, from, to, fromPort, toPort, phase].join(' '),
    );
  const row = 'h1 udp 10.0.0.1:4000 10.0.0.2:53 vm1 vm2';
  assert.deepEqual(await words(), [`${row} unanswered`]);
  await send(world, 2, 'udp A:53 > B:4000');
  await world.advance(1_000);
  assert.deepEqual(await words(), [`${row} answered`]);
  assert.deepEqual(await words({ port: 'vm1' }), [`${row} answered`]);
  assert.deepEqual(await words({ port: 'vm2' }), [row.replace('h1', 'h2') + ' answered']);
  assert.deepEqual(await words({ host: 'h2' }), [], 'h2 has a record, and h1 tells of it');
  for (let n = 1; n < 6; n++) await send(world, 1, `udp A:${4_000 + n} > B:53`);
  const found: string[] = [];
  for (let after: string | undefined; ;) {
    const page = await client.connections({ limit: 2, ...(after && { after }) });
    found.push(...page.items.map(({ id }) => id));
    if ((after = page.next) === undefined) break;
  }
  assert.equal(new Set(found).size, 6);
  assert.equal(found.length, 6);
  assert.match(await world.mn(['connections', '--port', 'vm1']), /udp +10\.0\.0\.1:4000/);
  await world.advance(200_000);
  assert.deepEqual(await words(), []);
});

test('a tenant is told of its own rules, lines and connections, and of no hosts', async () => {
  await using world = await stage();
  await send(world, 1, 'udp A:4000 > B:53');
  await send(world, 2, 'udp A:54 > B:4000');
  const red = await world.as({ role: 'tenant', name: 'red', tenant: 'red' });
  const other = await world.as({ role: 'tenant', name: 'other', tenant: 'other' });
  // Ports are of their bridge's tenant.
  assert.equal((await counts(red))['dns'], 1);
  const [line] = (await red.ruleLog()).rows;
  assert.deepEqual([line?.host, line?.hostName, line?.port], [undefined, undefined, 'vm2']);
  const [connection] = (await red.connections()).items;
  assert.equal(connection?.host, undefined);
  assert.match(connection?.id ?? '', /^vm1:/);
  assert.equal((await red.connections()).items.length, 1);
  assert.deepEqual((await other.ruleCounts()).rows, []);
  assert.deepEqual((await other.ruleLog()).rows, []);
  assert.deepEqual((await other.connections()).items, []);
  await assert.rejects(other.ruleCounts({ chain: 'in' }), /in/);
  await assert.rejects(red.connections({ host: 'h1' }), /for operators/);
});
