/** Completion as the shells ask for it: whole words in, candidates out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Unavailable } from '#client/errors.ts';
import { runCli } from './cli.ts';
import { EXIT } from './io.ts';
import { type FakeApi, fakeApi, mn } from './testing.ts';

function world(): FakeApi {
  const api = fakeApi();
  for (const name of ['h1', 'h2']) api.add('host', { name });
  api.add('bridge', { name: 'b0' });
  api.add('port', { name: 'p1', bridge: 'b0' });
  api.add('router', { name: 'r0' });
  api.add('port', { name: 'r0-a', router: 'r0' });
  return api;
}
async function candidates(api: FakeApi, ...words: string[]): Promise<string[]> {
  const line = ['complete', '--', ...words.map((word) => `"${word}"`)].join(' ');
  const { out, code, err } = await mn(api.client, line);
  assert.deepEqual({ code, err }, { code: EXIT.ok, err: '' });
  return out.split('\n').filter((word) => word !== '');
}

const CASES: readonly (readonly [readonly string[], readonly string[]])[] = [
  [['br'], ['bridge']],
  [
    ['port', ''],
    ['list', 'show', 'create', 'update', 'delete', 'bind', 'unbind', 'link', 'unlink'],
  ],
  [
    ['port', 'link', 'p1', ''],
    ['p1', 'r0-a'],
  ],
  [['port', 'unlink', 'r'], ['r0-a']],
  [['port', 'create', '--router', ''], ['r0']],
  [
    ['port', 'create', '--type', ''],
    ['bridge', 'router'],
  ],
  [
    ['route', 'create', '--type', ''],
    ['port', 'blackhole', 'reject', 'local'],
  ],
  [['route', 'create', '--router', ''], ['r0']],
  [['router', 'show', ''], ['r0']],
  [
    ['route', 'list', '--where', 'port='],
    ['port=p1', 'port=r0-a'],
  ],
  [
    ['location', ''],
    ['list', 'show'],
  ],
  [
    ['port', 'show', ''],
    ['p1', 'r0-a'],
  ],
  [
    ['host', 'delete', 'h1', ''],
    ['h1', 'h2'],
  ],
  [['port', 'show', 'p1', ''], []],
  [['port', 'create', '--br'], ['--bridge']],
  [['port', 'create', '--bridge', ''], ['b0']],
  [['port', 'create', '--bridge=b'], ['--bridge=b0']],
  [
    ['port', 'create', '--admin-state-up', ''],
    ['true', 'false'],
  ],
  [
    ['port', 'bind', 'p1', '--host', 'h'],
    ['h1', 'h2'],
  ],
  [
    ['port', 'create', '--addresses', ''],
    ['mac=', 'ip='],
  ],
  [
    ['tunnel-zone', 'update', 'z', '--add-members', 'address=1.2.3.4,host=h'],
    ['address=1.2.3.4,host=h1', 'address=1.2.3.4,host=h2'],
  ],
  [['port', 'list', '--where', 'br'], ['bridge=']],
  [['port', 'list', '--where', 'bridge='], ['bridge=b0']],
  [
    ['port', 'list', '-o', ''],
    ['table', 'wide', 'json', 'yaml', 'jsonpath='],
  ],
  [['port', 'update', 'p1', '--unset', 'inter'], ['interface']],
  [
    ['token', 'issue', '--role', ''],
    ['operator', 'tenant', 'host'],
  ],
  [['token', 'issue', '--host', 'h2'], ['h2']],
  [
    ['trace', ''],
    ['p1', 'r0-a'],
  ],
  [
    ['completion', ''],
    ['bash', 'zsh', 'fish'],
  ],
  [['edit', 'b'], ['bridge']],
  [['edit', 'router', ''], ['r0']],
  [
    ['explain', 'ro'],
    ['router', 'route'],
  ],
  [
    ['explain', 'port.addresses.'],
    ['port.addresses.mac', 'port.addresses.ip'],
  ],
  [['help', 'port', 'unl'], ['unlink']],
  [['port', 'list', '--sort', 'name,-br'], ['name,-bridge']],
  [['token', 'list', '--where', 'r'], ['role=']],
  [['nonsense', ''], []],
];
for (const [words, expected] of CASES)
  test(`mn ${words.join(' ')}⇥`, async () => {
    assert.deepEqual(await candidates(world(), ...words), expected);
  });

test('the flags of a port are those of every kind of port', async () => {
  const flags = await candidates(world(), 'port', 'update', 'r0-a', '--');
  for (const flag of ['--add-networks', '--remove-networks', '--mtu', '--vlan', '--peer'])
    assert.ok(flags.includes(flag), flag);
});

test('every command is offered, the hidden one is not', async () => {
  const all = await candidates(world(), '');
  for (const word of ['bridge', 'status', 'trace', 'watch', 'token', 'api', 'agent', 'lab'])
    assert.ok(all.includes(word), word);
  assert.ok(!all.includes('complete'));
});

test('without an API there are no names, and no complaint', async () => {
  const api = world();
  api.failNext.set('list', new Unavailable('no API'));
  assert.deepEqual(await candidates(api, 'port', 'show', ''), []);
});

test('a line as it stands: quotes are read, and what is behind the last break is answered', async () => {
  const api = world();
  api.add('port', { name: 'my port', bridge: 'b0' });
  const breaks = ' \t\n"\'><=;|&(:';
  const session = { client: api.client, err: assert.fail };
  const ask = async (line: string): Promise<string[]> => {
    let text = '';
    const out = (more: string): void => void (text += more);
    await runCli(['complete', '--breaks', breaks, '--line', line], { ...session, out });
    return text.split('\n').slice(0, -1);
  };
  assert.deepEqual(await ask('mn por'), ['port', 'port-group']);
  assert.deepEqual(await ask('mn tunnel-zone update z --add-members host=h'), ['h1', 'h2']);
  assert.deepEqual(await ask('mn port show '), ['p1', 'r0-a', 'my\\ port']);
  assert.deepEqual(await ask('mn port show my\\ p'), ['my\\ port']);
  assert.deepEqual(await ask("mn port show 'my p"), ['my port']);
  assert.deepEqual(await ask("mn port show 'my port' "), []);
  assert.deepEqual(await ask('mn port list --where name!=x --where bri'), ['bridge=']);
});

test('every shell has a script that calls mn complete', async () => {
  for (const shell of ['bash', 'zsh', 'fish'])
    assert.match((await mn(fakeApi().client, `completion ${shell}`)).out, / complete --/);
});
