/** The page about backups: a copy made while the API runs serves as its store, tokens included. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openNode } from '#api/fixture.ts';
import { openSqlite } from '#store/sqlite.ts';

test('a backup is a store: what was there at its revision, and nothing since', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'midonet-restore-'));
  try {
    const copy = join(folder, 'copy.db');
    await using node = openNode(openSqlite(join(folder, 'store.db')));
    await node.api.ready;
    await node.operator.create('bridge', { name: 'before' });
    const secret = await node.secret({ role: 'tenant', tenant: 'acme', name: 'alice' });
    const body = JSON.stringify({ path: copy });
    const headers = { 'content-type': 'application/json' };
    const asked = await node.request('/v1/backup', { method: 'POST', headers, body });
    assert.equal(asked.status, 200, await asked.clone().text());
    const again = await node.request('/v1/backup', { method: 'POST', headers, body });
    assert.equal(again.status, 409, 'it never writes over another');
    await node.operator.create('bridge', { name: 'after' });

    await using restored = openNode(openSqlite(copy));
    await restored.api.ready;
    const { items } = await restored.operator.list('bridge', {});
    assert.deepEqual(
      items.map(({ name }) => name),
      ['before'],
    );
    const answer = await restored.api.fetch(
      new Request('http://api/v1/bridges', { headers: { authorization: `Bearer ${secret}` } }),
    );
    assert.equal(answer.status, 200, 'tokens are in it');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
