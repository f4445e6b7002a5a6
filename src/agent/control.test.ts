/** The agent's conversation with an API that fails, refuses and comes back, without a network. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ApiError, Unavailable } from '#client/errors.ts';
import type { AgentReport, Client, LearnedMac, WatchEvent } from '#client/types.ts';
import { HostGone, runControl, type Clock } from './control.ts';
import type { EdgeState, FromEdge, ToEdge } from './messages.ts';

const counters = {
  upcalls: 0,
  flowsInstalled: 0,
  flowsNow: 0,
  hits: 0,
  misses: 0,
  tunnelHits: 0,
  cut: 0,
  injected: 0,
  drops: {},
};
const state = (revision: number, more: Partial<EdgeState> = {}): EdgeState => ({
  revision,
  portsUp: [],
  portsDown: [],
  locate: [],
  publicPorts: { wants: [], returns: [] },
  counters,
  balanced: { opened: 0, bytesIn: 0, bytesOut: 0 },
  records: {
    ...{ connectionsOpened: 0, connectionsEvicted: 0, recordsSent: 0, recordsSentAgain: 0 },
    ...{
      recordsTaken: 0,
      recordsRefused: 0,
      questionsAsked: 0,
      questionsRefused: 0,
      datagramsRefused: 0,
    },
  },
  limits: [],
  firstPackets: { counts: [], sumSeconds: 0 },
  ...more,
});
const learned = (mac: string): LearnedMac => ({ bridge: 'b', vlan: 0, mac, port: 'p' });

interface Calls {
  readonly reports: AgentReport[];
  readonly located: string[];
  readonly learned: (readonly LearnedMac[])[];
}

/** A control under test: time stands still until `pass` lets every sleeper go on. */
function stage(failures: { report?: number; learn?: (Error | undefined)[]; watch?: Error[] } = {}) {
  const calls: Calls = { reports: [], located: [], learned: [] };
  const stop = new AbortController();
  const sleepers = new Set<() => void>();
  const clock: Clock = {
    now: () => 0,
    sleep: (_ms, signal) =>
      new Promise((resolve) => {
        sleepers.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      }),
  };
  let failing = failures.report ?? 0;
  const client = {
    async *watch({ signal }: { signal: AbortSignal }): AsyncGenerator<WatchEvent> {
      const error = failures.watch?.shift();
      if (error !== undefined) throw error;
      yield { type: 'progress', revision: 1 };
      yield* news.splice(0);
      await new Promise<void>((resolve) =>
        signal.addEventListener('abort', () => resolve(), { once: true }),
      );
    },
    report: async (report: AgentReport) => {
      if (failing-- > 0) throw new Unavailable('no API');
      calls.reports.push(report);
    },
    locate: async (port: string) => {
      calls.located.push(port);
      return { revision: 1, objects: [] };
    },
    learn: async (put: readonly LearnedMac[]) => {
      const error = failures.learn?.shift();
      if (error !== undefined) throw error;
      calls.learned.push(put);
    },
  } as unknown as Client;
  const news: WatchEvent[] = [];
  let take: (message: FromEdge) => void = () => {};
  const told: ToEdge[] = [];
  const running = runControl({
    host: 'me',
    client,
    edge: { send: (m) => told.push(m), onMessage: (callback) => (take = callback) },
    links: {
      async *watch() {
        yield [{ name: 'vm1', index: 7 }];
      },
    },
    clock,
    log: { info: () => {}, warn: () => {} },
    version: 'v',
    signal: stop.signal,
  });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await setImmediate();
  };
  return {
    calls,
    told,
    news,
    running,
    tell: async (message: FromEdge) => {
      take(message);
      await settle();
    },
    pass: async () => {
      for (const wake of sleepers) wake();
      sleepers.clear();
      await settle();
    },
    settle,
    end: async () => {
      stop.abort();
      await running;
    },
  };
}

