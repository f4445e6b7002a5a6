/**
 * Captures, live traces and drops in the world: the production command line, API and agents, over
 * the reference datapath.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { runCli } from '#cli/cli.ts';
import type { Client } from '#client/types.ts';
import { MemorySights } from '#datapath/memory-sights.ts';
import { parseScenario } from '#lab/scenario.ts';
import { words } from '#lab/scenario-commands.ts';
import { WorldStage } from './world-stage.ts';

const SCENARIO = join(import.meta.dirname, 'scenarios', 'two-subnets-and-a-router.md');
/** Of its steps, those that build the network. */
const NETWORK_STEPS = 11;

async function network(): Promise<WorldStage> {
  const scenario = parseScenario(readFileSync(SCENARIO, 'utf8'));
  const stage = await WorldStage.open(scenario);
  for (const { command } of scenario.steps.slice(0, NETWORK_STEPS))
    await stage.mn(words(command).slice(1));
  // Who is where is known after these.
  for (let i = 0; i < 2; i++) await ping(stage, '10.0.2.2');
  return stage;
}

interface Running {
  readonly out: () => string;
  readonly err: () => string;
  readonly code: Promise<number>;
  stop(): void;
}
/** Starts a command that looks; resolves when hosts are looked at. */
async function looking(client: Client, args: readonly string[]): Promise<Running> {
  let [out, err] = ['', ''];
  const stop = new AbortController();
  const code = runCli(args, {
    client,
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    signal: stop.signal,
    version: 'world',
  });
  let over = false;
  void code.finally(() => (over = true));
  while (!over && !err.includes('looking at')) await setImmediate();
  return { out: () => out, err: () => err, code, stop: () => stop.abort() };
}
const ping = (stage: WorldStage, address: string): Promise<unknown> =>
  stage.ping('vm1', { address, df: false });

/** The lines without times and numbers of slots. */
const plain = (text: string): string[] =>
  text
    .trim()
    .split('\n')
    .map((line) =>
      line
        .replace(/^\d+\.\d{6} +/, '')
        .replace(/(h\d|vm\d):\d+\.\d+/g, '$1:N')
        .trimEnd(),
    );

test('a capture shows what enters and leaves by a port, with its verdict', async () => {
  await using stage = await network();
  const args = ['capture', 'vm1', '--filter', 'icmp 10.0.1.2 <> 10.0.2.2', '--count', '2'];
  const run = await looking(stage.world.client, args);
  await ping(stage, '10.0.2.2');
  assert.equal(await run.code, 0);
  const lines = plain(run.out());
  assert.match(
    lines[0] ?? '',
    /^in .* icmp 10\.0\.1\.2 > 10\.0\.2\.2 echo .*  flow h1:N → tunnel to h2$/,
  );
  assert.match(lines[1] ?? '', /^out .* icmp 10\.0\.2\.2 > 10\.0\.1\.2 reply .*$/);
  assert.match(run.err(), /looking at h1/);
  assert.match(run.err(), /2 frames\n/);
});

test('a live trace follows a packet and its answer over both hosts, in order', async () => {
  await using stage = await network();
  const packet = 'icmp 10.0.1.2 > 10.0.2.2 from vm1';
  const run = await looking(stage.world.client, ['trace', '--live', packet, '--count', '6']);
  await ping(stage, '10.0.2.2');
  assert.equal(await run.code, 0);
  assert.deepEqual(plain(run.out()), [
    'h1 port vm1: in, flow h1:N → tunnel to h2',
    'h2 tunnel from h1: in, key of port vm2 → out',
    'h2 port vm2: out',
    'h2 port vm2: in, flow h2:N → tunnel to h1',
    'h1 tunnel from h2: in, key of port vm1 → out',
    'h1 port vm1: out',
  ]);
});

