/** A trace walks the API's own topology and what its hosts have learned. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { openNode } from './fixture.ts';

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
