/** The program `mn agent` before it carries anything: settings, tokens, an API that is away. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const dir = mkdtempSync(join(tmpdir(), 'mn-agent-'));
after(() => rmSync(dir, { recursive: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const TOKEN = file('token', `mn_0123456789abcdef_${'x'.repeat(43)}\n`);
const mn = new URL('../mn.ts', import.meta.url).pathname;

/** Runs an agent; `until`: what it must have said before it is told to stop. */
async function run(flags: readonly string[], until?: RegExp) {
  const agent = spawn(process.execPath, [mn, 'agent', ...flags]);
  let said = '';
  agent.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
    if (until?.test(said) === true) agent.kill('SIGTERM');
  });
  const [code] = (await once(agent, 'close')) as [number | null];
  return { code, said };
}

const flags = (more: Readonly<Record<string, string | undefined>>): string[] =>
  Object.entries({
    host: 'h1',
    api: `unix:${dir}/none`,
    'token-file': TOKEN,
    'run-dir': join(dir, 'run'),
    ...more,
  }).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, value]));

for (const [what, more, complaint] of [
  ['no host', { host: undefined }, /^mn agent: --host is required/],
  ['no API', { api: undefined }, /^mn agent: --api is required/],
  ['an address that is none', { api: 'x' }, /^mn agent: --api: x: must be http:/],
  ['no token', { 'token-file': undefined }, /^mn agent: --token-file is required: mn token issue/],
  [
    'a token file that is not there',
    { 'token-file': '/no' },
    /^mn agent: --token-file \/no: ENOENT/,
  ],
  ['an empty token file', { 'token-file': file('empty', '\n') }, /the token is empty\n$/],
  ['two tokens', { 'token-file': file('two', 'a\nb\n') }, /what is there is no bearer token\n$/],
  ['a run directory that is none', { 'run-dir': `${TOKEN}/x` }, /^mn agent: --run-dir: ENOTDIR/],
  ['a flag that is none', { tok: 'x' }, /^mn agent: Unknown option '--tok'/],
  ['too few flows', { flows: '9' }, /^mn agent: --flows must be a whole number from 1024/],
  [
    'a DSCP that is none',
    { 'tunnel-dscp': '64' },
    /^mn agent: --tunnel-dscp must be zero, copy, or a whole number from 0 to 63, not 64\n$/,
  ],
] as const)
  test(`${what} is told in one line`, async () => {
    const { code, said } = await run(flags(more));
    assert.equal(code, 2, said);
    assert.match(said, complaint);
    assert.ok(!/\n\s+at /.test(said), 'no stack for a mistake of the user');
  });

test('without an API it waits, and stops when told to', async () => {
  const { code, said } = await run(flags({}), /cannot start as this host yet/);
  assert.equal(code, 0, said);
  assert.ok(!said.includes('xxx'), 'no token in the log');
});

test('with the token of another host it does not start as this one, until that is mended', async () => {
  const server: Server = createServer((request, response) => {
    const { url = '' } = request;
    const answer =
      url === '/v1/status' ? { hosts: [{ host: 'id2', name: 'h2' }] } : { id: 'id1', name: 'h1' };
    response.end(JSON.stringify(answer));
  });
  const path = join(dir, 'sock');
  server.listen(path);
  await once(server, 'listening');
  const { code, said } = await run(flags({ api: `unix:${path}` }), /not of h1/);
  server.close();
  server.closeAllConnections();
  assert.equal(code, 0, said);
  assert.match(said, /the token is that of host h2, not of h1/);
});
