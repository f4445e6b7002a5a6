/** What an agent is asked: answered in order, bounded, and over when nobody waits any more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Answer } from '#client/asks.ts';
import { ApiError, Unavailable } from '#client/errors.ts';
import type { WatchEvent } from '#client/types.ts';
import { AskDesk, ASKS_ANSWERED } from './asks.ts';
import { EdgeAsks, type EdgeContext, type Slice } from './edge-asks.ts';
import { LIMITS } from './limits.ts';
import type { FromEdge, ToEdge } from './messages.ts';

function desk(answerAsk?: (id: string, answer: Answer) => Promise<void>) {
  const answers: [string, Answer][] = [];
  const toEdge: ToEdge[] = [];
  const made = new AskDesk({
    client: {
      answerAsk: async (id, answer) => {
        answers.push([id, answer]);
        await answerAsk?.(id, answer);
      },
    },
    edge: { send: (message) => toEdge.push(message) },
    context: {
      version: '1',
      revision: () => 7,
      upMs: () => 12.5,
      log: { info: () => {}, warn: () => {} },
    },
  });
  return { made, answers, toEdge };
}
const ask = (id: string, kind: string): WatchEvent => ({
  type: 'ask',
  id,
  ask: { kind },
  timeoutMs: 60_000,
});
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await setImmediate();
};

test('the agent tells what it is; other events are not the desk’s', async () => {
  const { made, answers } = desk();
  assert.ok(ASKS_ANSWERED.includes('about'));
  assert.equal(made.take({ type: 'progress', revision: 1 }), false);
  assert.equal(made.take(ask('a', 'about')), true);
  await settle();
  const parts = answers.flatMap(([, answer]) => answer.parts);
  assert.equal(parts.length, 1);
  assert.partialDeepStrictEqual(parts[0], { version: '1', revision: 7, upMs: 13 });
  assert.equal(answers.at(-1)?.[1].done, true);
  assert.ok(answers.slice(0, -1).every(([, { done }]) => !done));
});

test('what this version does not know is refused by name', async () => {
  for (const kind of ['fly', 'toString', '__proto__']) {
    const { made, answers } = desk();
    made.take(ask('a', kind));
    await settle();
    assert.equal(answers.length, 1);
    assert.match(answers[0]?.[1].error ?? '', new RegExp(`cannot answer "${kind}"`));
  }
});

test('an API that is gone, or has heard enough, is told no more', async () => {
  const gone = new ApiError({ type: 'about:blank', title: 'over', status: 410 });
  for (const error of [gone, new Unavailable('no API')]) {
    const { made, answers } = desk(() => Promise.reject(error));
    made.take(ask('a', 'about'));
    await settle();
    assert.ok(answers.length <= 1);
  }
});

/** Answers of the packet worker by generators of the test. */
function edge(answers: Record<string, () => Generator<Slice<number>, void, void>>) {
  const posted: Extract<FromEdge, { type: 'answer' }>[] = [];
  const asks = new EdgeAsks({} as EdgeContext, answers);
  const post = (message: FromEdge): void => {
    assert.ok(message.type === 'answer');
    posted.push(message);
  };
  return {
    asks,
    posted,
    start: (id: string, kind: string) => asks.start(id, { kind } as never, post),
    step: () => asks.step(post),
  };
}

test('answers of the packet worker take turns, a slice each', () => {
  function* count() {
    for (let i = 0; i < 3; i++) yield [i];
  }
  const { asks, posted, start, step } = edge({ count });
  start('a', 'count');
  start('b', 'count');
  let steps = 0;
  for (; asks.busy; steps++) step();
  assert.equal(steps, 8);
  assert.equal(posted.map(({ id }) => id).join(''), 'abababab');
  assert.deepEqual(
    posted.slice(-2).map(({ done }) => done),
    [true, true],
  );
});

test('an idle answer waits for something to happen, and gives back what it holds', () => {
  let held = 0;
  function* wait(): Generator<Slice<number>, void, void> {
    held += 1;
    try {
      for (;;) yield 'idle';
    } finally {
      held -= 1;
    }
  }
  const { asks, posted, start, step } = edge({ wait });
  start('a', 'wait');
  step();
  assert.equal(held, 1);
  assert.equal(asks.busy, false);
  asks.wake();
  assert.equal(asks.busy, true);
  step();
  asks.over('a');
  assert.equal(held, 0);
  assert.equal(asks.busy, false);
  assert.equal(posted.length, 0);
});

test('an answer that fails says why and ends; one that nobody knows does too', () => {
  function* fail(): Generator<Slice<number>, void, void> {
    yield [];
    throw new Error('no such port');
  }
  const { asks, posted, start, step } = edge({ fail });
  start('a', 'fail');
  for (let i = 0; i < 2; i++) step();
  start('b', 'other');
  assert.equal(asks.busy, false);
  assert.deepEqual(
    posted.map(({ id, done, error }) => [id, done, error]),
    [
      ['a', true, 'no such port'],
      ['b', true, 'the packet worker does not answer "other"'],
    ],
  );
});

test('more requests than the agent answers at a time are refused', async () => {
  const held = Promise.withResolvers<void>();
  const { made, answers } = desk(() => held.promise);
  for (let i = 0; i <= LIMITS.requestsMax; i++) made.take(ask(`a${i}`, 'about'));
  await settle();
  const refused = answers.filter(([, { error }]) => error !== undefined);
  assert.deepEqual(
    refused.map(([id]) => id),
    [`a${LIMITS.requestsMax}`],
  );
  held.resolve();
  await settle();
  made.take(ask('later', 'about'));
  await settle();
  assert.equal(answers.at(-1)?.[0], 'later');
  assert.equal(answers.at(-1)?.[1].error, undefined);
});

test('a new snapshot ends what was asked on the connection before', async () => {
  const held = Promise.withResolvers<void>();
  const { made, answers } = desk(() => held.promise);
  made.take(ask('a', 'about'));
  await settle();
  assert.equal(made.take({ type: 'snapshot', revision: 1, objects: [] }), false);
  held.resolve();
  await settle();
  assert.ok(answers.every(([, { done }]) => !done));
});
