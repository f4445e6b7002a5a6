/**
 * What every store must do, as a suite that each body's test runs (law 6 among them): whoever adds
 * a store passes this and nothing else has to change.
 */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Clock } from './clock.ts';
import { Compacted, RANGE_BYTES_MAX, STORE_LIMITS, TooLarge } from './store.ts';
import type { LeasedEvent, Operation, Store } from './store.ts';

export const DEADLINE_MS = 20_000;

/** A clock that stands until told to advance; timers run in order of their time. */
export function manualClock(): Clock & { advance(ms: number): void; jump(ms: number): void } {
  let nowMs = 0;
  let timers: { readonly at: number; readonly run: () => void }[] = [];
  return {
    now: () => nowMs,
    after: (delayMs, run) => {
      const timer = { at: nowMs + delayMs, run };
      timers.push(timer);
      return () => (timers = timers.filter((t) => t !== timer));
    },
    advance: (ms) => {
      const until = nowMs + ms;
      for (;;) {
        const [next] = timers.filter((t) => t.at <= until).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        timers = timers.filter((t) => t !== next);
        nowMs = Math.max(nowMs, next.at);
        next.run();
      }
      nowMs = until;
    },
    /** Time passes and no timer runs: the process stood still. */
    jump: (ms) => (nowMs += ms),
  };
}

export interface ContractOptions {
  readonly clock?: Clock;
  readonly historyRevisionsMax?: number;
}
/** `open` answers a new, empty store each time. */
export type OpenStore = (options?: ContractOptions) => Promise<Store> | Store;

/** Registers the suite for one body. */
export function storeContract(name: string, open: OpenStore): void {
  describe(`store contract: ${name}`, () => {
    transactions(open);
    ranges(open);
    limits(open);
    watches(open);
    history(open);
    leases(open);
    leasedWatches(open);
  });
}

const put = (key: string, value: string): Operation => ({ put: key, value });
const remove = (key: string): Operation => ({ delete: key });

function transactions(open: OpenStore): void {
  test('a transaction compares, swaps, and is one revision', async () => {
    await using store = await open();
    const first = await store.transact(
      [{ key: '/a', modified: 0 }],
      [put('/a', '1'), put('/b', '2')],
    );
    assert.deepEqual(first, { ok: true, revision: 1 });
    const lost = await store.transact(
      [{ key: '/a', modified: 0 }],
      [put('/a', 'x'), put('/c', 'x')],
    );
    assert.deepEqual(lost, { ok: false, revision: 1 });
    const one = [{ key: '/a', value: '1', modified: 1 }];
    assert.deepEqual(await store.list('/a'), { revision: 1, entries: one });
    const swap = await store.transact([{ key: '/a', modified: 1 }], [remove('/a'), put('/b', '3')]);
    assert.deepEqual(swap, { ok: true, revision: 2 });
    const { entries } = await store.list('/');
    assert.deepEqual(entries, [{ key: '/b', value: '3', modified: 2 }]);
  });

  test('a transaction that changes nothing has no revision of its own', async () => {
    await using store = await open();
    assert.deepEqual(await store.transact([], [remove('/none')]), { ok: true, revision: 0 });
    assert.deepEqual(await store.transact([], []), { ok: true, revision: 0 });
  });

  test('of many that compare with the same state exactly one wins', async () => {
    await using store = await open();
    const tries = Array.from({ length: 50 }, (_, i) =>
      store.transact([{ key: '/x', modified: 0 }], [put('/x', String(i))]),
    );
    const results = await Promise.all(tries);
    assert.equal(results.filter(({ ok }) => ok).length, 1);
    const { entries } = await store.list('/x');
    assert.equal(entries[0]?.value, String(results.findIndex(({ ok }) => ok)));
  });

  test('a list shows its prefix only, by key', async () => {
    await using store = await open();
    await store.transact(
      [],
      ['/a/2', '/a/1', '/b/1', '/a', '/aa'].map((key) => put(key, key)),
    );
    const keys = (await store.list('/a/')).entries.map(({ key }) => key);
    assert.deepEqual(keys, ['/a/1', '/a/2']);
    assert.equal((await store.list('')).entries.length, 5);
  });
}

