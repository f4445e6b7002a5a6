/** What subscribers hold equals what they may see, wherever they begin and whatever happens. */
import { afterEach, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ApiError } from '#client/errors.ts';
import { events } from '#client/sse.ts';
import type { Client, WatchEvent } from '#client/types.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { basics, created, edits, HOSTS, operationsOf, type Edit } from './edits.fixture.ts';
import { type Fixture, openNode, openTimedNode } from './fixture.ts';
import { EventStream, STREAM_BYTES_WAITING_MAX } from './stream.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const DEADLINE_MS = 20_000;

/** Applies events as an agent or a user interface would. */
class Holder {
  readonly objects = new Map<string, StoredObject>();
  readonly learned = new Map<string, string>();
  revision = -1;
  readonly events: WatchEvent[] = [];
  apply(event: WatchEvent): void {
    this.events.push(event);
    if (event.type === 'learned') {
      if (event.all) this.learned.clear();
      for (const { mac, port, host } of event.put) this.learned.set(mac, `${port} ${host}`);
      for (const { mac } of event.forget) this.learned.delete(mac);
      return;
    }
    if (event.type === 'ask' || event.type === 'ask-over') return;
    if (event.type === 'snapshot') {
      this.objects.clear();
      for (const { kind, object } of event.objects)
        this.objects.set(`${kind}/${object.id}`, object);
    }
    if (event.type === 'change')
      for (const { kind, id, put } of event.change.rows) {
        if (put !== undefined) this.objects.set(`${kind}/${id}`, put);
        else assert.ok(this.objects.delete(`${kind}/${id}`), `${kind} ${id} was never shown`);
      }
    const revision = event.type === 'change' ? event.change.revision : event.revision;
    if (event.type !== 'snapshot') assert.ok(revision > this.revision, 'revisions only grow');
    this.revision = revision;
  }
}

/** Reads until the holder is at `revision`. */
async function readUntil(client: Client, holder: Holder, revision: number): Promise<void> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), DEADLINE_MS);
  const since = holder.revision < 0 ? {} : { since: holder.revision };
  for await (const event of client.watch({ ...since, signal: stop.signal })) {
    holder.apply(event);
    if (holder.revision >= revision) break;
  }
  clearTimeout(timer);
  assert.equal(holder.revision, revision);
}

/** A test that fails leaves no follower behind, which would keep the process alive. */
const followers = new Set<AbortController>();
afterEach(() => {
  for (const stop of followers) stop.abort();
  followers.clear();
});

/** Follows in the background; `reached` polls nothing: it is asked after each event. */
function follow(client: Client, holder: Holder) {
  const stop = new AbortController();
  followers.add(stop);
  let waiting: { done(): boolean; resolve(): void }[] = [];
  const check = (): void => {
    waiting = waiting.filter(({ done, resolve }) => {
      if (done()) resolve();
      return !done();
    });
  };
  const run = (async () => {
    for await (const event of client.watch({ signal: stop.signal })) {
      holder.apply(event);
      check();
    }
  })();
  return {
    until: (done: () => boolean) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error('deadline')), DEADLINE_MS);
        waiting.push({
          done,
          resolve: () => {
            clearTimeout(timer);
            resolve();
          },
        });
        check();
      }),
    stop: async () => {
      stop.abort();
      await run;
    },
    run,
  };
}

async function everything(node: Fixture): Promise<Map<string, StoredObject>> {
  const all = new Map<string, StoredObject>();
  for (const { key, value, modified } of (await node.store.list('/topology/')).entries)
    if (key !== '/topology/head')
      all.set(key.slice('/topology/'.length), {
        ...(JSON.parse(value) as StoredObject),
        revision: modified,
      });
  return all;
}

