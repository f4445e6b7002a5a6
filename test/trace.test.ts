/** The agent of a host, asked, decides what the API decides, once both know the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '#client/errors.ts';
import { parseFrameText } from '#net/text.ts';
import { parseIp, type Ip } from '#net/ip.ts';
import { World } from './world.ts';

const MAC = { vm1: '02:00:00:00:01:02', vm2: '02:00:00:00:02:02' } as const;
const GATEWAY = { vm1: '02:00:00:00:01:01', vm2: '02:00:00:00:02:01' } as const;
const PACKETS = (from: 'vm1' | 'vm2'): readonly string[] => {
  const [own, other] = from === 'vm1' ? ['10.0.1.2', '10.0.2.2'] : ['10.0.2.2', '10.0.1.2'];
  const head = `${MAC[from]} > ${GATEWAY[from]}`;
  return [
    `${head} icmp ${own} > ${other}`,
    `${head} icmp ${own} > ${other} ttl 1`,
    `${head} tcp ${own}:9 > ${other}:80`,
    `${head} udp ${own}:1 > 192.0.2.1:2`,
    `${head} icmp ${own} > 10.0.1.1`,
    `${MAC[from]} > ff:ff:ff:ff:ff:ff arp who-has ${other} tell ${own}`,
    `02:00:00:00:00:77 > ff:ff:ff:ff:ff:ff type 0x88b5`,
    `01:00:00:00:00:01 > ${GATEWAY[from]} type 0x88b5`,
  ];
};

test('trace by an agent: as the API, of what both know; refused where it has no part', async () => {
  await using world = await World.open({
    hosts: ['h1', 'h2', 'h3'],
    workloads: [
      { name: 'vm1', host: 'h1', mac: MAC.vm1, addresses: ['10.0.1.2/24'], via: ['10.0.1.1'] },
      { name: 'vm2', host: 'h2', mac: MAC.vm2, addresses: ['10.0.2.2/24'], via: ['10.0.2.1'] },
    ],
  });
  const { client } = world;
  const make = (kind: 'bridge' | 'router' | 'port', body: Record<string, unknown>) =>
    ({ op: 'create', kind, body }) as const;
  await client.transact([
    make('bridge', { name: 'b1' }),
    make('bridge', { name: 'b2' }),
    make('router', { name: 'r0' }),
    make('port', { name: 'vm1', bridge: 'b1', host: 'h1', interface: 'vm1' }),
    make('port', { name: 'vm2', bridge: 'b2', host: 'h2', interface: 'vm2' }),
    make('port', { name: 'r0-b1', router: 'r0', mac: GATEWAY.vm1, networks: ['10.0.1.1/24'] }),
    make('port', { name: 'r0-b2', router: 'r0', mac: GATEWAY.vm2, networks: ['10.0.2.1/24'] }),
    make('port', { name: 'b1-r0', bridge: 'b1', peer: 'r0-b1' }),
    make('port', { name: 'b2-r0', bridge: 'b2', peer: 'r0-b2' }),
  ]);
  await world.settle();
  world.workload('vm1').ping(parseIp('10.0.2.2') as Ip, { id: 1 });
  await world.settle();
  assert.equal(world.workload('vm1').outcome(1)?.kind, 'reply');
  for (const [port, host] of [
    ['vm1', 'h1'],
    ['vm2', 'h2'],
  ] as const)
    for (const text of PACKETS(port)) {
      const bytes = parseFrameText(text);
      assert.ok(bytes instanceof Uint8Array, text);
      const request = { port, frame: bytes.toHex() };
      const { host: by, ...told } = await client.trace({ ...request, host });
      assert.deepEqual(told, await client.trace(request), text);
      assert.equal(by, world.host(host).id);
    }
  const [text = ''] = PACKETS('vm1');
  const request = { port: 'vm1', frame: (parseFrameText(text) as Uint8Array).toHex() };
  const refusal = async (host: string): Promise<string> => {
    const error = await client.trace({ ...request, host }).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof ApiError);
    return JSON.stringify([error.status, error.problem.detail, error.problem.errors]);
  };
  assert.match(await refusal('h3'), /^\[409,.*"host".*has no part in the network of that port/);
  assert.match(await refusal('h9'), /^\[404,/);
  await world.agent('h1', 'stop');
  assert.match(await refusal('h1'), /^\[503,/);
});
