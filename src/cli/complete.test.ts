/** Completion as the shells ask for it: whole words in, candidates out. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { Unavailable } from '#client/errors.ts';
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
    ['table', 'json', 'yaml'],
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

/** What bash would offer for a line, with `mn` replaced by a function that answers `answers`. */
function bash(script: string, line: string, answers: string): string[] {
  const ask = `${script}
mn() { printf '%s\\n' "$@" >&2; printf '%s\\n' ${answers}; }
compopt() { :; }
COMP_LINE='${line}'; COMP_POINT=\${#COMP_LINE}; _mn; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const out = execFileSync('bash', ['-c', ask], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return out.split('\n').filter((word) => word !== '');
}

test('the bash script answers what stands behind the last : or =', async () => {
  const script = (await mn(fakeApi().client, 'completion bash')).out;
  assert.deepEqual(bash(script, 'mn po', 'port'), ['port']);
  const members = bash(script, 'mn tunnel-zone update z --add-members host=h', 'host=h1 host=h2');
  assert.deepEqual(members, ['h1', 'h2']);
  assert.deepEqual(bash(script, 'mn port show ', "'two words'"), ['two\\ words']);
});

test('every shell has a script that calls mn complete', async () => {
  for (const shell of ['bash', 'zsh', 'fish'])
    assert.match((await mn(fakeApi().client, `completion ${shell}`)).out, / complete -- /);
});
