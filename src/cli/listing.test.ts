/**
 * One grammar for lists: conditions, order, formats, watching; over rows of any sort, and kinds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { Unavailable } from '#client/errors.ts';
import type { WatchEvent } from '#client/types.ts';
import { type CliIo, EXIT } from './io.ts';
import { type List, listingOptions, showList } from './listing.ts';
import { openSession } from './session.ts';
import { fakeApi, type FakeApi, mn, uuidOf } from './testing.ts';
import { distance, nearest } from './suggest.ts';

interface Flow {
  readonly id: string;
  readonly port: string;
  readonly packets: number;
  readonly reason?: string;
}
const FLOWS: readonly Flow[] = [
  { id: 'f10', port: 'vm1', packets: 7 },
  { id: 'f2', port: 'vm2', packets: 70, reason: 'no-route' },
  { id: 'f1', port: 'vm1', packets: 7, reason: 'No recipient' },
];
const FLOW_LIST: Omit<List<Flow>, 'load'> = {
  columns: [
    { name: 'id', title: 'FLOW', value: ({ id }) => id },
    { name: 'port', title: 'PORT', value: ({ port }) => port },
    { name: 'packets', title: 'PACKETS', value: ({ packets }) => packets, align: 'right' },
    { name: 'reason', title: 'WHY', value: ({ reason }) => reason, wide: true },
  ],
  key: ({ id }) => id,
  empty: 'no flow found',
};

/** Lists rows with flags, each look those of the next of `looks`. */
async function flows(
  flags: string[],
  looks: readonly (readonly Flow[])[],
  io: Partial<CliIo> = {},
) {
  let out = '';
  let err = '';
  const stop = new AbortController();
  const session = openSession({
    client: fakeApi().client,
    out: (text) => (out += text),
    err: (text) => (err += text),
    signal: stop.signal,
    sleep: async () => {},
    ...io,
  });
  let look = 0;
  const list: List<Flow> = {
    ...FLOW_LIST,
    load: async () => {
      if (look === looks.length - 1) stop.abort();
      return looks[look++] ?? [];
    },
  };
  const command = listingOptions(new Command('flows').exitOverride());
  command.configureOutput({ writeErr: (text) => (err += text) });
  await command
    .action(() => showList(session, command.opts(), list))
    .parseAsync(flags, { from: 'user' });
  return { out, err };
}
const ids = async (...flags: string[]): Promise<string> =>
  (await flows([...flags, '-o', 'jsonpath={[*].id}'], [FLOWS])).out.trim().replaceAll('\n', ' ');

test('every operator of --where, and several of them', async () => {
  assert.equal(await ids('--where', 'port=vm1'), 'f10 f1');
  assert.equal(await ids('--where', 'port!=vm1'), 'f2');
  assert.equal(await ids('--where', 'reason~NO'), 'f2 f1');
  assert.equal(await ids('--where', 'packets>7'), 'f2');
  assert.equal(await ids('--where', 'packets<8'), 'f10 f1');
  assert.equal(await ids('--where', 'packets>=7'), 'f10 f2 f1');
  assert.equal(await ids('--where', 'reason='), 'f10');
  assert.equal(await ids('--where', 'reason!='), 'f2 f1');
  assert.equal(await ids('--where', 'port=vm1', '--where', 'reason~recipient'), 'f1');
});

test('--sort: numbers as numbers, names as people count, nothing last, equals as they came', async () => {
  assert.equal(await ids('--sort', 'id'), 'f1 f2 f10');
  assert.equal(await ids('--sort', '-packets,id'), 'f2 f1 f10');
  assert.equal(await ids('--sort', '-packets'), 'f2 f10 f1');
  assert.equal(await ids('--sort', 'reason'), 'f1 f2 f10');
  assert.equal(await ids('--sort', '-reason'), 'f2 f1 f10');
});

