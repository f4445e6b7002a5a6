/** `mn status`, `mn trace` and `mn watch` against an API in a Map. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFrameText } from '#net/text.ts';
import type { TraceRequest } from '#client/trace.ts';
import type { AgentReport, HostStatus, WatchEvent } from '#client/types.ts';
import type { StoredObject } from '#virtual/kind.ts';
import { EXIT } from '../io.ts';
import { type FakeApi, fakeApi, mn, uuidOf } from '../testing.ts';
import { addressesOf } from '../packets.ts';

const report = (of: Partial<AgentReport>, drops: Record<string, number> = {}): AgentReport => ({
  revision: 7,
  version: '0.1.0',
  portsUp: [],
  portsDown: [],
  counters: {
    upcalls: 4,
    flowsInstalled: 3,
    flowsNow: 2,
    hits: 90,
    misses: 4,
    tunnelHits: 10,
    cut: 0,
    injected: 4,
    drops,
  },
  ...of,
});
const host = (name: string, of: Partial<HostStatus>): HostStatus => ({
  host: uuidOf(`host/${name}`),
  name,
  state: 'alive',
  ...of,
});

function world(): FakeApi {
  const api = fakeApi();
  api.add('bridge', { name: 'b0' });
  const port = (name: string, n: number) =>
    api.add('port', {
      name,
      bridge: 'b0',
      addresses: [{ mac: `02:00:00:00:00:0${n}`, ip: `10.0.0.${n}` }],
    });
  port('p1', 1);
  port('p2', 2);
  api.add('port', { name: 'bare', bridge: 'b0' });
  return api;
}

test('status says who lags, which ports are down and why, and what was dropped', async () => {
  const api = world();
  const down = [{ port: uuidOf('port/p2'), why: 'there is no interface vm2' }];
  api.answers.status = {
    version: '0.1.0',
    revision: 7,
    hosts: [
      host('h1', { report: report({ portsUp: [uuidOf('port/p1')] }, { 'no-recipient': 5 }) }),
      host('h2', {
        report: report({ revision: 4, portsDown: down }, { 'no-recipient': 9, 'not-ours': 1 }),
      }),
      host('h3', { state: 'dead' }),
    ],
  };
  const { out, code } = await mn(api.client, 'status', { api: 'http://127.0.0.1:1' });
  assert.equal(code, EXIT.ok);
  assert.equal(
    out,
    `API       0.1.0 at http://127.0.0.1:1
Revision  7
Hosts     3: 2 alive, 1 dead

HOST  STATE  BEHIND  LAG  UP  DOWN  FLOWS  HITS  MISSES  DROPS  DROPS/S  VERSION
h1    alive       0    -   1     0      2   100       4      5        -  0.1.0
h2    alive       3    -   0     1      2   100       4     10        -  0.1.0
h3    dead

1 port down
PORT  HOST  WHY
p2    h2    there is no interface vm2

DROPPED       FRAMES  AT          BECAUSE
no-recipient      14  h2 9, h1 5  The flood has nobody to reach: no other port of the bridge is up.
not-ours           1  h2 1        The host's own stack tried to talk through a bound interface.
`,
  );
});

test('tables fit the terminal and take colour only when told to', async () => {
  const api = world();
  api.answers.status = {
    version: '0.1.0',
    revision: 7,
    hosts: [host('h1', { report: report({}, { 'no-recipient': 5 }) })],
  };
  const { out } = await mn(api.client, 'status', { width: 60 });
  for (const line of out.split('\n')) assert.ok(line.length <= 70, line);
  assert.match(out, /^no-recipient +5 +h1 5 .*…$/m);
  assert.doesNotMatch(out, /\u001b/);
  const coloured = await mn(api.client, 'status', { colour: true });
  assert.match(coloured.out, /\u001b\[32malive\u001b\[39m/);
  assert.equal(coloured.out.replaceAll(/\u001b\[\d+m/g, ''), (await mn(api.client, 'status')).out);
});

test('a wide table is cut where it is widest, and what hosts say cannot steer the terminal', async () => {
  const api = world();
  api.answers.status = {
    version: '0.1.0',
    revision: 7,
    hosts: [
      host('h1', { report: { ...report({}), version: '\u001b[2J9\n8' } }),
      host('a-host-with-a-rather-long-name-in-rack-7', {}),
    ],
  };
  const wide = (await mn(api.client, 'status')).out;
  assert.match(wide, /^a-host-with-a-rather-long-name-in-rack-7 /m);
  assert.match(wide, /^h1 .*\ufffd\[2J9\ufffd8$/m);
  const { out } = await mn(api.client, 'status', { width: 90 });
  assert.match(out, /^a-host-with-a[a-z-]*… +/m);
  for (const line of out.split('\n')) assert.ok(line.length <= 90, line);
});

const frameAsked = (api: FakeApi): string =>
  (api.asked.findLast((ask) => ask.call === 'trace')?.args[0] as TraceRequest | undefined)?.frame ??
  '';

test('trace fills in the MACs that are seeded for the addresses', async () => {
  const api = world();
  const { out, code } = await mn(api.client, 'trace p1 "icmp 10.0.0.1 > 10.0.0.2"');
  assert.equal(code, EXIT.ok);
  const whole = '02:00:00:00:00:01 > 02:00:00:00:00:02 icmp 10.0.0.1 > 10.0.0.2';
  assert.equal(frameAsked(api), (parseFrameText(whole) as Uint8Array).toHex());
  assert.match(out, /^02:00:00:00:00:01 > 02:00:00:00:00:02 icmp .*\ndrop: no-recipient\n$/);
});

/**
 * b0 and b1 as one segment, with two routers: 10.0.0.254 in b0, 10.1.0.254 in b1; p1 has addresses
 * of both networks.
 */
