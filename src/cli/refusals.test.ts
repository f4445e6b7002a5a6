/**
 * Whatever the API refuses, the command line shows with the field and the rule, in the API's words,
 * and says what to type next; and what is mistyped, with what was likely meant.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNode } from '#api/fixture.ts';
import { REFUSED, REFUSING, requestOf } from '#api/refusals.fixture.ts';
import { createClient } from '#client/client.ts';
import { requestsBy } from '#client/request.ts';
import { RETRY_DEFAULTS } from '#client/retry.ts';
import type { Problem } from '#client/types.ts';
import { EXIT } from './io.ts';
import { mn } from './testing.ts';

test(`${REFUSED.length} refusals are shown with field and rule`, async () => {
  await using node = openNode();
  await node.operator.transact(REFUSING);
  const { send } = requestsBy(node.request, RETRY_DEFAULTS);
  for (const row of REFUSED) {
    const problem = (await (await node.request(row.path, requestOf(row))).json()) as Problem;
    const client = {
      ...createClient({ fetch: node.request }),
      status: () => send(row.path, requestOf(row)) as Promise<never>,
    };
    const { code, out, err } = await mn(client, 'status');
    assert.equal(code, EXIT.refused, `${row.what}\n${err}`);
    assert.equal(out, '', row.what);
    const lines = err.split('\n');
    const detail = problem.detail === undefined ? '' : `: ${problem.detail}`;
    assert.equal(lines[0], `error: ${row.title}${detail}`, row.what);
    for (const { path, message } of problem.errors ?? [])
      assert.ok(lines.includes(`  ${path === '' ? '' : `${path}: `}${message}`), err);
    assert.match(err, /^hint: ./m, row.what);
  }
});

test('what is mistyped is told with what was likely meant', async () => {
  await using node = openNode();
  await node.operator.transact(REFUSING);
  const cases: readonly (readonly [string, RegExp, number])[] = [
    ['brigde list', /unknown command 'brigde'\nhint: Did you mean bridge\?\nhint: mn --help/, 2],
    ['bridge lits', /unknown command 'lits'\nhint: Did you mean list\?\nhint: mn bridge --help/, 2],
    ['bridge create x --tennant a', /unknown option '--tennant'\nhint: Did you mean --tenant\?/, 2],
    ['bridge list --where nmae=x', /no field 'nmae'\nhint: Did you mean name\?/, 2],
    ['bridge update b1 --unset tennant', /no field 'tennant'\nhint: Did you mean tenant\?/, 2],
    [
      'tunnel-zone create z --members hots=h1,address=172.16.0.1',
      /no field 'hots'\nhint: Did you mean host\?/,
      2,
    ],
    ['router show r11', /named "r11"\nhint: Did you mean r1\? See what there is: mn router/, 1],
    ['bridge show b3', /named "b3"\nhint: See what there is: mn bridge list/, 1],
    ['bridge show xyzzy', /named "xyzzy"\nhint: See what there is: mn bridge list/, 1],
    [
      'port create p --bridge twim',
      /bridge: no bridge is named "twim"\nhint: Did you mean twin\? See what there is: mn bridge/,
      1,
    ],
    ['port bind p1 --host h1x --interface x', /hint: Did you mean h1\? .* mn host list/, 1],
    ['help brige', /no command 'brige'\nhint: Did you mean bridge\? mn --help/, 2],
  ];
  for (const [line, expected, code] of cases) {
    const ran = await mn(node.operator, line);
    assert.match(ran.err, expected, line);
    assert.equal(ran.code, code, line);
  }
});

test('a guess names nothing that the caller may not see', async () => {
  await using node = openNode();
  await node.operator.transact(REFUSING);
  const tenant = await node.as({ role: 'tenant', name: 'acme', tenant: 'acme' });
  assert.equal((await mn(tenant, 'bridge create mine')).code, EXIT.ok);
  assert.match((await mn(tenant, 'bridge show mime')).err, /Did you mean mine\?/);
  assert.doesNotMatch((await mn(tenant, 'bridge show twim')).err, /Did you mean/);
});
