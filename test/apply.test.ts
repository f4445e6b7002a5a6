/**
 * Documents of a whole network against a real API: whatever happens on the way, applying them leads
 * to the same network, and then there is no difference.
 *
 * `OBJECTS=5000` for a large one; it says how long it took.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNode, type Fixture } from '#api/fixture.ts';
import { chances } from '#cli/documents/network.fixture.ts';
import { filesOf } from '#cli/files.ts';
import { EXIT } from '#cli/io.ts';
import { mn, type Ran } from '#cli/testing.ts';
import { Unavailable } from '#client/errors.ts';
import type { Client } from '#client/types.ts';
import { networkDocuments, yamlOf } from './documents.ts';

const SEED = Number(process.env['SEED'] ?? 1);
/** More than one transaction takes. */
const RULES = 130;
const OBJECTS = Number(process.env['OBJECTS'] ?? 600);

const files = filesOf({
  'network.yaml': yamlOf(networkDocuments(OBJECTS, SEED)),
  // Without a tenant, and without some of the ports of the others.
  'smaller.yaml': yamlOf(
    networkDocuments(OBJECTS, SEED).filter(
      (document) => document['name'] !== 'vm-5' && !JSON.stringify(document).includes('tenant-1"'),
    ),
  ),
});
const run = (client: Client, line: string): Promise<Ran> => mn(client, line, { files });
async function ok(client: Client, line: string): Promise<string> {
  const { code, out, err } = await run(client, line);
  assert.equal(code, EXIT.ok, `mn ${line}\n${err}`);
  return out;
}
const exported = (node: Fixture): Promise<string> => ok(node.operator, 'export');
const summary = (out: string): string => out.trimEnd().split('\n').at(-1) ?? '';

/** The client, counting requests; `after` them it does what `then` says instead of a write. */
function watched(client: Client, then: (writes: number) => 'go' | 'lost' | 'unheard' = () => 'go') {
  const counts = { requests: 0, writes: 0 };
  const transact: Client['transact'] = async (operations, ...rest) => {
    counts.requests += 1;
    const what = then(counts.writes);
    if (what === 'lost') throw new Unavailable('the API cannot be reached');
    const written = await client.transact(operations, ...rest);
    counts.writes += 1;
    if (what === 'unheard') throw new Unavailable('the answer was cut off');
    return written;
  };
  const listAll: Client['listAll'] = (...args) => {
    counts.requests += 1;
    return client.listAll(...args);
  };
  return { counts, client: { ...client, transact, listAll } satisfies Client };
}

test('a network of documents is there after one run, and then nothing differs', async (t) => {
  await using node = openNode();
  const { counts, client } = watched(node.operator);
  const started = performance.now();
  const first = await ok(client, 'apply -f network.yaml');
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const objects = first.match(/^created /gm)?.length ?? 0;
  t.diagnostic(`${objects} objects, ${counts.writes} transactions, ${seconds} s`);
  assert.ok(objects >= OBJECTS);
  assert.equal(summary(first), `${objects} created`);
  assert.ok(counts.requests < 20 + objects / 20, 'requests go by transactions, not by objects');
  counts.writes = 0;
  assert.equal(summary(await ok(client, 'apply -f network.yaml')), `${objects} unchanged`);
  assert.equal(counts.writes, 0, 'what is there is not written again');
  assert.equal(await ok(client, 'diff -f network.yaml'), `${objects} unchanged\n`);
});

test('ended anywhere and run again: the same network', async () => {
  await using whole = openNode();
  await ok(whole.operator, 'apply -f network.yaml');
  const expected = await exported(whole);
  const chance = chances(SEED);
  for (const how of ['lost', 'unheard', 'interrupted'] as const) {
    await using node = openNode();
    const at = 1 + Math.floor(chance() * (OBJECTS / 126 - 1));
    const stop = new AbortController();
    const { client } = watched(node.operator, (writes) => {
      if (how === 'interrupted' && writes === at) stop.abort();
      return how === 'interrupted' || writes < at ? 'go' : how;
    });
    const ended = await mn(client, 'apply -f network.yaml', { files, signal: stop.signal });
    const code = how === 'interrupted' ? EXIT.interrupted : EXIT.unreachable;
    assert.equal(ended.code, code, `${how} at ${at}: ${ended.err}`);
    assert.match(ended.err, /apply again/);
    assert.notEqual(await exported(node), expected, how);
    await ok(node.operator, 'apply -f network.yaml');
    assert.equal(await exported(node), expected, `${how} at transaction ${at}`);
    assert.equal((await run(node.operator, 'diff -f network.yaml')).code, EXIT.ok);
  }
});

test('what was exported makes the same network elsewhere', async () => {
  await using node = openNode();
  await ok(node.operator, 'apply -f network.yaml');
  const text = await exported(node);
  await using other = openNode();
  const again = await mn(other.operator, 'apply -f -', { files: filesOf({ '-': text }) });
  assert.equal(again.code, EXIT.ok, again.err);
  assert.equal(await exported(other), text);
});

