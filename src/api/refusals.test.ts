/** Everything that is refused: status, title, the field that is named, and that nothing changed. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Problem } from '#client/types.ts';
import { openNode } from './fixture.ts';
import { PAGE_LIMIT_MAX } from './lists.ts';
import { REQUEST_BYTES_MAX } from './route.ts';

interface Refused {
  readonly what: string;
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
  readonly raw?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Record<string, string>;
  readonly status: number;
  readonly title: string;
  readonly detail?: RegExp;
  readonly errors?: readonly string[];
}
const NOT_VALID = 'The request is not valid';
const NOT_FOUND = 'Not found';
const REFUSED: readonly Refused[] = [
  {
    what: 'a route that is not there',
    path: '/v2/x',
    status: 404,
    title: NOT_FOUND,
    detail: /no route \/v2\/x/,
  },
  {
    what: 'a method that is not there',
    method: 'PUT',
    path: '/v1/bridges',
    status: 405,
    title: 'Method not allowed',
    detail: /PUT; allowed: GET, POST/,
  },
  {
    what: 'malformed JSON',
    method: 'POST',
    path: '/v1/bridges',
    raw: '{"name":',
    status: 400,
    title: NOT_VALID,
    detail: /the body is not JSON/,
  },
  {
    what: 'JSON that is no object',
    method: 'POST',
    path: '/v1/bridges',
    body: [],
    status: 400,
    title: NOT_VALID,
    detail: /must be a JSON object/,
  },
  {
    what: 'bytes that are not UTF-8',
    method: 'POST',
    path: '/v1/bridges',
    raw: Uint8Array.of(0x22, 0xff, 0x22),
    status: 400,
    title: NOT_VALID,
    detail: /not UTF-8/,
  },
  {
    what: 'another content type',
    method: 'POST',
    path: '/v1/bridges',
    raw: '{}',
    headers: { 'content-type': 'text/plain' },
    status: 415,
    title: 'Wrong content type',
    detail: /text\/plain; send application\/json/,
  },
  {
    what: 'a large body',
    method: 'POST',
    path: '/v1/bridges',
    raw: `"${'x'.repeat(REQUEST_BYTES_MAX)}"`,
    status: 413,
    title: 'Too large',
    detail: /at most 1500000 bytes/,
  },
  {
    what: 'an unknown field',
    method: 'POST',
    path: '/v1/bridges',
    body: { name: 'x', color: 1 },
    status: 400,
    title: NOT_VALID,
    errors: ['color'],
  },
  {
    what: 'a broken rule',
    method: 'POST',
    path: '/v1/bridges',
    body: { name: '' },
    status: 400,
    title: NOT_VALID,
    errors: ['name'],
  },
  {
    what: 'a field the server gives',
    method: 'POST',
    path: '/v1/bridges',
    body: { name: 'x', floodKey: 8388700 },
    status: 400,
    title: NOT_VALID,
    errors: ['floodKey'],
  },
  {
    what: 'a reference to nothing',
    method: 'POST',
    path: '/v1/ports',
    body: { name: 'p', bridge: 'none' },
    status: 400,
    title: NOT_VALID,
    errors: ['bridge'],
  },
  {
    what: 'an immutable field',
    method: 'PATCH',
    path: '/v1/ports/p1',
    body: { bridge: 'b2' },
    status: 400,
    title: NOT_VALID,
    errors: ['bridge'],
  },
  {
    what: 'a taken name',
    method: 'POST',
    path: '/v1/hosts',
    body: { name: 'h1' },
    status: 409,
    title: 'Conflict with what is there',
    errors: ['name'],
  },
  {
    what: 'a taken interface',
    method: 'POST',
    path: '/v1/ports',
    body: { name: 'p', bridge: 'b1', host: 'h1', interface: 'eth1' },
    status: 409,
    title: 'Conflict with what is there',
    errors: ['interface'],
  },
  {
    what: 'a field of another kind of port',
    method: 'POST',
    path: '/v1/ports',
    body: { name: 'p', bridge: 'b1', mtu: 1500 },
    status: 400,
    title: NOT_VALID,
    errors: ['mtu'],
  },
  {
    what: 'a link to a bound port',
    method: 'PATCH',
    path: '/v1/ports/r1-a',
    body: { peer: 'p1' },
    status: 409,
    title: 'Conflict with what is there',
    errors: ['peer'],
  },
  {
    what: 'a link to a port that has one',
    method: 'POST',
    path: '/v1/ports',
    body: { name: 'p', bridge: 'b1', peer: 'r1-a' },
    status: 409,
    title: 'Conflict with what is there',
    errors: ['peer'],
  },
  {
    what: 'a route by no port',
    method: 'POST',
    path: '/v1/routes',
    body: { router: 'r1', destination: '10.0.0.0/8' },
    status: 400,
    title: NOT_VALID,
    errors: ['port'],
  },
  {
    what: 'a route with bits behind its length',
    method: 'POST',
    path: '/v1/routes',
    body: { router: 'r1', destination: '10.0.0.1/8', port: 'r1-a' },
    status: 400,
    title: NOT_VALID,
    errors: ['destination'],
  },
  {
    what: 'the number of a router',
    method: 'PATCH',
    path: '/v1/routers/r1',
    body: { networkKey: 8388700 },
    status: 400,
    title: NOT_VALID,
    errors: ['networkKey'],
  },
  {
    what: 'a host with ports',
    method: 'DELETE',
    path: '/v1/hosts/h1',
    status: 409,
    title: 'Conflict with what is there',
  },
  {
    what: 'an object that is not there',
    path: '/v1/bridges/none',
    status: 404,
    title: NOT_FOUND,
    errors: [''],
  },
  {
    what: 'deleting what is not there',
    method: 'DELETE',
    path: '/v1/bridges/none',
    status: 404,
    title: NOT_FOUND,
    errors: [''],
  },
  {
    what: 'an ambiguous name',
    path: '/v1/bridges/twin',
    status: 409,
    title: 'Conflict with what is there',
    errors: [''],
  },
  {
    what: 'another revision',
    method: 'PATCH',
    path: '/v1/bridges/b1',
    body: { name: 'x' },
    headers: { 'if-match': '"99"' },
    status: 412,
    title: 'The object has changed meanwhile',
  },
  {
    what: 'a strange If-Match',
    method: 'PATCH',
    path: '/v1/bridges/b1',
    body: {},
    headers: { 'if-match': 'W/"x"' },
    status: 400,
    title: NOT_VALID,
    errors: ['If-Match'],
  },
  {
    what: 'a limit of 0',
    path: '/v1/bridges?limit=0',
    status: 400,
    title: NOT_VALID,
    errors: ['limit'],
  },
  {
    what: 'a limit beyond',
    path: `/v1/bridges?limit=${PAGE_LIMIT_MAX + 1}`,
    status: 400,
    title: NOT_VALID,
    errors: ['limit'],
  },
  {
    what: 'a strange place',
    path: '/v1/bridges?after=zz',
    status: 400,
    title: NOT_VALID,
    errors: ['after'],
  },
  {
    what: 'a filter by no field',
    path: '/v1/bridges?colour=red',
    status: 400,
    title: NOT_VALID,
    errors: ['colour'],
  },
  {
    what: 'an empty transaction',
    method: 'POST',
    path: '/v1/transactions',
    body: { operations: [] },
    status: 400,
    title: NOT_VALID,
    errors: ['operations'],
  },
  {
    what: 'a strange operation',
    method: 'POST',
    path: '/v1/transactions',
    body: { operations: [{ op: 'melt' }] },
    status: 400,
    title: NOT_VALID,
    errors: ['operations.0.op'],
  },
  {
    what: 'a wait without a revision',
    path: '/v1/wait',
    status: 400,
    title: NOT_VALID,
    errors: ['revision'],
  },
  {
    what: 'a long wait',
    path: '/v1/wait?revision=1&timeout=99999999',
    status: 400,
    title: NOT_VALID,
    errors: ['timeout'],
  },
  {
    what: 'a strange since',
    path: '/v1/watch?since=x',
    status: 400,
    title: NOT_VALID,
    errors: ['since'],
  },
  {
    what: 'a parameter that is none of a watch',
    path: '/v1/watch?kinds=port',
    status: 400,
    title: NOT_VALID,
    errors: ['kinds'],
  },
  {
    what: 'a parameter that is none',
    path: '/v1/status?x=1',
    status: 400,
    title: NOT_VALID,
    errors: ['x'],
  },
  {
    what: 'a strange role',
    method: 'POST',
    path: '/v1/tokens',
    body: { role: 'king', name: 'x' },
    status: 400,
    title: NOT_VALID,
    errors: ['role'],
  },
  {
    what: 'a token for no host',
    method: 'POST',
    path: '/v1/tokens',
    body: { role: 'host', name: 'x', host: 'none' },
    status: 400,
    title: NOT_VALID,
    errors: ['host'],
  },
  {
    what: 'revoking no token',
    method: 'DELETE',
    path: '/v1/tokens/00',
    status: 404,
    title: NOT_FOUND,
    detail: /no token 00/,
  },
  {
    what: 'a trace of no frame',
    method: 'POST',
    path: '/v1/trace',
    body: { port: 'p1', frame: 'xyz' },
    status: 400,
    title: NOT_VALID,
    errors: ['frame'],
  },
  {
    what: 'a trace of a short frame',
    method: 'POST',
    path: '/v1/trace',
    body: { port: 'p1', frame: '0102' },
    status: 400,
    title: NOT_VALID,
    errors: ['frame'],
  },
  {
    what: "a host's route",
    method: 'PUT',
    path: '/v1/hosts/h1/report',
    body: {},
    status: 403,
    title: 'Not allowed',
    detail: /operators may not; this is for hosts/,
  },
];

test(`${REFUSED.length} refusals are problem+json, name the field, and change nothing`, async () => {
  await using node = openNode();
  const { operator } = node;
  await operator.transact([
    { op: 'create', kind: 'host', body: { name: 'h1' } },
    { op: 'create', kind: 'bridge', body: { name: 'b1' } },
    { op: 'create', kind: 'bridge', body: { name: 'b2' } },
    { op: 'create', kind: 'bridge', body: { name: 'twin' } },
    { op: 'create', kind: 'bridge', body: { name: 'twin' } },
    {
      op: 'create',
      kind: 'port',
      body: { name: 'p1', bridge: 'b1', host: 'h1', interface: 'eth1' },
    },
    { op: 'create', kind: 'router', body: { name: 'r1' } },
    { op: 'create', kind: 'port', body: { name: 'r1-a', router: 'r1', networks: ['10.9.0.1/24'] } },
    { op: 'create', kind: 'port', body: { name: 'b2-r', bridge: 'b2', peer: 'r1-a' } },
  ]);
  const before = await node.store.list('/');
  for (const row of REFUSED) {
    const text = row.raw ?? (row.body === undefined ? undefined : JSON.stringify(row.body));
    const init: RequestInit = {
      method: row.method ?? 'GET',
      headers: {
        ...(text !== undefined && { 'content-type': 'application/json' }),
        ...row.headers,
      },
      ...(text !== undefined && { body: text }),
    };
    const response = await node.request(row.path, init);
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