/** What a host may see, from the words of the design only. */
function entitledSlowly(
  all: ReadonlyMap<string, StoredObject>,
  host: string,
): Map<string, StoredObject> {
  const field = (object: StoredObject, name: string): unknown =>
    (object as unknown as Record<string, unknown>)[name];
  const objects = [...all];
  const ofKind = (kind: KindName) => objects.filter(([key]) => key.startsWith(`${kind}/`));
  if (!all.has(`host/${host}`)) return new Map();
  const rows = ofKind('port').map(([, p]) => p);
  const deviceOf = (p: StoredObject): unknown => field(p, 'bridge') ?? field(p, 'router');
  const devices = new Set(rows.filter((p) => field(p, 'host') === host).map(deviceOf));
  // A set is walked in order of insertion, and what is added meanwhile is walked too.
  for (const device of devices)
    for (const near of rows.filter((p) => deviceOf(p) === device))
      for (const far of rows.filter((p) => p.id === field(near, 'peer')))
        devices.add(deviceOf(far));
  const ports = ofKind('port').filter(([, p]) => devices.has(deviceOf(p)));
  const shown = new Set(ports.map(([, p]) => p.id));
  const filters = ['inboundFilter', 'outboundFilter'];
  const groups = ['inPortGroup', 'sourceGroup'];
  const deciding = new Set(
    objects
      .filter(([, { id }]) => devices.has(id) || shown.has(id))
      .flatMap(([, object]) => filters.map((filter) => field(object, filter))),
  );
  for (const chain of deciding)
    for (const [, rule] of ofKind('rule'))
      if (chain !== undefined && field(rule, 'chain') === chain)
        for (const named of ['jump', ...groups]) deciding.add(field(rule, named));
  return new Map([
    ...ofKind('host'),
    ...ofKind('tunnel-zone'),
    ...objects.filter(([key, { id }]) => /^(chain|.*-group)\//.test(key) && deciding.has(id)),
    ...ofKind('rule').filter(([, rule]) => deciding.has(field(rule, 'chain'))),
    ...[...ofKind('bridge'), ...ofKind('router')].filter(([, { id }]) => devices.has(id)),
    ...ports,
    ...ofKind('location').filter(([, l]) => shown.has(String(field(l, 'port')))),
    ...ofKind('route').filter(([, r]) => devices.has(field(r, 'router'))),
  ]);
}

let applied = 0;
async function edit(node: Fixture, agents: readonly Client[], change: Edit, n: number) {
  const { what, a } = change;
  try {
    // A second object of a name would make every later edit by that name ambiguous.
    const makes = created(change);
    if (
      makes !== undefined &&
      (await node.operator.listAll(makes[0], { name: makes[1] })).length > 0
    )
      return;
    if (what === 'locate') {
      const [port] = await node.operator.listAll('port', { name: `p${a}` });
      const host = (port as { host?: string } | undefined)?.host;
      const { hosts } = await node.operator.status();
      const agent = agents[hosts.findIndex((one) => one.host === host)];
      await agent?.locate(`p${a}`, { interface: `eth-${a}` });
    } else await node.operator.transact(operationsOf(change, n));
    applied += 1;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

/** Something to edit, so that most edits do something. */
const withPorts = async (node: Fixture): Promise<unknown> => node.operator.transact(basics);

async function withHosts(node: Fixture): Promise<Client[]> {
  for (const name of HOSTS) await node.operator.create('host', { name });
  return Promise.all(HOSTS.map((name) => node.as({ role: 'host', name, host: name })));
}

test('a host holds exactly what it is entitled to after any edits, live and anew', async () => {
  let changes = 0;
  const property = fc.asyncProperty(edits(30), async (list) => {
    await using node = openNode();
    const agents = await withHosts(node);
    await withPorts(node);
    const ids = (await node.operator.listAll('host')).map(({ id }) => id);
    const holders = agents.map(() => new Holder());
    const following = agents.map((agent, i) => follow(agent, holders[i] ?? new Holder()));
    await Promise.all(following.map((f, i) => f.until(() => (holders[i]?.events.length ?? 0) > 0)));
    for (const [n, change] of list.entries()) await edit(node, agents, change, n);
    const { revision } = await node.operator.status();
    const all = await everything(node);
    for (const [i, host] of ids.entries()) {
      const holder = holders[i] ?? new Holder();
      await following[i]?.until(() => holder.revision >= revision);
      const slow = [...entitledSlowly(all, host)].sort(byKey);
      assert.deepEqual([...holder.objects].sort(byKey), slow);
      const anew = new Holder();
      await readUntil(agents[i] ?? node.operator, anew, revision);
      assert.deepEqual([...anew.objects].sort(byKey), slow);
      changes += holder.events.length;
    }
    await Promise.all(following.map((f) => f.stop()));
  });
  await fc.assert(property, { seed: SEED, numRuns: 100 });
  console.log(`watch: ${applied} edits, ${changes} events to hosts`);
});
const byKey = (a: readonly [string, unknown], b: readonly [string, unknown]): number =>
  a[0] < b[0] ? -1 : 1;

test('operators and tenants that resume anywhere end with what they may see', async () => {
  const property = fc.asyncProperty(
    edits(30),
    fc.array(fc.nat(25), { maxLength: 4 }),
    async (list, cuts) => {
      await using node = openNode();
      const agents = await withHosts(node);
      await withPorts(node);
      const tenant = await node.as({ role: 'tenant', name: 't', tenant: 'acme' });
      const readers = [node.operator, tenant].map((client) => ({ client, holder: new Holder() }));
      const catchUp = async (): Promise<void> => {
        const { revision } = await node.operator.status();
        for (const { client, holder } of readers)
          if (holder.revision < revision) await readUntil(client, holder, revision);
      };
      for (const [n, change] of list.entries()) {
        if (cuts.includes(n)) await catchUp();
        if (n % 3 === 0)
          await tenant
            .create('bridge', { name: `acme${n}` })
            .then(() => (n % 2 === 0 ? tenant.remove('bridge', `acme${n}`) : undefined));
        await edit(node, agents, change, n);
      }
      await catchUp();
      const all = [...(await everything(node))].sort(byKey);
      assert.deepEqual([...(readers[0]?.holder.objects ?? [])].sort(byKey), all);
      const own = all.filter(([, object]) => object.tenant === 'acme');
      assert.deepEqual([...(readers[1]?.holder.objects ?? [])].sort(byKey), own);
    },
  );
  await fc.assert(property, { seed: SEED, numRuns: 40 });
});

test('subscribers of one change who may see different rows of it are told different rows', async () => {
  await using node = openNode();
  const readers = await Promise.all(
    ['acme', 'evil'].map(async (tenant) => ({
      tenant,
      client: await node.as({ role: 'tenant', name: tenant, tenant }),
      holder: new Holder(),
    })),
  );
  const following = readers.map(({ client, holder }) => follow(client, holder));
  await Promise.all(following.map((f, i) => f.until(() => readers[i]?.holder.revision !== -1)));
  const { revision } = await node.operator.transact([
    { op: 'create', kind: 'bridge', body: { name: 'a', tenant: 'acme' } },
    { op: 'create', kind: 'bridge', body: { name: 'e', tenant: 'evil' } },
  ]);
  for (const [i, { tenant, holder }] of readers.entries()) {
    await following[i]?.until(() => holder.revision >= revision);
    assert.deepEqual(
      [...holder.objects.values()].map((object) => object.tenant),
      [tenant],
    );
    await following[i]?.stop();
  }
});

test('a revision out of reach is answered with reset and all there is', async () => {
  await using node = openNode();
  await node.operator.create('bridge', { name: 'b' });
  for (const headers of [{ 'last-event-id': '7777' }, { 'last-event-id': '0' }]) {
    await node.operator.status();
    const response = await node.request('/v1/watch', { headers });
    const seen: string[] = [];
    for await (const { event } of events(response.body ?? new ReadableStream())) {
      seen.push(event);
      if (event === 'snapshot' || event === 'change') break;
    }
    assert.deepEqual(seen, headers['last-event-id'] === '0' ? ['change'] : ['reset', 'snapshot']);
  }
});

test('learned MACs reach the other hosts of the bridge, move, are forgotten, and lapse', async () => {
  await using node = openTimedNode();
  const [one, two, three] = await withHosts(node);
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  const { operator } = node;
  await operator.transact([
    { op: 'create', kind: 'bridge', body: { name: 'b' } },
    { op: 'create', kind: 'port', body: { name: 'p0', bridge: 'b', host: 'h0', interface: 'e0' } },
    { op: 'create', kind: 'port', body: { name: 'p1', bridge: 'b', host: 'h1', interface: 'e1' } },
  ]);
  const bridge = (await operator.get('bridge', 'b')).id;
  const port0 = (await operator.get('port', 'p0')).id;
  const port1 = (await operator.get('port', 'p1')).id;
  const row = (port: string, mac: string) => ({ bridge, vlan: 0, mac, port });
  const A = '02:00:00:00:00:0a';
  await assert.rejects(one.learn([row(port0, A)], []), /put\.0\.port: is not up on this host/);
  await one.locate('p0', { interface: 'e0' });
  await two.locate('p1', { interface: 'e1' });
  await assert.rejects(
    one.learn([row(port0, A), row(port1, A)], []),
    /put\.1\.port: is not bound to this host/,
  );
  await assert.rejects(
    one.learn([{ ...row(port0, A), mac: 'ff:ff:ff:ff:ff:ff' }], []),
    /put\.0\.mac: must be a unicast/,
  );
  const holders = [new Holder(), new Holder(), new Holder()] as const;
  const following = [one, two, three].map((agent, i) => follow(agent, holders[i] ?? new Holder()));
  await Promise.all(
    following.map((f, i) => f.until(() => holders[i]?.events[1]?.type === 'learned')),
  );
  const id0 = (await operator.get('host', 'h0')).id;
  const id1 = (await operator.get('host', 'h1')).id;
  await one.learn([row(port0, A)], []);
  await following[1]?.until(() => holders[1].learned.get(A) === `${port0} ${id0}`);
  await two.learn([row(port1, A)], []);
  await following[0]?.until(() => holders[0].learned.get(A) === `${port1} ${id1}`);
  await one.learn([], [row(port0, A)]);
  const late = new Holder();
  await operator.transact([
    { op: 'create', kind: 'port', body: { name: 'p2', bridge: 'b', host: 'h2', interface: 'e2' } },
  ]);
  await following[2]?.until(() => holders[2].learned.get(A) === `${port1} ${id1}`);
  const lateFollow = follow(three, late);
  await lateFollow.until(() => late.learned.get(A) === `${port1} ${id1}`);
  node.clock.advance(299_000);
  assert.equal(late.learned.size, 1);
  node.clock.advance(2_500);
  await lateFollow.until(() => late.learned.size === 0);
  await two.learn([row(port1, A)], []);
  await lateFollow.until(() => late.learned.size === 1);
  await operator.update('port', 'p1', { host: 'h2' });
  await lateFollow.until(() => late.learned.size === 0);
  await Promise.all([...following, lateFollow].map((f) => f.stop()));
});

test('a revoked token ends its stream, and a deleted host takes its tokens and counters along', async () => {
  await using node = openNode();
  const [one] = await withHosts(node);
  assert.ok(one !== undefined);
  const holder = new Holder();
  const following = follow(one, holder);
  const refused = assert.rejects(following.run, (error: ApiError) => error.status === 401);
  await following.until(() => holder.events.length > 0);
  await node.operator.remove('host', 'h0');
  await refused;
  const response = await node.request('/v1/tokens');
  const { items } = (await response.json()) as { items: { name: string }[] };
  assert.deepEqual(items.map(({ name }) => name).sort(), ['h1', 'h2']);
});

test('a reader who does not read is cut off; what a stream starts with is not held against it', async () => {
  const ends: string[] = [];
  const stream = new EventStream({ last: () => undefined, ended: (why) => ends.push(why) });
  const half = new Uint8Array(STREAM_BYTES_WAITING_MAX / 2 + 1);
  stream.start([half, half, half]);
  stream.push(half);
  assert.deepEqual(ends, []);
  stream.push(half);
  assert.deepEqual(ends, ['slow']);
  assert.equal((await stream.body.getReader().read()).done, true);
});
