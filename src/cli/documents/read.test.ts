/** Documents as files hold them: what is read, and how each mistake is told with its line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KIND_NAMES } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { filesOf } from '../files.ts';
import { DELETE_WORD, KIND_WORD } from './document.ts';
import { readDocuments } from './read.ts';

const read = (texts: Readonly<Record<string, string>>, ...paths: string[]) =>
  readDocuments({ files: filesOf(texts) }, paths.length === 0 ? Object.keys(texts) : paths);

test('documents of YAML and JSON, of files, directories and lists', async () => {
  const texts = {
    'net/a.yaml': '# a network\n---\nkind: bridge\nname: b1\n---\n---\nkind: bridge\nname: b2\n',
    'net/b.json':
      '{\n\t"items": [\n\t\t{"kind": "host", "name": "h1"},\n\t\t{"kind": "host", "name": "h2"}]}',
    'net/README.md': 'not a document',
    'net/.hidden.yaml': 'neither',
    '-': '[{"kind": "router", "name": "r0", "delete": true}]',
  };
  const found = await read(texts, 'net', '-');
  assert.deepEqual(
    found.map(({ kind, fields, place, remove }) => [kind, fields['name'], place.line, remove]),
    [
      ['bridge', 'b1', 3, false],
      ['bridge', 'b2', 7, false],
      ['host', 'h1', 3, false],
      ['host', 'h2', 4, false],
      ['router', 'r0', 1, true],
    ],
  );
});

test('anchors, merges and null', async () => {
  const [, port] = await read({
    'a.yaml': `- &base
  kind: port
  name: p1
  bridge: b1
  addresses: &seeds
    - {mac: 02:00:00:00:00:01}
- <<: *base
  name: p2
  addresses: *seeds
  vlan: null
`,
  });
  assert.deepEqual(port?.fields, {
    name: 'p2',
    bridge: 'b1',
    addresses: [{ mac: '02:00:00:00:00:01' }],
    vlan: null,
  });
  assert.equal(port?.lineOf('addresses.0.mac'), 6);
});

test('a mistake is told with file, line, field and rule, and all at once', async () => {
  const text = `kind: bridge
name: b1
adminStateUp: 3
---
kind: port
name: p1
bridge: {nme: b1}
addresses:
  - mac: 02:00:00:00:00:01
  - mac: 03:00:00:00:00:01
    ip: 10.0.0.999
floodKey: 1
---
kind: bridge
name: b2
floodKey: 7
revision: 3
---
kind: brigde
---
name: b3
---
kind: location
---
- 3
- {kind: host, name: h1, delete: 1, id: h1}
`;
  await assert.rejects(read({ 'net.yaml': text }), (error: Error) => {
    assert.deepEqual(error.message.split('\n  ').slice(1), [
      'net.yaml:3: bridge b1: adminStateUp: must be true or false',
      'net.yaml:7: port p1: bridge.name: is required',
      'net.yaml:7: port p1: bridge.nme: is not a known field',
      'net.yaml:10: port p1: addresses.1.mac: must be a unicast MAC address',
      'net.yaml:11: port p1: addresses.1.ip: must be an IPv4 or IPv6 address',
      'net.yaml:12: port p1: floodKey: is not a field of a port',
      'net.yaml:16: bridge b2: floodKey: is given by the server: leave it out',
      'net.yaml:17: bridge b2: revision: is given by the server: leave it out',
      'net.yaml:19: brigde: kind: must be one of tunnel-zone, host, chain, address-group, bridge, router, port, route, port-group, rule, load-balancer, health-monitor, pool, pool-member, vip',
      'net.yaml:21: kind: is required',
      'net.yaml:23: location: kind: must be one of tunnel-zone, host, chain, address-group, bridge, router, port, route, port-group, rule, load-balancer, health-monitor, pool, pool-member, vip',
      'net.yaml:25: must be an object with a kind',
      'net.yaml:26: host h1: delete: must be true or false',
      'net.yaml:26: host h1: id: must be the id of an object that exists, or left out',
    ]);
    return true;
  });
});

test('what is no YAML, and what is not there', async () => {
  await assert.rejects(
    read({ 'x.yaml': 'kind: bridge\nname: [b1\n' }),
    /x\.yaml:\d: Flow sequence/,
  );
  await assert.rejects(
    read({ 'x.yaml': 'kind: bridge\nkind: host\n' }),
    /x\.yaml:2: Map keys must be unique/,
  );
  await assert.rejects(read({ 'x.yaml': 'kind: *b\n' }), /x\.yaml:1: Unresolved alias/);
  await assert.rejects(read({}, 'gone.yaml'), /^UsageError: -f: ENOENT.*gone\.yaml/);
  await assert.rejects(read({ 'x.yaml': '# nothing\n' }), /no document in x\.yaml/);
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]'];
  for (const [i, name] of 'bcdefghi'.split('').entries())
    bomb.push(`${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(',')}]`);
  await assert.rejects(read({ 'x.yaml': bomb.join('\n') }), /x\.yaml:1: Excessive alias count/);
});

test('the words of documents are fields of no kind', () => {
  for (const kind of KIND_NAMES)
    for (const word of [KIND_WORD, DELETE_WORD])
      assert.ok(!(word in kindOf(kind).schema.shape), `${kind}.${word}`);
});