test('events and links reach the edge; nothing is reported before a revision is in force', async () => {
  const s = stage();
  await s.settle();
  assert.deepEqual(
    s.told.map((message) => message.type),
    ['event', 'interfaces'],
  );
  await s.tell({ type: 'state', state: state(-1) });
  assert.equal(s.calls.reports.length, 0);
  await s.tell({ type: 'state', state: state(3) });
  assert.deepEqual(
    s.calls.reports.map((report) => report.revision),
    [3],
  );
  await s.end();
});

const refusal401 = new ApiError({ type: 'about:blank', title: 'no token', status: 401 });

test('an API that refuses the stream is asked again, and what is known stays', async () => {
  const s = stage({ watch: [refusal401, refusal401] });
  const events = (): number => s.told.filter(({ type }) => type === 'event').length;
  for (let tries = 0; tries < 2; tries++) {
    await s.settle();
    assert.equal(events(), 0);
    await s.pass();
  }
  assert.equal(events(), 1);
  await s.end();
});

for (const [what, event] of [
  ['a snapshot without it', { type: 'snapshot', revision: 1, objects: [] }],
  ['its deletion', { type: 'change', change: { revision: 2, rows: [{ kind: 'host', id: 'me' }] } }],
] as const)
  test(`the edge is told of ${what}, then the agent of this host ends`, async () => {
    const s = stage();
    s.news.push(event);
    await assert.rejects(s.running, HostGone);
    assert.deepEqual(s.told.at(-1), { type: 'event', event });
  });

test('the agent goes on while its own host is there', async () => {
  const s = stage();
  const object = { id: 'me', name: 'renamed', revision: 2 };
  s.news.push({ type: 'snapshot', revision: 1, objects: [{ kind: 'host', object }] });
  const rows = [
    { kind: 'host', id: 'other' },
    { kind: 'host', id: 'me', put: object },
  ] as const;
  s.news.push({ type: 'change', change: { revision: 2, rows } });
  await s.settle();
  assert.equal(s.told.filter(({ type }) => type === 'event').length, 3);
  await s.end();
});

test('of very many ports some are located with each report, and in the end all', async () => {
  const s = stage();
  const locate = Array.from({ length: 200 }, (_, i) => ({
    port: `p${i}`,
    interface: 'i',
    up: true,
  }));
  for (const most of [64, 128, 192, 256]) {
    await s.tell({ type: 'state', state: state(3, { locate }) });
    assert.ok(s.calls.located.length <= most);
  }
  assert.equal(new Set(s.calls.located).size, 200);
  assert.equal(s.calls.reports.length, 4);
  await s.end();
});

test('a failed report is tried again, with the newest state', async () => {
  const s = stage({ report: 2 });
  await s.tell({ type: 'state', state: state(3) });
  await s.tell({
    type: 'state',
    state: state(4, { locate: [{ port: 'p', interface: 'i', up: true }] }),
  });
  assert.equal(s.calls.reports.length, 0);
  await s.pass();
  assert.deepEqual(
    s.calls.reports.map((report) => report.revision),
    [4],
  );
  assert.ok(s.calls.located.length > 0);
  await s.end();
});

test('words wait while it is the token that is refused', async () => {
  const s = stage({ learn: [refusal401, undefined] });
  await s.tell({ type: 'learned', put: [learned('good')], forget: [] });
  await s.pass();
  assert.deepEqual(
    s.calls.learned.map((put) => put.map((entry) => entry.mac)),
    [['good']],
  );
  await s.end();
});

test('words that the API refuses are dropped, the others go on; failures of the world are retried', async () => {
  const refusal = new ApiError({
    type: 'about:blank',
    title: 'forbidden',
    status: 403,
    errors: [{ path: 'put.0.port', message: 'is not bound to this host' }],
  });
  const s = stage({ learn: [refusal, new Unavailable('no API'), undefined] });
  await s.tell({ type: 'learned', put: [learned('bad'), learned('good')], forget: [] });
  await s.pass();
  await s.pass();
  assert.deepEqual(
    s.calls.learned.map((put) => put.map((entry) => entry.mac)),
    [['good']],
  );
  await s.end();
});