function ranges(open: OpenStore): void {
  test('a range is walked from either end, in parts of any size, each entry once', async () => {
    await using store = await open();
    const keys = Array.from({ length: 40 }, (_, i) => `r/${String(i).padStart(3, '0')}`);
    for (const key of keys) await store.transact([], [put(key, `v${key}`), put(`s/${key}`, '')]);
    const part = fc.record({
      first: fc.nat(41),
      last: fc.nat(41),
      limit: fc.integer({ min: 1, max: 50 }),
      backwards: fc.boolean(),
    });
    const bound = (at: number): string => `r/${String(at).padStart(3, '0')}`;
    const property = fc.asyncProperty(part, async ({ first, last, limit, backwards }) => {
      let [from, to] = [bound(first), bound(last)];
      const found: string[] = [];
      for (let more = true; more;) {
        const answer = await store.range({ from, to, limit, backwards });
        assert.ok(answer.entries.length <= limit);
        for (const { key, value, modified } of answer.entries) {
          assert.deepEqual([value, modified], [`v${key}`, keys.indexOf(key) + 1]);
          found.push(key);
        }
        more = answer.more;
        const end = found.at(-1) ?? '';
        if (backwards) to = end;
        else from = `${end}\u0000`;
      }
      const expected = keys.filter((_key, i) => i >= first && i < last);
      assert.deepEqual(found, backwards ? expected.reverse() : expected);
    });
    await fc.assert(property, { seed: Number(process.env['SEED'] ?? 1), numRuns: 60 });
  });

  test('an answer to a range ends at its limit of bytes', async () => {
    await using store = await open();
    const value = 'x'.repeat(1_000_000);
    for (let i = 0; i < 6; i++) await store.transact([], [put(`r/${i}`, value)]);
    const { entries, more } = await store.range({ from: 'r/', to: 'r0', limit: 100 });
    assert.deepEqual([entries.length, more], [RANGE_BYTES_MAX / 1_000_000, true]);
  });
}

function limits(open: OpenStore): void {
  test('the limits hold and what breaks one writes nothing', async () => {
    await using store = await open();
    const { operationsPerTransactionMax: most, comparesPerTransactionMax: compares } = STORE_LIMITS;
    const puts = Array.from({ length: most + 1 }, (_, i) => put(`/k${i}`, 'v'));
    await assert.rejects(store.transact([], puts), TooLarge);
    const conditions = Array.from({ length: compares + 1 }, (_, i) => ({
      key: `/k${i}`,
      modified: 0,
    }));
    await assert.rejects(store.transact(conditions, [put('/a', '1')]), TooLarge);
    const big = 'é'.repeat(STORE_LIMITS.transactionBytesMax / 2);
    await assert.rejects(store.transact([], [put('/a', big)]), TooLarge);
    assert.deepEqual(await store.list(''), { revision: 0, entries: [] });
    assert.ok((await store.transact(conditions.slice(1), puts.slice(1))).ok);
  });
}