function segment(): FakeApi {
  const api = world();
  api.add('bridge', { name: 'b1' });
  for (const [n, bridge] of ['b0', 'b1'].entries()) {
    api.add('router', { name: `r${n}` });
    const mac = `02:00:00:00:01:0${n}`;
    const networks = [`10.${n}.0.254/24`, `fd0${n}::fe/64`];
    api.add('port', { name: `r${n}-a`, router: `r${n}`, mac, networks });
    api.add('port', { name: `${bridge}-r`, bridge, peer: `r${n}-a` });
  }
  api.add('port', { name: 'b0-1', bridge: 'b0' });
  const b1 = [{ mac: '02:00:00:00:00:09', ip: '10.0.0.9' }];
  api.add('port', { name: 'b1-0', bridge: 'b1', peer: 'b0-1', addresses: b1 });
  api.add('port', { name: 'b0-1', bridge: 'b0', peer: 'b1-0' });
  return api;
}

test('trace sends to the router what is not on the link, as a workload would', async () => {
  const src = '02:00:00:00:00:01';
  const [r0, r1] = ['02:00:00:00:01:00', '02:00:00:00:01:01'];
  const cases: readonly (readonly [string, string])[] = [
    ['icmp 10.0.0.1 > 192.0.2.1', r0],
    ['icmp 10.1.0.1 > 192.0.2.1', r1],
    ['icmp 172.16.0.1 > 192.0.2.1', r0],
    ['udp [fd01::1]:5 > [fd09::1]:53', r1],
    ['icmp 10.0.0.1 > 10.0.0.254', r0],
    ['icmp 10.0.0.1 > 10.1.0.254', r1],
    ['icmp6 fd00::1 > fe80::ff:fe00:101', r1],
    ['icmp 10.0.0.1 > 10.0.0.9', '02:00:00:00:00:09'],
  ];
  for (const [text, dst] of cases) {
    const api = segment();
    const ran = await mn(api.client, `trace p1 "${text}"`);
    assert.equal(ran.code, EXIT.ok, `${text}\n${ran.err}`);
    const whole = parseFrameText(`${src} > ${dst} ${text}`);
    assert.equal(frameAsked(api), (whole as Uint8Array).toHex(), text);
  }
  for (const text of ['icmp 10.0.0.1 > 10.0.0.77', 'icmp6 fd00::1 > fe80::77']) {
    const ran = await mn(segment().client, `trace p1 "${text}"`);
    assert.match(ran.err, /^error: frame: destination MAC: does not follow/, text);
  }
});

test('trace into a router goes to its own MAC; who sends must be said', async () => {
  const api = segment();
  const ran = await mn(api.client, 'trace r0-a "icmp 10.0.0.9 > 10.9.0.1"');
  assert.equal(ran.code, EXIT.usage);
  assert.match(ran.err, /the router's is 02:00:00:00:01:00, the sender's is not known/);
});

test('trace says how the frame leaves, and what is sent because of it', async () => {
  const api = segment();
  const frame = (text: string): string => (parseFrameText(text) as Uint8Array).toHex();
  const macs = '02:00:00:00:00:01 > 02:00:00:00:01:00';
  const ping = `${macs} icmp 10.0.0.1 > 192.0.2.1 echo id 0 seq 0`;
  const leaves =
    '02:00:00:00:01:01 > 02:00:00:00:00:09 icmp 10.0.0.1 > 192.0.2.1 echo id 0 seq 0 ttl 63';
  api.answers.trace = { lines: ['forward: to port p2'], rewritten: frame(leaves) };
  const line = 'trace p1 "icmp 10.0.0.1 > 192.0.2.1"';
  assert.equal(
    (await mn(api.client, line)).out,
    `${ping}\nforward: to port p2\nleaves as ${leaves}\n`,
  );
  api.answers.trace = { lines: ['forward: to port p2'], rewritten: frame(ping) };
  assert.equal((await mn(api.client, line)).out, `${ping}\nforward: to port p2\n`);
  const sends = ['r0-a', 'gone'].map((name) => ({
    port: uuidOf(`port/${name}`),
    frame: '00',
    text: 'a frame',
  }));
  api.answers.trace = { lines: ['drop: why'], sends };
  assert.equal(
    (await mn(api.client, line)).out,
    `${ping}\ndrop: why\nsent out of port r0-a: a frame\nsent out of port ${uuidOf('port/gone')}: a frame\n`,
  );
});