test('drops are told by port, reason and rule, and a capture says why', async () => {
  await using stage = await network();
  const run = await looking(stage.world.client, [
    'capture',
    'vm1',
    '--filter',
    'icmp * > 192.0.2.9',
    '--count',
    '2',
  ]);
  for (let i = 0; i < 2; i++) await ping(stage, '192.0.2.9');
  await run.code;
  const [first, second] = plain(run.out());
  assert.match(first ?? '', /to the agent: no flow matches yet/);
  assert.match(second ?? '', /dropped: no-route|to the agent/);
  const printed = await stage.world.mn(['drops', '--port', 'vm1', '--reason', 'no-route']);
  assert.match(
    printed,
    /^HOST +AT +REASON +PACKETS +FLOWS +DECIDED BY\nh1 +port vm1 +no-route +\d+ +\d+ +/,
  );
});

test('a file of frames with comments is pcapng', async () => {
  await using stage = await network();
  const dir = mkdtempSync(join(tmpdir(), 'mn-capture-'));
  const file = join(dir, 'vm1.pcapng');
  try {
    const run = await looking(stage.world.client, ['capture', 'vm1', '-w', file, '--count', '2']);
    await ping(stage, '10.0.2.2');
    await run.code;
    const bytes = readFileSync(file);
    assert.equal(bytes.readUInt32LE(0), 0x0a0d0d0a);
    assert.match(bytes.toString('utf8'), /in, /);
    assert.equal(run.out(), '');
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('a tenant captures at its own ports only, and is told of no hosts', async () => {
  await using stage = await network();
  const { client } = stage.world;
  const [port] = await client.listAll('port', { name: 'vm1' });
  assert.ok(port !== undefined);
  const stranger = await stage.world.as({ role: 'tenant', name: 'other', tenant: 'other' });
  const refused = await looking(stranger, ['capture', port.id, '--seconds', '1']);
  assert.equal(await refused.code, 1);
  assert.match(refused.err(), /no port has the id/);
  assert.equal(refused.out(), '');
  const live = await looking(stranger, [
    'trace',
    '--live',
    `icmp * > * from ${port.id}`,
    '--seconds',
    '1',
  ]);
  assert.equal(await live.code, 1);
  await ping(stage, '192.0.2.9');
  assert.notDeepEqual((await client.drops({})).rows, []);
  assert.deepEqual((await stranger.drops({})).rows, []);
});

test('a tenant captures at its own port, until its token is revoked', async () => {
  const text = [
    '```lab',
    'hosts h1',
    'workload vm1 h1 02:00:00:00:01:01 10.0.0.1/24',
    'workload vm2 h1 02:00:00:00:01:02 10.0.0.2/24',
    '```',
  ].join('\n');
  await using stage = await WorldStage.open(parseScenario(text));
  const { client } = stage.world;
  await stage.mn(['bridge', 'create', 'own', '--tenant', 'alpha']);
  for (const name of ['vm1', 'vm2'])
    await stage.mn(
      `port create ${name} --bridge own --tenant alpha --host h1 --interface ${name}`.split(' '),
    );
  const tenant = await stage.world.as({ role: 'tenant', name: 'mortal', tenant: 'alpha' });
  const run = await looking(tenant, ['capture', 'vm1', '--filter', 'icmp']);
  await ping(stage, '10.0.0.2');
  const seen = plain(run.out());
  assert.match(seen[0] ?? '', /icmp 10\.0\.0\.1 > 10\.0\.0\.2/);
  assert.doesNotMatch(run.out() + run.err(), /\bh1\b/, 'hosts are not its business');
  const token = (await client.tokens()).find(({ name }) => name === 'mortal');
  await client.revokeToken(token?.id ?? '');
  await ping(stage, '10.0.0.2');
  await run.code;
  assert.deepEqual(plain(run.out()), seen);
});

test('a capture that nobody reads any more is over on the host', async () => {
  await using stage = await network();
  const run = await looking(stage.world.client, ['capture', 'vm1']);
  const { sights } = stage.world.host('h1').datapath;
  assert.ok(sights instanceof MemorySights);
  assert.equal(sights.any, true);
  run.stop();
  await run.code;
  const deadline = performance.now() + 10_000;
  while (sights.any && performance.now() < deadline) await stage.world.settle();
  assert.equal(sights.any, false);
});