test('a table has the columns that some row fills, -o wide all of those', async () => {
  assert.equal(
    (await flows(['--sort', 'id'], [FLOWS])).out,
    'FLOW  PORT  PACKETS\nf1    vm1         7\nf2    vm2        70\nf10   vm1         7\n',
  );
  const { out } = await flows(['-o', 'wide', '--where', 'id=f2'], [FLOWS]);
  assert.equal(out, 'FLOW  PORT  PACKETS  WHY\nf2    vm2        70  no-route\n');
  assert.deepEqual(await flows(['--where', 'id=f9'], [FLOWS]), { out: '', err: 'no flow found\n' });
});

test('what is no condition, field or format is refused before anything is asked', async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      'port list --where name',
      /'name' is not of the form FIELD OP VALUE\nhint: OP is one of = != /,
    ],
    ['port list --where nmae=p1', /no field 'nmae'\nhint: Did you mean name\? The fields are: /],
    ['port list --where mtu>big', /> compares numbers, 'big' is none/],
    ['port list --where name>3', /> compares numbers, name is none/],
    ['port list --sort naem', /--sort: there is no field 'naem'\nhint: Did you mean name\?/],
    ['port list -o xml', /Allowed choices are table, wide, json, yaml, jsonpath=EXPR/],
    ['port list -o jsonpath={.a', /character 4: wanted '}', found the end/],
    ['port list --watch soon', /must be seconds, from 0.1 to 3600/],
  ];
  for (const [line, expected] of cases) {
    const api = fakeApi();
    const ran = await mn(api.client, line);
    assert.equal(ran.code, EXIT.usage, line);
    assert.match(ran.err, expected, line);
    assert.deepEqual(api.asked, [], line);
  }
});

function ports(): FakeApi {
  const api = fakeApi();
  api.add('host', { name: 'h1' });
  api.add('bridge', { name: 'b1' });
  api.add('bridge', { name: 'b2' });
  api.add('router', { name: 'r0' });
  const addresses = [{ mac: '02:00:00:00:00:01', ip: '10.0.0.1' }];
  api.add('port', { name: 'p1', bridge: 'b1', host: 'h1', interface: 'vm1', addresses });
  api.add('port', { name: 'p2', bridge: 'b2' });
  api.add('port', { name: 'up', router: 'r0', networks: ['10.0.1.1/24'], mtu: 9000 });
  return api;
}
const named = async (api: FakeApi, line: string): Promise<string> =>
  (await mn(api.client, `port list ${line} -o jsonpath=[*].name`)).out.trim().replaceAll('\n', ' ');

test('equality of stored fields is asked of the API, the rest is met here', async () => {
  const api = ports();
  const asked = (): unknown => api.asked.findLast(({ call }) => call === 'listAll')?.args[1];
  assert.equal(await named(api, '--where bridge=b1 --where name!=x'), 'p1');
  assert.deepEqual(
    api.asked.find(({ call, args }) => call === 'listAll' && args[0] === 'port')?.args[1],
    { bridge: uuidOf('bridge/b1') },
  );
  assert.equal(await named(api, '--where name=p2'), 'p2');
  assert.deepEqual(asked(), { name: 'p2' });
  assert.equal(await named(api, '--where bridge!=b1'), 'p2 up');
  assert.equal(await named(api, `--where bridge!=${uuidOf('bridge/b1')}`), 'p2 up');
  assert.equal(await named(api, '--where bridge~B'), 'p1 p2');
  assert.equal(await named(api, '--where host='), 'p2 up');
  assert.equal(await named(api, '--where addresses~10.0.0'), 'p1');
  assert.equal(await named(api, '--where addresses.ip~10.0.0 --where addresses.mac!=x'), 'p1');
  assert.equal(await named(api, '--where mtu>1500'), 'up');
  assert.equal(await named(api, '--where admin-state-up=true --where adminStateUp=false'), '');
  assert.equal(await named(api, '--sort -bridge,name'), 'p2 p1 up');
  assert.equal(await named(api, '--where revision>5 --sort -revision'), 'up p2');
});

test('-o wide shows every field of a kind', async () => {
  const { out } = await mn(ports().client, 'port list -o wide --where name=up');
  const [head = ''] = out.split('\n');
  for (const title of ['TYPE', 'MTU', 'REVISION']) assert.match(head, new RegExp(`\\b${title}\\b`));
  assert.doesNotMatch((await mn(ports().client, 'port list')).out, /REVISION/);
});

