/**
 * The client against a scripted API: texts of refusals, streams cut anywhere, and waiting between
 * tries.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createClient } from './client.ts';
import type { Fetch } from './request.ts';
import { connect } from './connect.ts';
import { ApiError, Unavailable } from './errors.ts';
import { delayMs, RETRY_DEFAULTS } from './retry.ts';
import { EventParser, LineSplitter, type ServerSentEvent } from './sse.ts';
import type { WatchEvent } from './types.ts';

const SEED = Number(process.env['SEED'] ?? 1);

function parseCut(bytes: Uint8Array, cuts: readonly number[]): ServerSentEvent[] {
  const lines = new LineSplitter();
  const parser = new EventParser();
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  const found: ServerSentEvent[] = [];
  for (const [i, place] of places.entries())
    for (const line of lines.push(bytes.subarray(place, places[i + 1] ?? bytes.length))) {
      const event = parser.line(line);
      if (event !== undefined) found.push(event);
    }
  return found;
}

test('events survive any cut of the bytes, any line end, comments and strange characters', () => {
  const data = fc
    .string({ unit: 'grapheme', maxLength: 12 })
    .map((text) => text.replaceAll(/[\r\n\0]/g, '·'));
  const event = fc.record({
    event: fc.constantFrom('change', 'learned'),
    data,
    id: fc.option(fc.nat(99)),
  });
  const ends = fc.constantFrom('\n', '\r\n', '\r');
  const property = fc.property(fc.array(event), ends, fc.array(fc.nat(500)), (list, end, cuts) => {
    let id: string | undefined;
    const expected = list.map((one) => {
      if (one.id !== null) id = String(one.id);
      return { event: one.event, data: one.data, ...(id !== undefined && { id }) };
    });
    const text = list
      .map((one) =>
        [
          ': hello',
          ...(one.id === null ? [] : [`id: ${one.id}`]),
          `event: ${one.event}`,
          `data: ${one.data}`,
          '',
          '',
        ].join(end),
      )
      .join('');
    assert.deepEqual(parseCut(new TextEncoder().encode(text), cuts), expected);
  });
  fc.assert(property, { seed: SEED, numRuns: 500 });
});

test('several data lines are one text; an event without its blank line is none', () => {
  const bytes = new TextEncoder().encode('data: a\ndata:b\ndata\n\ndata: cut');
  assert.deepEqual(parseCut(bytes, []), [{ event: 'message', data: 'a\nb\n' }]);
});

const problem = (status: number, rest: object = {}): Response =>
  new Response(
    JSON.stringify({ type: 'urn:x', title: 'The request is not valid', status, ...rest }),
    { status },
  );

test('a refusal is told in the words of the API', async () => {
  const errors = [
    { path: 'members.0.address', message: 'must be an IPv4 address such as 172.16.0.1' },
    { path: '', message: 'is at revision 3, not 2' },
  ];
  const client = createClient({ fetch: async () => problem(400, { errors }) });
  await assert.rejects(client.status(), (error) => {
    assert.ok(error instanceof ApiError);
    const lines = [
      'The request is not valid',
      '  members.0.address: must be an IPv4 address such as 172.16.0.1',
      '  is at revision 3, not 2',
    ];
    assert.equal(error.message, lines.join('\n'));
    return true;
  });
  const detailed = createClient({ fetch: async () => problem(404, { detail: 'no route /x' }) });
  await assert.rejects(detailed.status(), { message: 'The request is not valid: no route /x' });
  const strange = createClient({ fetch: async () => new Response('<html>', { status: 502 }) });
  await assert.rejects(strange.status(), { message: 'HTTP 502' });
});

test('what keeps an answer from arriving is Unavailable', async () => {
  const after = (_ms: number, run: () => void): (() => void) => {
    queueMicrotask(run);
    return () => {};
  };
  const never: Fetch = (_path, init) =>
    new Promise((_resolve, reject) =>
      init?.signal?.addEventListener('abort', () => reject(new Error('late'))),
    );
  const cases: Fetch[] = [
    async () => Promise.reject(new Error('refused')),
    async () => new Response('{"half":'),
    async () =>
      new Response(
        new ReadableStream({ pull: (controller) => controller.error(new Error('reset')) }),
      ),
  ];
  for (const fetch of cases) await assert.rejects(createClient({ fetch }).status(), Unavailable);
  const slow = createClient({ fetch: never, retry: { after } });
  await assert.rejects(slow.status(), Unavailable);
  await assert.rejects(createClient({ fetch: connect('unix:/nowhere/s') }).status(), Unavailable);
  assert.throws(() => connect('ftp://x'), /must be http:/);
});

test('a token that is none is told at once and never shown; one that changes is asked for anew', async () => {
  for (const token of ['', ' \n', 's3cret one', 's3cret\ntwo', 's3crét'])
    assert.throws(
      () => connect('unix:/nowhere/s', token),
      ({ message }: Error) => message.includes('token') && !message.includes('s3cr'),
    );
  const seen: unknown[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const tokens = ['one', 'two'];
  const fetch = connect(`http://127.0.0.1:${port}`, () => tokens.shift() ?? '');
  for (let i = 0; i < 2; i++) await createClient({ fetch }).status();
  assert.deepEqual(seen, ['Bearer one', 'Bearer two']);
  server.close();
  server.closeAllConnections();
});

test('a watch reconnects after every kind of failure, resumes, and waits longer each time', async () => {
  const delays: number[] = [];
  const paths: string[] = [];
  const stop = new AbortController();
  const frame = (event: WatchEvent, cut = 0): string =>
    `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`.slice(0, -1 - cut) +
    (cut === 0 ? '\n' : '');
  const change = (revision: number): WatchEvent => ({
    type: 'change',
    change: { revision, rows: [] },
  });
  const answers: (() => Response)[] = [
    () => new Response(frame({ type: 'snapshot', revision: 5, objects: [] }) + frame(change(6))),
    () => problem(503),
    () => {
      throw new Error('refused');
    },
    () => new Response(frame(change(7)) + frame(change(8), 4)),
    () => new Response('event: change\ndata: {"broken\n\n'),
    () => new Response(`event: reset\ndata: {}\n\n`),
    () => new Response(frame({ type: 'snapshot', revision: 9, objects: [] })),
  ];
  const fetch: Fetch = async (path) => {
    paths.push(path);
    const answer = answers.shift();
    if (answer === undefined) {
      stop.abort();
      throw new Error('done');
    }
    return answer();
  };
  const after = (ms: number, run: () => void): (() => void) => {
    if (ms === RETRY_DEFAULTS.idleMsMax) return () => {};
    delays.push(ms);
    let wanted = true;
    queueMicrotask(() => wanted && run());
    return () => (wanted = false);
  };
  const client = createClient({ fetch, retry: { after, random: () => 0 } });
  const seen: string[] = [];
  for await (const event of client.watch({ signal: stop.signal }))
    seen.push(event.type === 'change' ? `change ${event.change.revision}` : event.type);
  assert.deepEqual(seen, ['snapshot', 'change 6', 'change 7', 'snapshot']);
  const since = paths.map((path) => path.split('=')[1] ?? 'new');
  assert.deepEqual(since, ['new', '6', '6', '6', '7', '7', 'new', '9']);
  assert.deepEqual(delays, [50, 100, 200, 50, 100, 200, 50]);
});

test('a silent stream is given up, and a refusal ends the watch', async () => {
  let asked = 0;
  const after = (ms: number, run: () => void): (() => void) => {
    let wanted = true;
    queueMicrotask(() => wanted && ms > 0 && run());
    return () => (wanted = false);
  };
  const fetch: Fetch = async () => {
    asked += 1;
    return asked < 3 ? new Response(new ReadableStream()) : problem(401);
  };
  const watch = createClient({ fetch, retry: { after } }).watch({
    signal: new AbortController().signal,
  });
  await assert.rejects(
    watch[Symbol.asyncIterator]().next(),
    (error: ApiError) => error.status === 401,
  );
  assert.equal(asked, 3);
});

test('delays are bounded and never all the same', () => {
  const property = fc.property(
    fc.nat(200),
    fc.double({ min: 0, max: 0.999, noNaN: true }),
    (tries, chance) => {
      const delay = delayMs({ ...RETRY_DEFAULTS, random: () => chance }, tries);
      assert.ok(delay >= RETRY_DEFAULTS.delayMsMin / 2 && delay <= RETRY_DEFAULTS.delayMsMax);
    },
  );
  fc.assert(property, { seed: SEED });
});
