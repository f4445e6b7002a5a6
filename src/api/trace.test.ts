/** A trace walks the API's own topology and what its hosts have learned. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { parseFrameText } from '#net/text.ts';
import { openNode, type Fixture } from './fixture.ts';

const FRAME = (dst: string, src: string): string => `${dst}${src}88b5${'00'.repeat(46)}`;
const MAC_A = '02:00:00:00:00:0a';
const hex = (mac: string): string => mac.replaceAll(':', '');

test('unknown, then learned, then seeded: the trace says where the frame goes', async () => {
  await using node = openNode();
  const { operator } = node;
  for (const name of ['h1', 'h2']) await operator.create('host', { name });
  await operator.create('bridge', { name: 'b' });
  for (const [i, host] of ['h1', 'h2', 'h2'].entries()) {
    const port = { name: `p${i}`, bridge: 'b', host, interface: `e${i}` };
    await operator.create('port', port);
    const agent = await node.as({ role: 'host', name: host, host });
    await agent.locate(`p${i}`, { interface: `e${i}` });
  }
  const ids = await Promise.all(
    ['p0', 'p1', 'p2'].map(async (name) => (await operator.get('port', name)).id),
  );
  const frame = FRAME(hex(MAC_A), '020000000001');
  const flooded = await operator.trace({ port: 'p0', frame });
  assert.equal(flooded.verdict, 'forward');
  assert.deepEqual(flooded.ports, ids.slice(1).sort());
  assert.ok(flooded.fields.includes('ethDst') && flooded.lines.length > 1);
  assert.ok(
    flooded.lines.some((line) => line.includes('p0')),
    flooded.lines.join('\n'),
  );
  const two = await node.as({ role: 'host', name: 'h2', host: 'h2' });
  const bridge = (await operator.get('bridge', 'b')).id;
  await two.learn([{ bridge, vlan: 0, mac: MAC_A, port: ids[2] ?? '' }], []);
  assert.deepEqual((await operator.trace({ port: 'p0', frame })).ports, [ids[2]]);
  await operator.update('port', 'p1', { addresses: [{ mac: MAC_A }] });
  assert.deepEqual((await operator.trace({ port: 'p0', frame })).ports, [ids[1]]);
  await operator.update('bridge', 'b', { adminStateUp: false });
  const dropped = await operator.trace({ port: 'p0', frame });
  assert.deepEqual([dropped.verdict, dropped.reason, dropped.ports], ['drop', 'bridge-down', []]);
});

const A = '02:00:00:00:00:01';
const B = '02:00:00:00:00:02';
const ROUTER_0 = '02:00:00:00:01:00';
const ROUTER_1 = '02:00:00:00:01:01';

/** The bytes of a frame's text, in hex. */
const bytes = (text: string): string => {
  const frame = parseFrameText(text);
  assert(frame instanceof Uint8Array, `${text}: ${JSON.stringify(frame)}`);
  return frame.toHex();
};

/** b0 with p0 (A, 10.0.0.2), and b1 with p1 (10.0.1.2 is not seeded), joined by r0. */
async function routed(node: Fixture) {
  const { operator } = node;
  await operator.transact([
    ...['h0', 'h1'].map((name) => ({ op: 'create', kind: 'host', body: { name } }) as const),
    ...['b0', 'b1'].map((name) => ({ op: 'create', kind: 'bridge', body: { name } }) as const),
    { op: 'create', kind: 'router', body: { name: 'r0' } },
    ...[
      { name: 'p0', bridge: 'b0', host: 'h0', interface: 'e' },
      { name: 'p1', bridge: 'b1', host: 'h1', interface: 'e' },
      { name: 'r0-0', router: 'r0', mac: ROUTER_0, networks: ['10.0.0.1/24'] },
      { name: 'r0-1', router: 'r0', mac: ROUTER_1, networks: ['10.0.1.1/24'], mtu: 1400 },
      { name: 'b0-r', bridge: 'b0', peer: 'r0-0' },
      { name: 'b1-r', bridge: 'b1', peer: 'r0-1' },
    ].map((body) => ({ op: 'create', kind: 'port', body }) as const),
  ]);
  const addresses = [{ mac: A, ip: '10.0.0.2' }];
  await operator.update('port', 'p0', { addresses });
  const ids = new Map((await operator.listAll('port')).map(({ id, name }) => [name ?? '', id]));
  const agents = await Promise.all(
    ['h0', 'h1'].map(async (host) => node.as({ role: 'host', name: host, host })),
  );
  for (const [i, agent] of agents.entries()) await agent.locate(`p${i}`, { interface: 'e' });
  const trace = (port: string, text: string) => operator.trace({ port, frame: bytes(text) });
  return {
    operator,
    trace,
    agent: agents[1] ?? assert.fail(),
    id: (name: string) => ids.get(name),
  };
}