test('trace takes hex, and says what a frame lacks', async () => {
  const api = world();
  const hex = 'ffffffffffff020000000001 88b5';
  assert.equal((await mn(api.client, `trace p1 --hex "${hex}"`)).code, EXIT.ok);
  assert.equal(frameAsked(api), hex.replace(' ', ''));
  for (const line of [
    'trace p1 --hex 12x',
    'trace p1 "icmp 10.0.0.1 > 10.0.0.9"',
    'trace bare "icmp 10.0.0.1 > 10.0.0.2"',
    'trace p1 "icpm 10.0.0.1 > 10.0.0.2"',
    'trace p1 "icmp 10.0.0.1 > 10.0.0.2" --hex 00',
  ]) {
    const ran = await mn(api.client, line);
    assert.equal(ran.code, EXIT.usage, line);
    assert.match(ran.err, /^error: .*\n(  .*\n +\^+\n)?hint: .*\n$/, line);
  }
  assert.equal((await mn(api.client, 'trace p9 "icmp 10.0.0.1 > 10.0.0.2"')).code, EXIT.refused);
});

test('the addresses of a frame are found in its text', () => {
  const both = { from: '10.0.0.1', to: '10.0.0.2' };
  assert.deepEqual(addressesOf('icmp 10.0.0.1 > 10.0.0.2'), both);
  assert.deepEqual(addressesOf('udp 10.0.0.1:5 > 10.0.0.2:53'), both);
  assert.deepEqual(
    addressesOf('02:00:00:00:00:01 > 02:00:00:00:00:02 tcp 10.0.0.1:1 > 10.0.0.2:2'),
    both,
  );
  assert.deepEqual(addressesOf('udp [fd00::0:1]:5 > [fd00::2]:53'), {
    from: 'fd00::1',
    to: 'fd00::2',
  });
  assert.deepEqual(addressesOf('icmp6 fd00::1 > fd00::2'), { from: 'fd00::1', to: 'fd00::2' });
  assert.deepEqual(addressesOf('arp who-has 10.0.0.2 tell 10.0.0.1'), { from: '10.0.0.1' });
  assert.deepEqual(addressesOf('ns fe80::1 for fd00::1'), { from: 'fe80::1' });
  assert.deepEqual(addressesOf('type 0x88b5'), {});
});

test('watch calls a route without a name by what tells it from its like', async () => {
  const api = segment();
  const route = api.add('route', { router: 'r0', destination: '::/0', type: 'reject' });
  const rows = [{ kind: 'route', id: route.id, put: { ...route, weight: 7 } }] as const;
  api.answers.events.push(
    { type: 'change', change: { revision: 20, rows } },
    { type: 'change', change: { revision: 21, rows: [{ kind: 'route', id: route.id }] } },
  );
  const { out } = await mn(api.client, 'watch');
  assert.equal(out, '20  route ::/0 of r0  changed  weight=7\n21  route ::/0 of r0  deleted\n');
});

test('watch tells what changed, by name, and JSON lines are the events', async () => {
  const api = world();
  const p1 = await api.client.get('port', 'p1');
  const changed: StoredObject = Object.assign({}, p1, { revision: 6, adminStateUp: false });
  const events: WatchEvent[] = [
    { type: 'progress', revision: 5 },
    {
      type: 'change',
      change: {
        revision: 6,
        rows: [
          { kind: 'port', id: p1.id, put: changed },
          { kind: 'host', id: uuidOf('h'), put: { id: uuidOf('h'), name: 'h9', revision: 6 } },
        ],
      },
    },
    { type: 'change', change: { revision: 7, rows: [{ kind: 'port', id: p1.id }] } },
  ];
  api.answers.events.push(...events);
  const { out } = await mn(api.client, 'watch');
  assert.equal(
    out,
    '6  port p1  changed  admin-state-up=false\n6  host h9  new\n7  port p1  deleted\n',
  );
  const [asked] = api.asked.findLast((ask) => ask.call === 'watch')?.args ?? [];
  assert.equal((asked as { readonly since: number }).since, 4);
  const json = await mn(api.client, 'watch -o json --kind port --count 1');
  const [line = '', ...more] = json.out.trimEnd().split('\n');
  assert.deepEqual(more, []);
  const seen = JSON.parse(line) as WatchEvent;
  assert.ok(seen.type === 'change');
  assert.deepEqual(
    seen.change.rows.map((row) => row.kind),
    ['port'],
  );
});
