/**
 * The embedded store keeps the contract, in memory and on a file, and a killed process loses
 * nothing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { DEADLINE_MS, storeContract } from './contract.ts';
import { openEngine } from './engine.ts';
import { LEASED_EVENTS_WAITING_MAX, LeasedMemory } from './leased.ts';
import { openSqlite, REQUESTS_WAITING_MAX } from './sqlite.ts';
import { Compacted, TooLarge } from './store.ts';

const folder = mkdtempSync(join(tmpdir(), 'mn-store-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newPath = (): string => join(folder, `${files++}.db`);

storeContract('memory', (options) => openSqlite(':memory:', options));
storeContract('file', (options) => openSqlite(newPath(), options));

test('what was written is there when the file is opened again, revision and history too', async () => {
  const path = newPath();
  {
    await using store = openSqlite(path);
    await store.transact([], [{ put: '/a', value: '1' }]);
    await store.transact([], [{ put: '/b', value: '2' }]);
    await store.compact(1);
  }
  await using store = openSqlite(path);
  const { revision, entries } = await store.list('/');
  assert.equal(revision, 2);
  assert.deepEqual(
    entries.map(({ key }) => key),
    ['/a', '/b'],
  );
  for await (const change of store.watch('/', 1, AbortSignal.timeout(DEADLINE_MS))) {
    assert.deepEqual(change.events, [{ type: 'put', key: '/b', value: '2' }]);
    break;
  }
  const tooFar = store.watch('/', 0, AbortSignal.timeout(DEADLINE_MS))[Symbol.asyncIterator]();
  await assert.rejects(tooFar.next(), Compacted);
});

test('a file that cannot be opened fails the first request with its reason', async () => {
  await using store = openSqlite(join(folder, 'no', 'such', 'folder.db'));
  await assert.rejects(store.list('/'), { name: 'StoreUnavailable', message: /unable to open/ });
});

test('history is bounded in bytes', () => {
  const engine = openEngine(':memory:', { historyRevisionsMax: 1_000, historyBytesMax: 10_000 });
  const value = 'x'.repeat(1_000);
  for (let i = 0; i < 50; i++)
    engine.transact([{ compares: [], operations: [{ put: `/k${i % 7}`, value }] }]);
  const { compacted } = engine.history('', engine.revision());
  assert.ok(compacted >= 40 && compacted < 50, `compacted ${compacted}`);
  assert.equal(engine.history('', compacted).changes.length, 50 - compacted);
  engine.close();
});

test('more requests than may wait are refused, the others served', async () => {
  await using store = openSqlite(newPath());
  const asked = Array.from({ length: REQUESTS_WAITING_MAX + 5 }, () => store.list('/none'));
  const results = await Promise.allSettled(asked);
  assert.equal(results.filter(({ status }) => status === 'rejected').length, 5);
});

test('leased keys: a limit on keys, and a watcher that does not read is told', async () => {
  const leased = new LeasedMemory({ now: () => 0, after: () => () => {} }, 2);
  const entry = (key: string, value: string) => ({ key, value, owner: 'h' });
  await leased.put([entry('a', '1'), entry('b', '1')], 1_000);
  await assert.rejects(leased.put([entry('b', '2'), entry('c', '1')], 1_000), TooLarge);
  assert.deepEqual(await leased.list('b'), [entry('b', '1')]);
  const watcher = leased.watch('', new AbortController().signal);
  await watcher.next();
  for (let i = 0; i <= LEASED_EVENTS_WAITING_MAX; i++)
    await leased.put([entry('a', `v${i}`)], 1_000);
  await assert.rejects(watcher.next(), Compacted);
  leased.close();
});

const WRITER = `
  import { openSqlite } from ${JSON.stringify(new URL('./sqlite.ts', import.meta.url).href)};
  const store = openSqlite(process.argv[2]);
  for (let n = 0; ; n += 8) {
    const group = Array.from({ length: 8 }, async (_, i) => {
      const key = String(n + i).padStart(8, '0');
      await store.transact([], [{ put: '/a/' + key, value: key }, { put: '/b/' + key, value: key }]);
      console.log(key);
    });
    await Promise.all(group);
  }
`;

test('kill -9 in the midst of writes loses no acknowledged transaction and tears none', async () => {
  let acknowledgedAll = 0;
  const program = join(folder, 'writer.mjs');
  writeFileSync(program, WRITER);
  for (const stopAfter of [20, 200, 500]) {
    const path = newPath();
    const child = spawn(process.execPath, [program, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    const acknowledged: string[] = [];
    for await (const line of createInterface(child.stdout)) {
      acknowledged.push(line);
      if (acknowledged.length === stopAfter) child.kill('SIGKILL');
    }
    assert.deepEqual(await exited, [null, 'SIGKILL']);
    await using store = openSqlite(path);
    const a = (await store.list('/a/')).entries;
    const b = (await store.list('/b/')).entries;
    assert.deepEqual(
      a.map(({ value, modified }) => [value, modified]),
      b.map(({ value, modified }) => [value, modified]),
    );
    const there = new Set(a.map(({ value }) => value));
    assert.deepEqual(
      acknowledged.filter((key) => !there.has(key)),
      [],
    );
    acknowledgedAll += acknowledged.length;
  }
  console.log(`store: ${acknowledgedAll} acknowledged transactions survived 3 kills`);
});

test('a backup is of one revision while others write, opens as a store, and covers nothing', async () => {
  const path = newPath();
  const copy = newPath();
  await using store = openSqlite(path);
  const value = 'x'.repeat(50_000);
  for (let i = 0; i < 60; i++) await store.transact([], [{ put: `/k${i}`, value }]);
  let writing = true;
  const writer = (async () => {
    for (let i = 0; writing; i++)
      await store.transact(
        [],
        [
          { put: '/a', value: String(i) },
          { put: '/b', value: String(i) },
        ],
      );
  })();
  await store.backup?.(copy);
  writing = false;
  await writer;
  assert.equal(statSync(copy).mode & 0o777, 0o600, 'tokens are in it, if only as hashes');
  assert.ok(!existsSync(`${copy}.part`));
  await assert.rejects(async () => store.backup?.(copy), {
    name: 'BackupFailed',
    message: /exists already/,
  });
  await assert.rejects(async () => store.backup?.(join(folder, 'no', 'folder')), {
    name: 'BackupFailed',
  });
  const { revision } = await store.list('/none');
  await using restored = openSqlite(copy);
  const { entries, revision: of } = await restored.list('/');
  const valueOf = (key: string) => entries.find((entry) => entry.key === key)?.value;
  assert.equal(entries.filter(({ key }) => key.startsWith('/k')).length, 60);
  assert.equal(valueOf('/a'), valueOf('/b'));
  assert.ok(of >= 60 && of <= revision);
  assert.equal((await restored.transact([], [{ put: '/c', value: '1' }])).revision, of + 1);
});
