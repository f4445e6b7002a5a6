/** `mn apply`, `diff`, `export`, `edit` and `explain` against the real API in this process. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNode, type Fixture } from '#api/fixture.ts';
import type { Client, Operation } from '#client/types.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import type { Editor } from '../editor.ts';
import { fieldsOf } from '../fields.ts';
import { filesOf } from '../files.ts';
import { EXIT } from '../io.ts';
import { mn, type Ran } from '../testing.ts';

interface Place {
  readonly node: Fixture;
  /** Every operation that was sent in a transaction. */
  readonly sent: Operation[];
  /** Runs a command; `text` is what `-f -` reads. */
  run(line: string, text?: string, client?: Client): Promise<Ran>;
  ok(line: string, text?: string): Promise<string>;
  refused(line: string, text?: string): Promise<string>;
}

async function withApi(play: (place: Place) => Promise<void>): Promise<void> {
  await using node = openNode();
  const sent: Operation[] = [];
  const recording: Client = {
    ...node.operator,
    transact: (operations, ...rest) => {
      sent.push(...operations);
      return node.operator.transact(operations, ...rest);
    },
  };
  const run: Place['run'] = (line, text = '', client = recording) =>
    mn(client, line, { files: filesOf({ '-': text }) });
  const expect =
    (code: number) =>
    async (line: string, text?: string): Promise<string> => {
      const ran = await run(line, text);
      assert.equal(ran.code, code, `mn ${line}\n${ran.out}${ran.err}`);
      return code === EXIT.ok ? ran.out : ran.err;
    };
  await play({ node, sent, run, ok: expect(EXIT.ok), refused: expect(EXIT.refused) });
}

const NETWORK = `
kind: route
router: r0
destination: 10.9.0.0/16
port: r0-b1
gateway: 10.0.1.9
---
kind: port
name: b1-r0
bridge: b1
peer: r0-b1
---
kind: port
name: r0-b1
router: r0
peer: b1-r0
networks: [10.0.1.1/24]
---
kind: tunnel-zone
name: z
members: [{ host: h1, address: 172.16.0.1 }]
---
{ kind: bridge, name: b1 }
---
{ kind: router, name: r0 }
---
{ kind: host, name: h1 }
---
kind: port
name: vm1
bridge: b1
host: h1
interface: tap0
addresses: [{ mac: 02:00:00:0A:01:02, ip: 10.0.1.2 }]
`;

test('documents in any order, with references among them', () =>
  withApi(async ({ node, ok }) => {
    assert.match(await ok('apply -f -', NETWORK), /\n8 created\n$/);
    const port = await node.operator.get('port', 'r0-b1');
    const peer = await node.operator.get('port', 'b1-r0');
    assert.equal((port as { peer?: string }).peer, peer.id);
    // Values are compared as the store holds them, however they are written.
    assert.match(await ok('apply -f -', NETWORK), /\n8 unchanged\n$/);
  }));

test('a field that is left out stays, null clears, and only what differs is sent', () =>
  withApi(async ({ node, sent, ok }) => {
    await ok('apply -f -', NETWORK);
    await ok('port update vm1 --admin-state-up false --hairpin true');
    sent.length = 0;
    const text = NETWORK.replace('interface: tap0', 'interface: tap1\nhairpin: null');
    assert.match(await ok('apply -f -', text), /^updated port vm1: interface, hairpin\n/m);
    assert.deepEqual(
      sent.map((operation) => operation.op !== 'delete' && Object.keys(operation.body)),
      [['interface', 'hairpin']],
    );
    const port = (await node.operator.get('port', 'vm1')) as unknown as Record<string, unknown>;
    assert.equal(port['adminStateUp'], false);
    assert.equal(port['hairpin'], false);
    assert.match(await ok('apply -f -', text), /\n8 unchanged\n$/);
    await ok('apply -f -', 'kind: port\nname: r0-b1\nmac: 02:00:00:00:00:09\n');
    await ok('apply -f -', 'kind: port\nname: r0-b1\nmac: null\n');
    assert.match(await ok('apply -f -', 'kind: port\nname: r0-b1\nmac: null\n'), /1 unchanged/);
  }));

