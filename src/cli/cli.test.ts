/**
 * The command line against an API in a Map: what is asked, what is printed, which code comes back.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Unavailable } from '#client/errors.ts';
import { EXIT } from './io.ts';
import { type FakeApi, fakeApi, mn, refusal, uuidOf } from './testing.ts';

function withBridge(): FakeApi {
  const api = fakeApi();
  api.add('host', { name: 'h1' });
  api.add('host', { name: 'h2' });
  api.add('bridge', { name: 'b0' });
  return api;
}
const last = (api: FakeApi, call: string) => api.asked.findLast((ask) => ask.call === call)?.args;

test('create sends the flags as the schema types them', async () => {
  const api = withBridge();
  const ran = await mn(
    api.client,
    'port create p1 --bridge b0 --admin-state-up false --hairpin=true ' +
      '--addresses mac=02:00:00:00:00:01,ip=10.0.0.1 --addresses mac=02:00:00:00:00:02',
  );
  assert.deepEqual(ran, { code: EXIT.ok, out: 'created port p1\n', err: '' });
  assert.deepEqual(last(api, 'create'), [
    'port',
    {
      name: 'p1',
      bridge: 'b0',
      adminStateUp: false,
      hairpin: true,
      addresses: [{ mac: '02:00:00:00:00:01', ip: '10.0.0.1' }, { mac: '02:00:00:00:00:02' }],
    },
  ]);
});

test('list shows references by name, in the columns of the kind', async () => {
  const api = withBridge();
  api.add('port', { name: 'p1', bridge: 'b0', host: 'h1', interface: 'vm1' });
  const { out, code } = await mn(api.client, 'port list');
  const [head = '', row = '', ...more] = out.trimEnd().split('\n');
  assert.equal(code, EXIT.ok);
  assert.deepEqual(more, []);
  assert.match(head, /^NAME {2}BRIDGE {2}HOST {2}INTERFACE {2}ADMIN STATE UP {2}ID$/);
  assert.match(row, /^p1 {4}b0 {6}h1 {4}vm1 {8}true {12}[0-9a-f-]{36}$/);
});

function withRouter(): FakeApi {
  const api = withBridge();
  api.add('router', { name: 'r0' });
  api.add('port', { name: 'r0-a', router: 'r0', networks: ['10.0.1.1/24', 'fd00:1::1/64'] });
  api.add('port', { name: 'b0-r', bridge: 'b0', peer: 'r0-a' });
  return api;
}

test('a list has the columns that some row fills; the ends of links are names', async () => {
  const api = withRouter();
  const { out } = await mn(api.client, 'port list');
  assert.equal(
    out.replaceAll(/ +[0-9a-f-]{36}$/gm, ''),
    `NAME  BRIDGE  ROUTER  PEER  ADMIN STATE UP  NETWORKS                   ID
r0-a          r0            true            10.0.1.1/24, fd00:1::1/64
b0-r  b0              r0-a  true
`,
  );
});

test('texts of a list are repeated flags, or have commas between; they are added and removed', async () => {
  const api = withRouter();
  const ran = await mn(
    api.client,
    'port create --name r0-b --router r0 --networks 10.0.2.1/24 --networks 10.0.3.1/24,fd00:2::1/64',
  );
  assert.deepEqual(ran, { code: EXIT.ok, out: 'created port r0-b\n', err: '' });
  const networks = ['10.0.2.1/24', '10.0.3.1/24', 'fd00:2::1/64'];
  assert.deepEqual(last(api, 'create'), ['port', { name: 'r0-b', router: 'r0', networks }]);
  await mn(api.client, 'port update r0-b --add-networks 10.0.4.1/24,10.0.5.1/24');
  const more = [...networks, '10.0.4.1/24', '10.0.5.1/24'];
  assert.deepEqual(last(api, 'update')?.[2], { networks: more });
  await mn(
    api.client,
    'port update r0-b --remove-networks FD00:2::1/64 --remove-networks 10.0.4.1/24,10.0.5.1/24',
  );
  assert.deepEqual(last(api, 'update')?.[2], { networks: networks.slice(0, 2) });
  const none = await mn(api.client, 'port update r0-b --remove-networks 10.9.0.1/24');
  assert.equal(none.code, EXIT.refused);
});

test('an object without a name is called by what tells it from its like', async () => {
  const api = withRouter();
  const create = 'route create --router r0 --destination';
  const ran = await mn(api.client, `${create} 10.0.0.0/8 --port r0-a --gateway 10.0.1.9`);
  assert.equal(ran.out, 'created route 10.0.0.0/8 of r0\n');
  const [, id = ''] = [...api.rows.keys()].at(-1)?.split('/') ?? [];
  assert.match(
    (await mn(api.client, `route update ${id} --source fd00::/8`)).out,
    /^updated route 10\.0\.0\.0\/8 from fd00::\/8 of r0$/m,
  );
  assert.match((await mn(api.client, `route show ${id}`)).out, /^router +r0$/m);
  assert.equal(
    (await mn(api.client, `route delete ${id}`)).out,
    'deleted route 10.0.0.0/8 from fd00::/8 of r0\n',
  );
  const named = await mn(api.client, `${create} ::/0 --type reject --name no`);
  assert.equal(named.out, 'created route no\n');
  api.failNext.set('get', new Unavailable('gone'));
  const unasked = await mn(api.client, `${create} fd00::/8 --type reject`);
  assert.equal(unasked.out, `created route fd00::/8 of ${uuidOf('router/r0')}\n`);
});

test('link and unlink say it at one end', async () => {
  const api = withRouter();
  api.add('port', { name: 'r0-b', router: 'r0' });
  const ran = await mn(api.client, 'port link r0-b b0-r');
  assert.deepEqual(ran, { code: EXIT.ok, out: 'linked port r0-b to b0-r\n', err: '' });
  assert.deepEqual(last(api, 'update'), ['port', 'r0-b', { peer: 'b0-r' }, undefined]);
  const byId = await mn(api.client, `port link r0-b ${uuidOf('port/b0-r')} --if-revision 9`);
  assert.equal(byId.out, 'linked port r0-b to b0-r\n');
  assert.equal(last(api, 'update')?.[3], 9);
  assert.equal((await mn(api.client, 'port unlink r0-b')).out, 'unlinked port r0-b\n');
  assert.deepEqual(last(api, 'update'), ['port', 'r0-b', { peer: null }, undefined]);
  assert.equal((await mn(api.client, 'port link r0-b')).code, EXIT.usage);
});

test('a port shows, and help names, the fields of its type', async () => {
  const api = withRouter();
  const router = (await mn(api.client, 'port show r0-a')).out;
  assert.match(router, /^networks +10\.0\.1\.1\/24\n +fd00:1::1\/64$/m);
  assert.doesNotMatch(router, /^(bridge|hairpin|vlan|addresses) /m);
  const bridge = (await mn(api.client, 'port show b0-r')).out;
  assert.match(bridge, /^peer +r0-a$/m);
  assert.doesNotMatch(bridge, /^(router|mac|networks|mtu) /m);
  const help = (await mn(api.client, 'port create --help')).out;
  assert.match(help, /^create a port; needs --name, and --bridge or --router$/m);
  assert.match(help.replaceAll(/\s+/g, ' '), /fd00::1\/64\. Repeatable\. Only of type router\./);
  assert.doesNotMatch((await mn(api.client, 'port update --help')).out, /^ +--router /m);
});

test('an empty list says so on stderr, and is [] as JSON', async () => {
  const api = withBridge();
  assert.deepEqual(await mn(api.client, 'port list'), { code: 0, out: '', err: 'no port found\n' });
  assert.deepEqual(await mn(api.client, 'port list -o json'), { code: 0, out: '[]\n', err: '' });
});

test('filters name the field as flag or field, and references by name', async () => {
  const api = withBridge();
  await mn(api.client, 'port list --where bridge=b0 --where admin-state-up=false');
  const where = { bridge: uuidOf('bridge/b0'), adminStateUp: 'false' };
  assert.deepEqual(api.asked.find((ask) => ask.call === 'listAll')?.args, ['port', where]);
  const ran = await mn(api.client, 'port list --where colour=red');
  assert.equal(ran.code, EXIT.usage);
  assert.match(ran.err, /there is no field 'colour'\nhint: The fields are: name, bridge, /);
});

test('show prints every field; yaml and json carry the names of the API', async () => {
  const api = withBridge();
  api.add('port', {
    name: 'p1',
    bridge: 'b0',
    addresses: [{ mac: '02:00:00:00:00:01', ip: '10.0.0.1' }, { mac: '02:00:00:00:00:02' }],
  });
  const { out } = await mn(api.client, 'port show p1');
  assert.match(out, /^name +p1$/m);
  assert.match(out, /^bridge +b0$/m);
  assert.match(out, /^addresses +mac=02:00:00:00:00:01,ip=10.0.0.1\n +mac=02:00:00:00:00:02$/m);
  const json = JSON.parse((await mn(api.client, 'port show p1 -o json')).out) as { bridge: string };
  assert.equal(json.bridge, uuidOf('bridge/b0'));
  assert.match((await mn(api.client, 'port show p1 -o yaml')).out, /^adminStateUp: true$/m);
});

test('update: unset is null, nothing to change is refused, a list edit is conditional', async () => {
  const api = withBridge();
  api.add('port', { name: 'p1', bridge: 'b0', host: 'h1', interface: 'vm1' });
  await mn(api.client, 'port update p1 --unset host --unset interface --name p9 --if-revision 4');
  assert.deepEqual(last(api, 'update'), [
    'port',
    'p1',
    { name: 'p9', host: null, interface: null },
    4,
  ]);
  assert.equal((await mn(api.client, 'port update p9')).code, EXIT.usage);
  api.add('tunnel-zone', { name: 'z' });
  await mn(api.client, 'tunnel-zone update z --add-members host=h1,address=172.16.0.1');
  assert.deepEqual(last(api, 'update'), [
    'tunnel-zone',
    'z',
    { members: [{ host: 'h1', address: '172.16.0.1' }] },
    6,
  ]);
});

test('remove matches elements by what is given, names resolved, text canonical', async () => {
  const api = withBridge();
  const members = ['h1', 'h2'].map((h, i) => ({
    host: uuidOf(`host/${h}`),
    address: `172.16.0.${i}`,
  }));
  api.add('tunnel-zone', { name: 'z', members });
  await mn(api.client, 'tunnel-zone update z --remove-members host=h1');
  assert.deepEqual(last(api, 'update')?.[2], { members: [members[1]] });
  const gone = await mn(api.client, 'tunnel-zone update z --remove-members host=h1');
  assert.equal(gone.code, EXIT.refused);
  assert.equal(
    gone.err,
    "error: members: nothing matches 'host=h1'\nhint: See what there is: mn tunnel-zone show z\n",
  );
  api.add('port', { name: 'p', bridge: 'b0', addresses: [{ mac: '02:00:00:00:00:ab' }] });
  await mn(api.client, 'port update p --remove-addresses mac=02:00:00:00:00:AB');
  assert.deepEqual(last(api, 'update')?.[2], { addresses: [] });
});

test('a list edit that lost a race is tried again, but not when the caller named the revision', async () => {
  const api = withBridge();
  api.add('tunnel-zone', { name: 'z' });
  const lost = () => refusal({ status: 412, title: 'Somebody else changed it' });
  api.failNext.set('update', lost());
  const line = 'tunnel-zone update z --add-members host=h1,address=172.16.0.1';
  assert.equal((await mn(api.client, line)).code, EXIT.ok);
  assert.equal(api.asked.filter((ask) => ask.call === 'update').length, 2);
  api.failNext.set('update', lost());
  const ran = await mn(api.client, `${line} --if-revision 1`);
  assert.equal(ran.code, EXIT.refused);
  assert.match(ran.err, /hint: See how it is now: mn tunnel-zone show z/);
});

test('bind and unbind write both halves', async () => {
  const api = withBridge();
  api.add('port', { name: 'p1', bridge: 'b0' });
  const ran = await mn(api.client, 'port bind p1 --host h1 --interface vm1');
  assert.equal(ran.out, 'bound port p1 to vm1 of h1\n');
  assert.deepEqual(last(api, 'update')?.[2], { host: 'h1', interface: 'vm1' });
  await mn(api.client, 'port unbind p1');
  assert.deepEqual(last(api, 'update')?.[2], { host: null, interface: null });
  assert.equal((await mn(api.client, 'port bind p1 --host h1')).code, EXIT.usage);
});

test('several deletes are one transaction', async () => {
  const api = withBridge();
  const ran = await mn(api.client, 'host delete h1 h2');
  assert.equal(ran.out, 'deleted host h1, h2\n');
  assert.equal(api.asked.filter((ask) => ask.call === 'transact').length, 1);
});

test('--wait names those behind and has its own code', async () => {
  const api = withBridge();
  const fine = await mn(api.client, 'bridge create b1 --wait');
  assert.equal(fine.out, 'created bridge b1\nenforced by 1 live host\n');
  assert.deepEqual(last(api, 'wait'), [4, 10_000]);
  api.answers.behind.push(uuidOf('host/h2'));
  const behind = await mn(api.client, 'bridge create b2 --wait 50');
  assert.equal(behind.code, EXIT.behind);
  assert.match(behind.err, /^error: not enforced within 50 ms by: h2\n/);
  assert.equal((await mn(api.client, 'bridge create b3 --wait soon')).code, EXIT.usage);
});

test('a wait that fails does not hide that the change is written', async () => {
  const api = withBridge();
  for (const [line, out] of [
    ['bridge create b1 --wait', /^created bridge b1\n$/],
    ['bridge create b2 --wait -o json', /^\{\n {2}"revision": 5,/],
  ] as const) {
    api.failNext.set('wait', new Unavailable('gone'));
    const ran = await mn(api.client, line);
    assert.equal(ran.code, EXIT.unreachable);
    assert.match(ran.out, out);
    assert.doesNotMatch(ran.err, /not known/);
  }
  api.failNext.set('create', new Unavailable('gone'));
  assert.match(
    (await mn(api.client, 'bridge create b3')).err,
    /Whether it was written is not known/,
  );
});

test('a refusal is printed word for word, with what to type next', async () => {
  const api = withBridge();
  const errors = [{ path: 'host', message: "there is no host 'h9'" }];
  api.failNext.set('update', refusal({ status: 400, title: 'The port is not valid', errors }));
  const ran = await mn(api.client, 'port bind p1 --host h9 --interface x');
  assert.deepEqual(ran, {
    code: EXIT.refused,
    out: '',
    err: "error: The port is not valid\n  host: there is no host 'h9'\nhint: See what there is: mn host list\n",
  });
});

test('an API that does not answer, or fails, has a code of its own', async () => {
  const api = withBridge();
  api.failNext.set('status', new Unavailable('no API answered'));
  assert.equal((await mn(api.client, 'status')).code, EXIT.unreachable);
  api.failNext.set('status', refusal({ status: 500, title: 'broken' }));
  assert.equal((await mn(api.client, 'status')).code, EXIT.failed);
});

test('a bug is not swallowed', async () => {
  const api = withBridge();
  api.failNext.set('status', new TypeError('ours'));
  await assert.rejects(mn(api.client, 'status'), TypeError);
});

test('wrong words are usage errors and ask nothing', async () => {
  for (const line of [
    'bridge lst',
    'brigde list',
    'port create --addresses 02:00:00:00:00:01',
    'port create --addresses mac=1,mac=2',
    'port create --admin-state-up maybe',
    'bridge list -o xml',
    'bridge show',
    'port create p --name q',
    'token issue --role host',
    'token issue --role tenant --tenant t --host h1',
    'trace p1',
    'port update p --addresses mac=02:00:00:00:00:01 --add-addresses mac=02:00:00:00:00:02',
    'host delete a b --if-revision 3',
  ]) {
    const api = withBridge();
    const ran = await mn(api.client, line);
    assert.equal(ran.code, EXIT.usage, line);
    assert.match(ran.err, /^error: /, line);
    assert.deepEqual(api.asked, [], line);
  }
});

test('help is no error, and every command has it', async () => {
  const api = withBridge();
  const { out, code } = await mn(api.client, '--help');
  assert.equal(code, EXIT.ok);
  for (const word of ['bridge', 'tunnel-zone', 'location', 'trace', 'status', 'watch', 'token'])
    assert.match(out, new RegExp(`^  ${word} `, 'm'));
  assert.doesNotMatch(out, /^ {2}complete /m);
  assert.equal((await mn(api.client, 'port create --help')).code, EXIT.ok);
  assert.equal((await mn(api.client, 'location create')).code, EXIT.usage);
});

test('token issue prints the secret alone', async () => {
  const api = withBridge();
  const ran = await mn(api.client, 'token issue --role host --host h1');
  assert.deepEqual(ran, { code: 0, out: 's3cret\n', err: '' });
  const token = { role: 'host', name: 'h1', host: uuidOf('host/h1') };
  assert.deepEqual(last(api, 'issueToken'), [token]);
});

test('tokens are listed by whom they are for, and revoked by id', async () => {
  const api = withBridge();
  api.tokens.push(
    { id: '0a', role: 'operator', name: 'ann' },
    { id: '0b', role: 'tenant', name: 'bob', tenant: 'acme' },
    { id: '0c', role: 'host', name: 'agent', host: uuidOf('host/h1') },
  );
  const { out, code } = await mn(api.client, 'token list');
  assert.equal(code, EXIT.ok);
  assert.equal(
    out,
    'ID  ROLE      NAME   OF\n0a  operator  ann\n0b  tenant    bob    acme\n0c  host      agent  h1\n',
  );
  const revoked = await mn(api.client, 'token revoke 0b');
  assert.deepEqual(revoked, { code: 0, out: 'revoked token 0b\n', err: '' });
  assert.deepEqual(last(api, 'revokeToken'), ['0b']);
});

test('help leads to every command, and a mistake to the help of its own command', async () => {
  const api = withBridge();
  const direct = await mn(api.client, 'port bind --help');
  assert.deepEqual(await mn(api.client, 'help port bind'), direct);
  assert.match((await mn(api.client, 'help')).out, /^Usage: mn /);
  for (const [line, hint] of [
    ['port bind p1', 'mn port bind --help'],
    ['port bnd', 'mn port --help'],
    ['prt', 'mn --help'],
    ['help port bnd', 'Did you mean bind? mn --help'],
  ] as const) {
    const { code, err } = await mn(api.client, line);
    assert.equal(code, EXIT.usage, line);
    assert.ok(err.endsWith(`hint: ${hint}\n`), err);
  }
});

test('version', async () => {
  assert.equal((await mn(fakeApi().client, 'version')).out, '0.1.0\n');
});
