/** `mn history`, `mn rollback`, `--at` and `mn backup` against the real API in this process. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Fixture, openNode } from '#api/fixture.ts';
import { openSqlite } from '#store/sqlite.ts';
import { EXIT } from '../io.ts';
import { mn } from '../testing.ts';

async function run(node: Fixture, line: string, code: number = EXIT.ok): Promise<string> {
  const ran = await mn(node.operator, line);
  assert.equal(ran.code, code, `${line}\n${ran.err}`);
  return code === EXIT.ok ? ran.out : ran.err;
}
const lines = (text: string): string[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.replaceAll(/ {2,}/g, ' | '));

/** b0 with ports p and q, at revision 4; then p is renamed, q is deleted. */
/** Of an entry, before what it changed. */
const HEAD = ['revision', 'at', 'by', 'request'];

async function build(node: Fixture): Promise<void> {
  for (const line of [
    'host create h1',
    'bridge create b0 --labels app=web',
    'port create p --bridge b0',
    'port create q --bridge b0 --host h1 --interface tap0',
    'port update p --name r --admin-state-up false',
    'port delete q',
  ])
    await run(node, line);
}

test('history: a table, newest first, field by field; of one object by any name it had', async () => {
  await using node = openNode();
  await build(node);
  const at = '1970-01-01 00:00:00 | operator';
  assert.deepEqual(lines(await run(node, 'history')), [
    'REVISION | WHEN | BY | CHANGE',
    ` | 6 | ${at} | deleted port q`,
    ` | 5 | ${at} | updated port p, name: p → r; admin-state-up: true → false`,
    ` | 4 | ${at} | created port q, bridge: b0; admin-state-up: true; host: h1; interface: tap0; hairpin: false; security: off`,
    ` | 3 | ${at} | created port p, bridge: b0; admin-state-up: true; hairpin: false; security: off`,
    ` | 2 | ${at} | created bridge b0, labels: app=web; admin-state-up: true; flood-key: 8388609`,
    ` | 1 | ${at} | created host h1`,
  ]);
  const ofGone = await run(node, 'history port q');
  assert.deepEqual(
    lines(ofGone).map((line) => line.split(' | ')[1]),
    ['WHEN', '6', '4'],
  );
  for (const name of ['p', 'r'])
    assert.equal(lines(await run(node, `history port ${name}`)).length, 3, name);
  assert.equal(lines(await run(node, 'history --limit 2')).length, 3);
  assert.equal(lines(await run(node, 'history port --since 4')).length, 3);
  assert.equal(lines(await run(node, 'history --where op=delete')).length, 2);
  const [entry] = JSON.parse(await run(node, 'history host h1 -o json')) as Record<
    string,
    unknown
  >[];
  assert.deepEqual(Object.keys(entry ?? {}), [...HEAD, 'op', 'kind', 'id', 'after']);
  assert.match(await run(node, 'history port none', EXIT.refused), /no port is named "none"/);
  assert.match(await run(node, 'history ports', EXIT.usage), /there is no kind 'ports'/);
});

test('--at: lists and objects as they were, names too', async () => {
  await using node = openNode();
  await build(node);
  assert.match(await run(node, 'port list --at 4'), /^p .*\nq +b0 +h1 +tap0/m);
  assert.match(await run(node, 'port show p --at 4'), /name +p\n[^]*admin-state-up +true/);
  await run(node, 'port show p', EXIT.refused);
  const future = await run(node, 'port list --at 99', EXIT.refused);
  assert.match(future, /at: must be a revision that is kept: 0 to 6/);
  await run(node, 'port list --at 4 --watch', EXIT.usage);
});

test('rollback: first told, then done, of all or of one', async () => {
  await using node = openNode();
  await build(node);
  assert.deepEqual((await run(node, 'rollback 4 --dry-run')).split('\n').sort(), [
    '',
    '  admin-state-up  false → true',
    '  admin-state-up  true',
    '  bridge          b0',
    '  hairpin         false',
    '  host            h1',
    '  interface       tap0',
    '  name            q',
    '  name            r → p',
    '  security        off',
    '  type            bridge',
    'nothing was written',
    'would create port q',
    'would update port p',
  ]);
  await run(node, 'port show q', EXIT.refused);
  assert.equal(
    await run(node, 'rollback port q --to 4'),
    'rolled back to revision 4: 1 object put back\n',
  );
  assert.match(await run(node, 'port show q'), /interface +tap0/);
  assert.equal(await run(node, 'rollback 4'), 'rolled back to revision 4: 1 object put back\n');
  assert.equal(await run(node, 'rollback 4'), 'nothing differs from revision 4\n');
  const answer = JSON.parse(await run(node, 'rollback 1 -o json')) as Record<string, unknown>;
  assert.deepEqual(Object.keys(answer), ['revision', 'to', 'objects', 'transactions']);
  assert.match(await run(node, 'rollback 99', EXIT.refused), /to: must be a revision that is kept/);
  for (const wrong of [
    'rollback port q',
    'rollback port --to 4',
    'rollback b0',
    'rollback 4 --to 3',
  ])
    await run(node, wrong, EXIT.usage);
});

test('backup: a file that a new API serves from', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mn-backup-'));
  try {
    const path = join(folder, 'copy.db');
    await using store = openSqlite(join(folder, 'store.db'));
    await using node = openNode(store, false);
    await build(node);
    const tenant = await node.as({ role: 'tenant', name: 't', tenant: 't' });
    assert.match(await run(node, `backup ${path}`), /^wrote .*copy\.db, \d+ bytes\n$/);
    assert.ok(existsSync(path));
    assert.match(await run(node, `backup ${path}`, EXIT.refused), /path: .* exists already/);
    await run(node, 'backup copy.db', EXIT.usage);
    await assert.rejects(tenant.backup(`${path}2`), { status: 403 });
    const before = await run(node, 'history -o json');
    await run(node, 'bridge delete b0');
    await using copy = openSqlite(path);
    await using restored = openNode(copy, false);
    assert.equal(await run(restored, 'history -o json'), before);
    assert.match(await run(restored, 'port list'), /^r /m);
    await run(restored, 'rollback 4');
    assert.match(await run(restored, 'port list'), /^p [^]*^q /m);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
