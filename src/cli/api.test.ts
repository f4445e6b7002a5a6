/** The command line against the real API in this process: the same words, the real answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApi } from '#api/app.ts';
import { createClient } from '#client/client.ts';
import type { Client } from '#client/types.ts';
import { openSqlite } from '#store/sqlite.ts';
import { EXIT } from './io.ts';
import { mn, type Ran } from './testing.ts';

interface Place {
  readonly client: Client;
  /** A client with a token of its own, over the side that trusts nobody. */
  as(secret: string | undefined): Client;
  mn(line: string): Promise<Ran>;
}

/** Runs `play` against an API of its own, over a store in memory. */
async function withApi(play: (place: Place) => Promise<void>): Promise<void> {
  await using store = openSqlite(':memory:');
  const api = createApi({ store, clock: { now: () => performance.now() }, version: '0.1.0' });
  await api.ready;
  const request = (path: string, init: RequestInit = {}): Request =>
    new Request(`http://api${path}`, init);
  const client = createClient({ fetch: (path, init) => api.operator(request(path, init)) });
  const as = (secret: string | undefined): Client =>
    createClient({
      fetch: (path, init = {}) => {
        const headers = new Headers(init.headers);
        if (secret !== undefined) headers.set('authorization', `Bearer ${secret}`);
        return api.fetch(request(path, { ...init, headers }));
      },
    });
  try {
    await play({ client, as, mn: (line) => mn(client, line) });
  } finally {
    await api.close();
  }
}

async function build(place: Place): Promise<void> {
  for (const line of [
    'host create h1',
    'host create h2',
    'tunnel-zone create z --members host=h1,address=172.16.0.1',
    'bridge create b0',
    'port create p1 --bridge b0 --addresses mac=02:00:00:00:00:01,ip=10.0.0.1',
    'port create p2 --bridge b0 --addresses mac=02:00:00:00:00:02,ip=10.0.0.2',
    'port bind p1 --host h1 --interface vm1',
  ]) {
    const ran = await place.mn(line);
    assert.equal(ran.code, EXIT.ok, `${line}\n${ran.err}`);
  }
}

test('a network is built, shown, changed and deleted', () =>
  withApi(async (place) => {
    await build(place);
    const list = await place.mn('port list --where bridge=b0');
    assert.match(list.out, /^p1 {4}b0 {6}h1 {4}vm1 {8}true /m);
    assert.match(list.out, /^p2 {4}b0 /m);
    await place.mn('tunnel-zone update z --add-members host=h2,address=172.16.0.2');
    assert.match(
      (await place.mn('tunnel-zone show z')).out,
      /^members +host=h1,address=172\.16\.0\.1\n +host=h2,address=172\.16\.0\.2$/m,
    );
    await place.mn('tunnel-zone update z --remove-members host=h1');
    assert.doesNotMatch((await place.mn('tunnel-zone show z')).out, /h1/);
    assert.match((await place.mn('port unbind p1')).out, /^unbound port p1\n$/);
    assert.equal((await place.mn('port delete p1 p2')).code, EXIT.ok);
    assert.equal((await place.mn('port list -o json')).out, '[]\n');
    const yaml = await place.mn('bridge list -o yaml');
    assert.match(yaml.out, /^- id: /);
  }));

test('refusals are the words of the API, with what to type next', () =>
  withApi(async (place) => {
    await build(place);
    const cases: readonly (readonly [string, RegExp])[] = [
      ['bridge show b9', /hint: See what there is: mn bridge list\n$/],
      [
        'port bind p2 --host h9 --interface vm2',
        /\n {2}host: .*\nhint: See what there is: mn host list\n$/,
      ],
      ['port bind p2 --host h1 --interface vm1', /\n {2}interface: is bound to port p1 /],
      [
        'port update p1 --bridge b0 --name p2 --if-revision 1',
        /hint: See how it is now: mn port show p1\n$/,
      ],
      ['port create p3', /\n {2}bridge: .*\nhint: mn port create --help\n$/],
      [
        'port update p1 --add-addresses mac=03:00:00:00:00:01',
        /addresses\.1\.mac: must be a unicast MAC/,
      ],
      ['host delete h1', /^error: /],
    ];
    for (const [line, expected] of cases) {
      const ran = await place.mn(line);
      assert.equal(ran.code, EXIT.refused, `${line}\n${ran.out}${ran.err}`);
      assert.match(ran.err, expected, line);
      assert.equal(ran.out, '', line);
    }
  }));

test('a hint is a command that says more', () =>
  withApi(async (place) => {
    await build(place);
    for (const line of ['router create r', 'router create r', 'router create r0'])
      assert.equal((await place.mn(line)).code, EXIT.ok, line);
    const which = /hint: See which is which: mn router list --where name=r\n$/;
    const cases: readonly (readonly [string, RegExp])[] = [
      ['port create x --router r', which],
      ['router delete r', which],
      ['port create x --bridge b0 --router r0', /hint: mn port create --help\n$/],
      [
        'route create --router r0 --destination ::/0 --type reject --port p1',
        /hint: mn route create --help\n$/,
      ],
      [
        'route delete ::/0',
        /hint: A route without a name goes by its id: mn route list --where destination=::\/0\n$/,
      ],
      [
        'port create x --bridge b0 --addresses mac=02:00:00:00:00:01',
        /hint: See how it is now: mn port list\n$/,
      ],
    ];
    for (const [line, expected] of cases) {
      const ran = await place.mn(line);
      assert.equal(ran.code, EXIT.refused, `${line}\n${ran.out}${ran.err}`);
      assert.match(ran.err, expected, line);
    }
  }));