test('what is wrong is told with its place, and nothing is changed', () =>
  withApi(async ({ node, sent, ok, refused, run }) => {
    await ok('apply -f -', NETWORK);
    const { revision } = await node.operator.status();
    sent.length = 0;
    const cases: readonly (readonly [string, RegExp])[] = [
      ['kind: port\nname: p\nbridge: b9\n', /input:3: port p: bridge: no bridge is named "b9"/],
      [
        'kind: port\nname: vm1\nbridge: b1\nrouter: r0\n',
        /port vm1: bridge: is not a field of a router port/,
      ],
      [
        'kind: port\nname: p9\nbridge: b1\nnetworks: [10.0.0.1/24]\n',
        /networks: is not a field of a bridge port/,
      ],
      ['kind: port\nname: p9\n', /input:1: port p9: bridge: is required/],
      ['kind: bridge\nadminStateUp: true\n', /bridge: name: is required, or an id/],
      [
        '{kind: bridge, name: x}\n---\n{kind: bridge, name: x}\n',
        /input:3: bridge x: is described at standard input:1 already/,
      ],
      [
        '{kind: host, name: h2}\n---\nkind: port\nname: p2\nbridge: b1\nhost: h2\ninterface: a\naddresses: [{mac: 02:00:00:0a:01:02}]\n',
        /input:8: port p2: addresses\.0\.mac: is an address of port vm1/,
      ],
      ['kind: bridge\nid: 00000000-0000-4000-8000-000000000000\n', /id: no bridge has the id 0/],
      [
        '{kind: port, name: vm1, peer: {name: vm1, bridge: b7}}',
        /peer: no port is named "vm1" of bridge "b7"/,
      ],
    ];
    for (const [text, expected] of cases) assert.match(await refused('apply -f -', text), expected);
    assert.equal((await node.operator.status()).revision, revision);
    assert.deepEqual(sent, []);
    assert.equal((await run('apply')).code, EXIT.usage);
    assert.equal((await run('apply -f nowhere')).code, EXIT.usage);
  }));

test('names are those of the tenant, of the device, or of who says whose they are', () =>
  withApi(async ({ node, ok, refused }) => {
    const of = (tenant: string): string => `
{ kind: bridge, name: net, tenant: ${tenant} }
---
{ kind: bridge, name: other, tenant: ${tenant} }
---
{ kind: port, name: p, bridge: { name: net, tenant: ${tenant} } }
---
{ kind: port, name: p, bridge: { name: other, tenant: ${tenant} } }
---
{ kind: router, name: r, tenant: ${tenant} }
---
{ kind: port, name: q, router: { name: r, tenant: ${tenant} }, peer: { name: p, bridge: net } }
`;
    await ok('apply -f -', of('acme'));
    await ok('apply -f -', of('zeta'));
    assert.match(await ok('apply -f -', of('acme')), /\n6 unchanged\n$/);
    assert.match(
      await refused('apply -f -', 'kind: bridge\nname: net\n'),
      /2 bridges are named "net"/,
    );
    assert.match(
      await refused('apply -f -', '{kind: port, name: x, bridge: net}'),
      /bridge: 2 bridges are named "net": say whose it is/,
    );
    const text = await ok('export');
    await using fresh = openNode();
    const made = await mn(fresh.operator, 'apply -f -', { files: filesOf({ '-': text }) });
    assert.equal(made.code, EXIT.ok, made.err);
    assert.equal((await mn(fresh.operator, 'export')).out, text);
    const tenant = await node.as({ role: 'tenant', name: 'a', tenant: 'acme' });
    const own = await mn(tenant, 'apply -f -', {
      files: filesOf({ '-': '{kind: bridge, name: net, adminStateUp: false}' }),
    });
    assert.match(own.out, /^updated bridge net: adminStateUp\n/, own.err);
    assert.match((await mn(tenant, 'export bridge')).out, /tenant: acme/);
    assert.doesNotMatch((await mn(tenant, 'export')).out, /zeta/);
  }));