test('pruning leaves what the documents say, and what has not the label', async () => {
  await using node = openNode();
  const { operator } = node;
  await ok(operator, 'apply -f network.yaml');
  await ok(operator, 'bridge create somebody-elses');
  await ok(operator, 'bridge create of-another-label --labels made-by=hand');
  const { code } = await run(operator, 'diff -f smaller.yaml --prune -l made-by=test');
  assert.equal(code, EXIT.different);
  const out = await ok(operator, 'apply -f smaller.yaml --prune -l made-by=test');
  assert.match(summary(out), /^\d+ pruned, \d+ unchanged$/);
  const unlabelled = await run(operator, 'apply -f smaller.yaml --prune');
  assert.equal(unlabelled.code, EXIT.usage);
  assert.match(unlabelled.err, /--prune needs a label/);
  await using fresh = openNode();
  await ok(fresh.operator, 'apply -f smaller.yaml');
  for (const name of ['somebody-elses', 'of-another-label'])
    await ok(operator, `bridge delete ${name}`);
  assert.equal(await exported(node), await exported(fresh));
});

test('no port is bound or linked before the rules that filter it are there', async () => {
  await using node = openNode();
  await ok(node.operator, 'host create h1');
  const rule = (at: number) =>
    `kind: rule\nchain: web\nposition: ${at}\naction: drop\ninPorts: [vm]`;
  const documents = [
    'kind: bridge\nname: b1',
    'kind: router\nname: r1',
    'kind: chain\nname: web',
    'kind: port\nname: vm\nbridge: b1\nhost: h1\ninterface: tap0\ninboundFilter: web',
    'kind: port\nname: b1-r1\nbridge: b1\npeer: r1-b1\ninboundFilter: web',
    'kind: port\nname: r1-b1\nrouter: r1\nnetworks: [10.0.0.1/24]',
    ...Array.from({ length: RULES }, (_, i) => rule(i + 1)),
  ];
  let early = 0;
  const { operator } = node;
  const transact: Client['transact'] = async (...args) => {
    const written = await operator.transact(...args);
    const ports = (await operator.listAll('port')) as { host?: string; peer?: string }[];
    const rules = (await operator.listAll('rule')).length;
    if (rules < RULES && ports.some(({ host, peer }) => host !== undefined || peer !== undefined))
      early += 1;
    return written;
  };
  const text = documents.join('\n---\n');
  const ran = await mn({ ...operator, transact }, 'apply -f -', { files: filesOf({ '-': text }) });
  assert.equal(ran.code, EXIT.ok, ran.err);
  assert.equal(early, 0, 'a firewall that is not there yet lets everything pass');
  const ports = (await operator.listAll('port')) as { host?: string; peer?: string }[];
  assert.equal(ports.filter(({ host }) => host !== undefined).length, 1);
  assert.equal(ports.filter(({ peer }) => peer !== undefined).length, 2);
  const again = await mn(operator, 'apply -f -', { files: filesOf({ '-': text }) });
  assert.equal(summary(again.out), `${documents.length} unchanged`);
});

test('a rollback undoes an apply, whole, also when it is asked for twice', async (t) => {
  await using node = openNode();
  const { operator } = node;
  await ok(operator, 'apply -f network.yaml');
  const before = await exported(node);
  const ids = async () => (await operator.listAll('port')).map(({ id }) => id).sort();
  const { revision } = await operator.status();
  const ports = await ids();
  await ok(operator, 'apply -f smaller.yaml --prune -l made-by=test');
  await ok(operator, 'bridge create later');
  assert.notEqual(await exported(node), before);
  const started = performance.now();
  await ok(operator, `rollback ${revision}`);
  t.diagnostic(`${((performance.now() - started) / 1000).toFixed(1)} s`);
  assert.equal(await exported(node), before);
  assert.deepEqual(await ids(), ports, 'they are the very objects');
  assert.equal((await run(operator, 'diff -f network.yaml')).code, EXIT.ok);
  await ok(operator, `rollback ${revision}`);
  assert.equal(await exported(node), before);
});

test('a dry run of any size writes nothing, and says who has decided what', async () => {
  await using node = openNode();
  const { operator } = node;
  const whole = await run(operator, 'apply -f network.yaml --dry-run');
  assert.equal(whole.code, EXIT.ok, whole.err);
  assert.match(whole.err, /this takes \d+ transactions: the API has decided the first/);
  assert.equal(whole.out.match(/^would create /gm)?.length, networkDocuments(OBJECTS, SEED).length);
  assert.match(whole.out, /\nnothing was written\n$/);
  assert.equal(await ok(operator, 'export'), '');
  const one = await mn(operator, 'apply -f - --dry-run', {
    files: filesOf({ '-': 'kind: bridge\nname: b1\n---\nkind: port\nname: p1\nbridge: b1\n' }),
  });
  assert.equal(one.err, '');
  assert.match(one.out, /^would create bridge b1\n/);
  await ok(operator, 'apply -f network.yaml');
  const nothing = await ok(operator, 'apply -f network.yaml --dry-run');
  assert.equal(nothing, 'nothing would change\nnothing was written\n');
});