function watches(open: OpenStore): void {
  const keys = fc.constantFrom('a', 'b', 'c', 'd');
  const values = fc.option(fc.string({ maxLength: 3, unit: 'grapheme-ascii' }));
  const transaction = fc.uniqueArray(fc.tuple(keys, values), {
    selector: ([key]) => key,
    minLength: 1,
    maxLength: 3,
  });
  const histories = fc.array(transaction, { minLength: 1, maxLength: 10 });

  test('law 6: a watcher that resumes anywhere ends with what list shows', async () => {
    await using store = await open();
    let run = 0;
    const property = fc.asyncProperty(
      histories,
      fc.nat(9),
      fc.nat(9),
      async (history, cut, live) => {
        const prefix = `/w${run++}/`;
        const seen = new Map<string, string>();
        let since = (await store.list(prefix)).revision;
        const write = async (slice: typeof history): Promise<void> => {
          for (const row of slice)
            await store.transact(
              [],
              row.map(([k, v]) => (v === null ? remove(prefix + k) : put(prefix + k, v))),
            );
        };
        await write(history.slice(0, cut));
        const listed = await store.list(prefix);
        for (const { key, value } of listed.entries) seen.set(key, value);
        since = listed.revision;
        await write(history.slice(cut, cut + live));
        const stop = new AbortController();
        const watching = follow(store, { prefix, since, stop, into: seen });
        await write(history.slice(cut + live));
        await store.transact([], [put(`${prefix}~`, 'end')]);
        await watching;
        const { entries } = await store.list(prefix);
        assert.deepEqual([...seen].sort(), entries.map(({ key, value }) => [key, value]).sort());
      },
    );
    await fc.assert(property, { seed: Number(process.env['SEED'] ?? 1), numRuns: 60 });
  });

  test('a watch ends when its signal aborts and when the store closes', async () => {
    const store = await open();
    const stop = new AbortController();
    const aborted = drain(store.watch('/', 0, stop.signal));
    const closed = drain(store.watch('/', 0, new AbortController().signal));
    stop.abort();
    await aborted;
    await store[Symbol.asyncDispose]();
    await closed;
    await assert.rejects(store.list('/'), { name: 'StoreUnavailable' });
  });
}

interface Follow {
  readonly prefix: string;
  readonly since: number;
  readonly stop: AbortController;
  readonly into: Map<string, string>;
}
async function follow(store: Store, { prefix, since, stop, into }: Follow): Promise<void> {
  let last = since;
  for await (const { revision, events } of store.watch(prefix, since, stop.signal)) {
    assert.ok(revision > last, 'revisions only grow, each seen once');
    last = revision;
    for (const event of events) {
      assert.ok(event.key.startsWith(prefix));
      if (event.type === 'put') into.set(event.key, event.value);
      else into.delete(event.key);
      if (event.key === `${prefix}~`) stop.abort();
    }
  }
}

async function drain(stream: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of stream) count += 1;
  return count;
}

function history(open: OpenStore): void {
  test('a watch from before the compaction says so', async () => {
    await using store = await open();
    for (const value of ['1', '2', '3']) await store.transact([], [put('/a', value)]);
    await store.compact(2);
    const signal = AbortSignal.timeout(DEADLINE_MS);
    await assert.rejects(drain(store.watch('/', 1, signal)), Compacted);
    for await (const change of store.watch('/', 2, signal)) {
      assert.equal(change.revision, 3);
      break;
    }
  });

  test('history is bounded by itself, and a watcher that stood still is told', async () => {
    await using store = await open({ historyRevisionsMax: 10 });
    await store.transact([], [put('/a', '0')]);
    const watcher = store.watch('/', 0, AbortSignal.timeout(DEADLINE_MS))[Symbol.asyncIterator]();
    assert.equal((await watcher.next()).value?.revision, 1);
    for (let i = 1; i <= 30; i++) await store.transact([], [put('/a', String(i))]);
    await assert.rejects(watcher.next(), Compacted);
    const recent = store.watch('/', 21, AbortSignal.timeout(DEADLINE_MS))[Symbol.asyncIterator]();
    assert.equal((await recent.next()).value?.revision, 22);
    await recent.return?.();
  });
}