test('links move between ports, whatever comes first', () =>
  withApi(async ({ ok }) => {
    const ports = (links: Readonly<Record<string, string>>): string =>
      ['a', 'b', 'c', 'd']
        .map(
          (n) =>
            `{kind: bridge, name: net-${n}}\n---\n{kind: port, name: ${n}, bridge: net-${n}, peer: ${links[n]}}`,
        )
        .join('\n---\n');
    for (const links of [
      { a: 'b', b: 'a', c: 'd', d: 'c' },
      { a: 'c', b: 'd', c: 'a', d: 'b' },
      { a: 'd', b: 'c', c: 'b', d: 'a' },
    ]) {
      await ok('apply -f -', ports(links));
      assert.match(await ok('apply -f -', ports(links)), /\n8 unchanged\n$/);
    }
  }));

test('a document can say that there is to be no such object', () =>
  withApi(async ({ ok, refused }) => {
    await ok('apply -f -', NETWORK);
    const gone =
      'kind: port\nname: vm1\nbridge: b1\ndelete: true\n---\n{kind: host, name: h1, delete: true}';
    assert.match(await ok('apply -f -', gone), /^deleted port vm1\ndeleted host h1\n2 deleted\n$/);
    assert.match(await ok('apply -f -', gone), /\n2 unchanged\n$/);
    assert.match(
      await refused(
        'apply -f -',
        '{kind: bridge, name: b1, delete: true}\n---\n{kind: port, name: b1-r0, adminStateUp: false}',
      ),
      /bridge b1: cannot be deleted: with it would go port b1-r0, which standard input:3 describes/,
    );
    assert.match(
      await refused(
        'apply -f -',
        '{kind: bridge, name: b1, delete: true}\n---\n{kind: port, name: n, bridge: b1}',
      ),
      /bridge: is deleted by standard input:1/,
    );
    await ok('apply -f -', '{kind: bridge, name: b1, delete: true}');
    assert.match(
      await ok('apply -f -', '{kind: port, name: b1-r0, bridge: b1, delete: true}'),
      /1 unchanged/,
    );
  }));