test('trace walks the real simulation', () =>
  withApi(async (place) => {
    await build(place);
    const ran = await place.mn('trace p1 "arp who-has 10.0.0.2 tell 10.0.0.1"');
    assert.equal(ran.code, EXIT.ok, ran.err);
    assert.match(ran.out, /answer/);
    const json = await place.mn('trace p1 "icmp 10.0.0.1 > 10.0.0.2" -o json');
    const result = JSON.parse(json.out) as { readonly verdict: string; readonly lines: string[] };
    assert.ok(['forward', 'drop'].includes(result.verdict));
    assert.notEqual(result.lines.length, 0);
  }));

test('two networks are joined by a router, and traced through it', () =>
  withApi(async (place) => {
    await build(place);
    const said: readonly (readonly [string, string])[] = [
      ['bridge create b1', 'created bridge b1'],
      [
        'port create p3 --bridge b1 --addresses mac=02:00:00:00:00:03,ip=10.0.1.3',
        'created port p3',
      ],
      ['router create r0', 'created router r0'],
      [
        'port create r0-0 --router r0 --mac 02:00:00:00:01:00 --networks 10.0.0.254/24,fd00::fe/64',
        'created port r0-0',
      ],
      [
        'port create r0-1 --router r0 --mac 02:00:00:00:01:01 --networks 10.0.1.254/24',
        'created port r0-1',
      ],
      ['port create b0-r --bridge b0', 'created port b0-r'],
      ['port create b1-r --bridge b1 --peer r0-1', 'created port b1-r'],
      ['port link r0-0 b0-r', 'linked port r0-0 to b0-r'],
      [
        'route create --router r0 --destination 10.9.0.0/16 --type reject',
        'created route 10.9.0.0/16 of r0',
      ],
    ];
    for (const [line, expected] of said)
      assert.deepEqual(
        await place.mn(line),
        { code: EXIT.ok, out: `${expected}\n`, err: '' },
        line,
      );
    assert.match((await place.mn('port list --where router=r0')).out, /^r0-1 +r0 +b1-r +true /m);
    assert.match((await place.mn('route list')).out, /^r0 +10\.9\.0\.0\/16 +reject +100 /m);
    const through = await place.mn('trace p1 "icmp 10.0.0.1 > 10.0.1.3"');
    assert.match(through.out, /^02:00:00:00:00:01 > 02:00:00:00:01:00 icmp /);
    assert.match(
      through.out,
      /\nleaves as 02:00:00:00:01:01 > 02:00:00:00:00:03 icmp .* seq 0 ttl 63\n$/,
    );
    const refused = await place.mn('trace p1 "icmp 10.0.0.1 > 10.9.0.1"');
    assert.match(
      refused.out,
      /\ndrop: The route .*\nsent out of port r0-0: .* icmp 10\.0\.0\.254 > 10\.0\.0\.1 admin-prohibited /,
    );
    const bound = await place.mn('port link p1 r0-0');
    assert.match(bound.err, /^ {2}host: cannot go with a peer: a port is either bound or linked$/m);
    assert.equal((await place.mn('port unlink b0-r')).out, 'unlinked port b0-r\n');
    assert.equal((await place.mn('router delete r0')).out, 'deleted router r0\n');
    assert.equal((await place.mn('route list -o json')).out, '[]\n');
  }));

test('--wait names the hosts that were never heard of, and status shows them', () =>
  withApi(async (place) => {
    await build(place);
    const ran = await place.mn('bridge create b1 --wait 100');
    assert.equal(ran.out, 'created bridge b1\n');
    assert.match(ran.err, /^(error: not enforced within 100 ms by|note: away, .*): h1, h2\n/);
    assert.match((await place.mn('status')).out, /^h1 {4}(unknown|dead)$/m);
  }));

test('tokens: the secret works, nothing works without one', () =>
  withApi(async (place) => {
    await build(place);
    const none = await mn(place.as(undefined), 'bridge list');
    assert.equal(none.code, EXIT.refused);
    assert.match(none.err, /hint: Give a token/);
    const issued = await place.mn('token issue --role tenant --tenant acme');
    const tenant = place.as(issued.out.trim());
    const own = await mn(tenant, 'bridge create b7');
    assert.equal(own.code, EXIT.ok, own.err);
    const denied = await mn(tenant, 'host create h7');
    assert.equal(denied.code, EXIT.refused);
    assert.match(denied.err, /hint: This token may not do that/);
    assert.match((await mn(tenant, 'bridge list')).out, /^b7 {4}acme /m);
  }));

test('watch sees changes after a revision, and completion the live names', () =>
  withApi(async (place) => {
    await build(place);
    const watched = await place.mn('watch --since 4 --count 2 --kind port');
    assert.match(
      watched.out,
      /^\d+ {2}port p1 {2}now {2}.*bridge=b0.*\n\d+ {2}port p2 {2}now {2}.*\n$/,
    );
    assert.equal((await place.mn('complete -- port show ""')).out, 'p1\np2\n');
  }));