function leases(open: OpenStore): void {
  test('leased keys are kept by renewal, lapse by time, and belong to the last to put them', async () => {
    const clock = manualClock();
    await using store = await open({ clock });
    const { leased } = store;
    const entry = (key: string, owner: string, value = 'v') => ({ key, value, owner });
    await leased.put([entry('/l/a', 'h1'), entry('/l/b', 'h1')], 5_000);
    clock.advance(4_000);
    await leased.put([entry('/l/a', 'h1')], 5_000);
    clock.advance(4_000);
    assert.deepEqual(await leased.list('/l/'), [entry('/l/a', 'h1')]);
    await leased.put([entry('/l/a', 'h2', 'w')], 5_000);
    await leased.delete('h1', ['/l/a']);
    assert.deepEqual(await leased.list('/l/'), [entry('/l/a', 'h2', 'w')]);
    await leased.delete('h2', ['/l/a', '/l/none']);
    assert.deepEqual(await leased.list(''), []);
  });

  test('a stopped process ages no lease', async () => {
    const clock = manualClock();
    await using store = await open({ clock });
    await store.leased.put([{ key: '/a', value: 'v', owner: 'h' }], 5_000);
    clock.jump(3_600_000);
    assert.equal((await store.leased.list('')).length, 1);
    clock.advance(3_000);
    assert.equal((await store.leased.list('')).length, 1);
    clock.advance(3_000);
    assert.equal((await store.leased.list('')).length, 0);
  });
}

function leasedWatches(open: OpenStore): void {
  test('watchers of leased keys start with all, then see changes in order, lapses too', async () => {
    const clock = manualClock();
    await using store = await open({ clock });
    const { leased } = store;
    await leased.put([{ key: '/l/a', value: '1', owner: 'h1' }], 5_000);
    const stop = new AbortController();
    const watcher = leased.watch('/l/', stop.signal)[Symbol.asyncIterator]();
    const next = async (): Promise<readonly LeasedEvent[]> => (await watcher.next()).value ?? [];
    assert.deepEqual(await next(), [{ type: 'put', key: '/l/a', value: '1', owner: 'h1' }]);
    await leased.put([{ key: '/other', value: '1', owner: 'h1' }], 5_000);
    await leased.put([{ key: '/l/a', value: '1', owner: 'h1' }], 9_000);
    await leased.put([{ key: '/l/a', value: '2', owner: 'h2' }], 5_000);
    assert.deepEqual(await next(), [{ type: 'put', key: '/l/a', value: '2', owner: 'h2' }]);
    const lapse = next();
    clock.advance(6_000);
    assert.deepEqual(await lapse, [{ type: 'delete', key: '/l/a', owner: 'h2' }]);
    stop.abort();
    assert.equal((await watcher.next()).done, true);
  });

  test('law 6 for leased keys: whoever watches from anywhere ends with what list shows', async () => {
    const step = fc.record({
      key: fc.constantFrom('/a', '/b', '/c'),
      value: fc.option(fc.constantFrom('1', '2')),
      owner: fc.constantFrom('h1', 'h2'),
      passMs: fc.constantFrom(0, 700, 3_000),
    });
    const property = fc.asyncProperty(
      fc.array(step, { maxLength: 20 }),
      fc.nat(20),
      async (steps, from) => {
        const clock = manualClock();
        await using store = await open({ clock });
        const stop = new AbortController();
        const seen = new Map<string, string>();
        const watch = async (): Promise<void> => {
          for await (const events of store.leased.watch('', stop.signal))
            for (const e of events) {
              if (e.type === 'put') seen.set(e.key, `${e.value} of ${e.owner}`);
              else seen.delete(e.key);
              if (e.key === '/end') stop.abort();
            }
        };
        let watching: Promise<void> | undefined;
        for (const [i, { key, value, owner, passMs }] of steps.entries()) {
          if (i === from) watching = watch();
          if (value === null) await store.leased.delete(owner, [key]);
          else await store.leased.put([{ key, value, owner }], 4_000);
          clock.advance(passMs);
        }
        watching ??= watch();
        await store.leased.put([{ key: '/end', value: '', owner: 'h1' }], 4_000);
        await watching;
        const listed = (await store.leased.list('')).map((e) => [
          e.key,
          `${e.value} of ${e.owner}`,
        ]);
        assert.deepEqual([...seen].sort(), listed);
      },
    );
    await fc.assert(property, { seed: Number(process.env['SEED'] ?? 1), numRuns: 40 });
  });
}