test('diff says what apply would do, and its code whether it would do anything', () =>
  withApi(async ({ ok, run, sent }) => {
    await ok('apply -f -', NETWORK);
    assert.equal(await ok('diff -f -', NETWORK), '8 unchanged\n');
    sent.length = 0;
    const text = `${NETWORK.replace('ip: 10.0.1.2 }', 'ip: 10.0.1.2 }, { mac: 02:00:00:00:01:03 }')}
---
{ kind: port, name: vm2, bridge: b1, host: h1, interface: tap1 }
---
{ kind: tunnel-zone, name: z2, delete: true }
`;
    const { code, out } = await run('diff -f -', text);
    assert.equal(code, EXIT.different);
    assert.equal(
      out,
      `--- port vm1 (as it is)
+++ port vm1 (standard input:29)
 addresses: mac=02:00:00:0a:01:02,ip=10.0.1.2
+addresses: mac=02:00:00:00:01:03
--- port vm2 (not there)
+++ port vm2 (standard input:37)
+name: vm2
+bridge: b1
+host: h1
+interface: tap1
1 created, 1 updated, 8 unchanged
`,
    );
    assert.deepEqual(sent, []);
    const coloured = await mn(openNode().operator, 'diff -f -', {
      files: filesOf({ '-': '{kind: bridge, name: b}' }),
      colour: true,
    });
    assert.match(coloured.out, /\u001b\[32m\+name: b\u001b\[/);
  }));

/** An editor that writes what `change` answers, and remembers which files are left. */
function scripted(change: (text: string) => string | Promise<string>) {
  const left = new Map<string, string>();
  const editor: Editor = {
    edit: async (name, text) => {
      const edited = await change(text);
      left.set(name, edited);
      return { file: name, text: edited };
    },
    discard: async (file) => void left.delete(file),
  };
  return { editor, left };
}

test('edit: what is saved is set, what is taken out is cleared, and a lost text is kept', () =>
  withApi(async ({ node, ok }) => {
    await ok('apply -f -', NETWORK);
    const { operator } = node;
    const edit = async (
      change: (text: string) => string | Promise<string>,
      line = 'edit port vm1',
    ) => {
      const { editor, left } = scripted(change);
      return { ...(await mn(operator, line, { editor })), left: [...left.keys()] };
    };
    const same = await edit((text) => text);
    assert.deepEqual([same.code, same.out, same.left], [EXIT.ok, 'unchanged port vm1\n', []]);
    const renamed = await edit((text) =>
      text.replace('name: vm1', 'name: vm9').replace(/addresses:\n.*\n.*\n/, ''),
    );
    assert.deepEqual(
      [renamed.code, renamed.out, renamed.left],
      [EXIT.ok, 'updated port vm1\n', []],
    );
    const port = (await operator.get('port', 'vm9')) as unknown as Record<string, unknown>;
    assert.deepEqual(port['addresses'], []);
    const refused = await edit((text) => text.replace('tap0', 'a/b'), 'edit port vm9');
    assert.equal(refused.code, EXIT.refused);
    assert.match(refused.err, /port-vm9\.yaml:\d+: port vm9: interface: must be an interface name/);
    assert.match(refused.err, /hint: Your text is in port-vm9\.yaml/);
    assert.deepEqual(refused.left, ['port-vm9.yaml']);
    const raced = await edit(async (text) => {
      await ok('port update vm9 --admin-state-up false');
      return text.replace('tap0', 'tap7');
    }, 'edit port vm9');
    assert.equal(raced.code, EXIT.refused);
    assert.match(raced.err, /is at revision \d+, not \d+[^]*Your text is in port-vm9\.yaml/);
    assert.equal(((await operator.get('port', 'vm9')) as { interface?: string }).interface, 'tap0');
    const other = await edit((text) => text.replace(/^id: .*$/m, ''), 'edit port vm9');
    assert.match(other.err, /kind and id stay/);
    assert.equal((await mn(operator, 'edit location x')).code, EXIT.usage);
    assert.equal((await mn(operator, 'edit bridge b1')).code, EXIT.usage);
  }));

test('explain knows every kind and every field, from the table', () =>
  withApi(async ({ ok, run }) => {
    for (const name of KIND_NAMES) {
      const kind = kindOf(name);
      const whole = await ok(`explain ${name}`);
      assert.ok(whole.includes(kind.about), name);
      for (const field of fieldsOf(kind)) {
        assert.ok(whole.includes(`${field.name}`), `${name}.${field.name}`);
        const paths = [field.name, ...field.element.map((part) => `${field.name}.${part.name}`)];
        for (const path of paths) {
          const said = await ok(`explain ${name}.${path}`);
          assert.match(said, /^type +\S/m, path);
          assert.match(said, /^set by +\S/m, path);
          const reference = kind.references[path];
          assert.equal(/^reference +when that/m.test(said), reference !== undefined, path);
          assert.equal(/^changes +never/m.test(said), kind.immutable.includes(path), path);
        }
      }
    }
    const seen = await ok('explain port.addresses');
    assert.match(seen, /^limits +at most 64 elements$/m);
    assert.match(seen, /^default +\[\]$/m);
    assert.match(await ok('explain port.host'), /^set by +operators$/m);
    assert.match(await ok('explain bridge.floodKey'), /^set by +the server$/m);
    assert.match((await run('explain prot')).err, /there is no kind 'prot'/);
    assert.match((await run('explain port.mac.x')).err, /port\.mac has no fields/);
    assert.match((await run('explain port.nme')).err, /there is no field 'nme'/);
  }));