test('through a router: wait, then the bytes that leave; errors and answers are shown', async () => {
  await using node = openNode();
  const { trace, agent, id } = await routed(node);
  const ping = `${A} > ${ROUTER_0} icmp 10.0.0.2 > 10.0.1.2 echo id 1 seq 1`;
  const asked = await trace('p0', ping);
  assert.deepEqual([asked.verdict, asked.ports, asked.rewritten], ['wait', [], undefined]);
  assert.equal(asked.lines.at(-1), 'wait: port r0-1 asks who has 10.0.1.2');
  const port = id('p1') ?? '';
  await agent.learn([{ of: id('r0-1') ?? '', ip: '10.0.1.2', mac: B, port }], []);
  await agent.learn(
    [{ bridge: (await node.operator.get('bridge', 'b1')).id, vlan: 0, mac: B, port }],
    [],
  );
  const sent = await trace('p0', ping);
  assert.deepEqual([sent.verdict, sent.ports, sent.sends], ['forward', [port], []]);
  const leaves = `${ROUTER_1} > ${B} icmp 10.0.0.2 > 10.0.1.2 echo id 1 seq 1 ttl 63`;
  assert.equal(sent.rewritten, bytes(leaves));

  const late = await trace('p0', `${ping} ttl 1`);
  assert.deepEqual([late.verdict, late.reason], ['drop', 'ttl-exceeded']);
  const [error] = late.sends;
  assert.equal(error?.port, id('r0-0'));
  assert.match(
    error?.text ?? '',
    new RegExp(`^${ROUTER_0} > ${A} icmp 10\\.0\\.0\\.1 > 10\\.0\\.0\\.2 `),
  );
  const big = await trace('p0', `${A} > ${ROUTER_0} udp 10.0.0.2:1 > 10.0.1.2:2 length 1480`);
  assert.equal(big.verdict, 'forward');
  assert.match(big.lines.at(-1) ?? '', /, cut to 1400 bytes$/);

  const who = await trace('p0', `${A} > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.1 tell 10.0.0.2`);
  assert.deepEqual(
    [who.verdict, who.sends.map(({ frame }) => frame)],
    ['answer', [bytes(`${ROUTER_0} > ${A} arp reply 10.0.0.1 is-at ${ROUTER_0} to 10.0.0.2`)]],
  );
});

test('a flood goes to ports that are up somewhere, beyond links of bridges, with their tags', async () => {
  await using node = openNode();
  const { operator, trace, agent, id } = await routed(node);
  await operator.transact([
    { op: 'create', kind: 'bridge', body: { name: 'b2' } },
    { op: 'create', kind: 'port', body: { name: 'p2', bridge: 'b2', host: 'h1', interface: 'f' } },
    { op: 'create', kind: 'port', body: { name: 'off', bridge: 'b2', host: 'h1', interface: 'g' } },
    { op: 'create', kind: 'port', body: { name: 'b2-0', bridge: 'b2', vlan: 7 } },
    { op: 'create', kind: 'port', body: { name: 'b0-2', bridge: 'b0', peer: 'b2-0' } },
  ]);
  await agent.locate('p2', { interface: 'f' });
  const p2 = (await operator.get('port', 'p2')).id;
  const all = await trace('p0', `${A} > ff:ff:ff:ff:ff:ff type 0x88b5`);
  assert.deepEqual([all.verdict, all.ports], ['forward', [p2]], 'p0 itself is alone in b0');
  assert.equal(all.rewritten, bytes(`${A} > ff:ff:ff:ff:ff:ff vlan 7 type 0x88b5`));
  const back = await trace('p2', `${B} > ff:ff:ff:ff:ff:ff vlan 7 type 0x88b5`);
  assert.deepEqual(back.ports, [id('p0')]);
  assert.equal(
    back.lines.at(-1),
    'forward: to all ports of bridge b2 except p2; to all ports of bridge b0, untagged',
  );
});

test('a tenant is told what becomes of its frame, and nothing of whose way it takes', async () => {
  await using node = openNode();
  const { operator } = node;
  await operator.transact([
    ...['h0', 'h1'].map((name) => ({ op: 'create', kind: 'host', body: { name } }) as const),
    { op: 'create', kind: 'bridge', body: { name: 'b0', tenant: 'red' } },
    { op: 'create', kind: 'bridge', body: { name: 'secret-b', tenant: 'blue' } },
    { op: 'create', kind: 'router', body: { name: 'secret-r', tenant: 'blue' } },
    ...[
      { name: 'p0', bridge: 'b0', host: 'h0', interface: 'e' },
      { name: 'secret-0', router: 'secret-r', mac: ROUTER_0, networks: ['10.0.0.1/24'] },
      { name: 'secret-1', router: 'secret-r', mac: ROUTER_1, networks: ['10.0.1.1/24'] },
      { name: 'secret-2', bridge: 'secret-b', peer: 'secret-1' },
      { name: 'secret-p', bridge: 'secret-b', host: 'h1', interface: 'e' },
      { name: 'b0-r', bridge: 'b0', peer: 'secret-0' },
    ].map((body) => ({ op: 'create', kind: 'port', body }) as const),
  ]);
  await operator.update('port', 'secret-p', { addresses: [{ mac: B, ip: '10.0.1.2' }] });
  const red = await node.as({ role: 'tenant', name: 'red', tenant: 'red' });
  const ids = (await operator.listAll('port'))
    .filter(({ tenant }) => tenant === 'blue')
    .map(({ id }) => id);
  const hosts = await operator.listAll('host');
  const packet = (more: string): string =>
    bytes(`${A} > ${ROUTER_0} icmp 10.0.0.2 > 10.0.1.2 echo id 1 seq 1${more}`);
  for (const frame of [packet(''), packet(' ttl 1'), packet(' ttl 2')]) {
    const told = await red.trace({ port: 'p0', frame });
    const text = JSON.stringify(told);
    assert.ok(!text.includes('secret'), text);
    for (const id of [...ids, B, ROUTER_1]) assert.ok(!text.includes(id), text);
    for (const { id } of hosts) assert.ok(!text.includes(id), text);
    assert.match(told.lines.join('\n'), /router of another tenant/);
  }
  const { verdict, rewritten } = await red.trace({ port: 'p0', frame: packet('') });
  assert.deepEqual([verdict, rewritten], ['forward', undefined]);
});
