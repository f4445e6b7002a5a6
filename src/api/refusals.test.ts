/** Everything that is refused: status, title, the field that is named, and that nothing changed. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Problem } from '#client/types.ts';
import { openNode } from './fixture.ts';
import { REFUSED, REFUSING, requestOf } from './refusals.fixture.ts';

test(`${REFUSED.length} refusals are problem+json, name the field, and change nothing`, async () => {
  await using node = openNode();
  const { operator } = node;
  await operator.transact(REFUSING);
  const before = await node.store.list('/');
  for (const row of REFUSED) {
    const response = await node.request(row.path, requestOf(row));
    assert.equal(response.status, row.status, row.what);
    const problem = (await response.json()) as Problem;
    const told = `${row.what}: ${JSON.stringify(problem)}`;
    assert.equal(response.headers.get('content-type'), 'application/problem+json', told);
    assert.equal(problem.status, row.status, told);
    assert.equal(problem.title, row.title, told);
    if (row.detail !== undefined) assert.match(problem.detail ?? '', row.detail, told);
    const paths = [...new Set(problem.errors?.map(({ path }) => path))];
    if (row.errors !== undefined) assert.deepEqual(paths, row.errors, told);
    for (const { message } of problem.errors ?? []) assert.ok(message.length > 5, told);
  }
  assert.deepEqual(await node.store.list('/'), before);
});