test('--watch appends what changed, marked; programs get a record for each', async () => {
  const [first, second, third] = FLOWS;
  const after = [{ ...first, packets: 8 } as Flow, third as Flow];
  const looks = [[first, second] as Flow[], [first, second] as Flow[], after];
  assert.equal(
    (await flows(['--watch'], looks)).out,
    `  FLOW  PORT  PACKETS
  f10   vm1         7
  f2    vm2        70
~ f10   vm1         8
+ f1    vm1         7
- f2    vm2        70
`,
  );
  const json = (await flows(['--watch', '-o', 'json'], looks)).out.trim().split('\n');
  assert.deepEqual(
    json
      .map((line) => JSON.parse(line) as unknown)
      .map((record) => Object.values(record as object)),
    [
      ['there', first],
      ['there', second],
      ['changed', after[0]],
      ['new', third],
      ['gone', second],
    ],
  );
  const yaml = (await flows(['--watch', '-o', 'yaml'], looks)).out;
  assert.match(yaml, /^---\nchange: there\nrow:\n {2}id: f10\n/);
  assert.equal(
    (await flows(['--watch', '-o', 'jsonpath=[*].id'], looks)).out,
    'f10\nf2\nf10\nf1\n',
  );
});

test('--watch draws in place on a terminal, and never more than it shows', async () => {
  const [first, second] = FLOWS as [Flow, Flow];
  const looks = [FLOWS, [first, second]];
  const { out } = await flows(['--watch', '3'], looks, { width: 40, height: 24 });
  assert.equal(
    out,
    '\r\u001b[JFLOW  PORT  PACKETS\nf10   vm1         7\nf2    vm2        70\nf1    vm1         7\n' +
      '\u001b[4A\r\u001b[JFLOW  PORT  PACKETS\nf10   vm1         7\nf2    vm2        70\n',
  );
  const small = (await flows(['--watch'], [FLOWS, FLOWS], { width: 40, height: 4 })).out;
  assert.match(small, /^\r\u001b\[JFLOW.*\nf10 .*\n… 2 more\n\u001b\[3A\r\u001b\[JFLOW/);
});

/** A stream that tells of a change as soon as it is asked for, and then is silent. */
const change = (api: FakeApi): WatchEvent => {
  const put = api.add('port', { name: 'p3', bridge: 'b2' });
  return { type: 'change', change: { revision: 9, rows: [{ kind: 'port', id: put.id, put }] } };
};

test('a kind is looked at when the stream says so, and silence of the API is waited out', async () => {
  const api = ports();
  const stop = new AbortController();
  let pauses = 0;
  const ran = await mn(api.client, 'port list --watch', {
    signal: stop.signal,
    sleep: async () => {
      pauses += 1;
      if (pauses === 1) api.failNext.set('listAll', new Unavailable('no API answered'));
      if (pauses === 2) api.answers.events.push(change(api));
      if (pauses > 3) stop.abort();
    },
    client: {
      ...api.client,
      watch: async function* watch({ signal }) {
        while (!signal.aborted) {
          yield* api.answers.events.splice(0);
          yield { type: 'change', change: { revision: 9, rows: [{ kind: 'port', id: 'x' }] } };
          await new Promise(setImmediate);
        }
      },
    },
  });
  assert.equal(ran.code, EXIT.ok);
  assert.match(ran.out, /^ {2}NAME .*\n(.*\n)*\+ p3 .*\n$/);
  assert.equal(ran.err, 'note: no API answered; trying again\n');
});

test('the nearest words are those that a slip leads to', () => {
  assert.equal(distance('brigde', 'bridge'), 1);
  assert.equal(distance('', 'abc'), 3);
  assert.deepEqual(nearest('brigde', ['bridge', 'port', 'router']), ['bridge']);
  assert.deepEqual(nearest('tunnel', ['tunnel-zone', 'port']), ['tunnel-zone']);
  assert.deepEqual(nearest('xyzzy', ['bridge', 'port']), []);
});
