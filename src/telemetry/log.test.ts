/** The log: levels that return, secrets that do not leave, and what is kept. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LINE_CHARACTERS_MAX, LINES_KEPT_MAX, Logs } from './log.ts';
import { withoutSecrets } from './secrets.ts';
import { secretPart } from './testing.ts';

const SECRET = `mn_0123456789abcdef_${'s'.repeat(43)}`;

function stage() {
  const lines: string[] = [];
  const timers: { ms: number; run: () => void; off: boolean }[] = [];
  const logs = new Logs({
    name: 'x',
    write: (line) => lines.push(line),
    later: (ms, run) => {
      const timer = { ms, run, off: false };
      timers.push(timer);
      return () => (timer.off = true);
    },
  });
  const fire = (): void => {
    for (const timer of timers.splice(0)) if (!timer.off) timer.run();
  };
  return { logs, lines, timers, fire };
}
const read = (logs: Logs, text = ''): string[] => [...logs.read({ most: 10_000, text }).lines];

test('a level that was changed for a time returns by itself', () => {
  const { logs, timers, fire } = stage();
  logs.log.debug('unheard');
  assert.deepEqual(logs.setLevel('debug', 600_000), { level: 'debug', usual: 'info' });
  logs.log.debug('heard');
  assert.equal(timers[0]?.ms, 600_000);
  fire();
  assert.deepEqual(logs.level, { level: 'info', usual: 'info' });
  logs.log.debug('unheard again');
  assert.equal(read(logs, 'unheard').length, 0);
  assert.equal(read(logs, '"heard"').length, 1);
  assert.match(read(logs).at(-1) ?? '', /"level":"info".*the usual one again/);
});

test('a later change takes the place of an earlier one', () => {
  const { logs, timers, fire } = stage();
  logs.setLevel('trace', 1);
  const [first] = timers;
  logs.setLevel('error', 2);
  assert.equal(first?.off, true);
  assert.equal(logs.level.level, 'error');
  fire();
  assert.equal(logs.level.level, 'info');
  logs.setLevel('warn', 1);
  logs.setLevel('info', 1);
  assert.ok(
    timers.every(({ off }) => off),
    'the usual level has no end',
  );
});

test('no line holds the secret of a token', () => {
  const { logs, lines } = stage();
  logs.log.info({ header: `Bearer ${SECRET}`, other: 'authorization: bearer abc.def' }, SECRET);
  for (const line of [...lines, ...read(logs)]) {
    assert.doesNotMatch(line, /sss|abc\.def/);
    assert.match(line, /mn_0123456789abcdef_…/);
  }
  assert.equal(withoutSecrets('a token'), 'a token');
});

test('what is kept is bounded, and a reader learns what it missed', () => {
  const { logs } = stage();
  logs.log.info('first');
  const { next } = logs.read({ most: 1 });
  assert.equal(next, 1);
  for (let i = 0; i < LINES_KEPT_MAX + 10; i++) logs.log.info({ i }, 'line');
  const page = logs.read({ after: next, most: 5 });
  assert.equal(page.lines.length, 5);
  assert.equal(page.missed, 10);
  assert.equal(page.next, LINES_KEPT_MAX + 11);
  assert.deepEqual(logs.read({ after: page.next, most: 5 }).lines, []);
  assert.equal(logs.read({ after: page.next + 99, most: 5 }).lines.length, 5, 'it was restarted');
  logs.log.info('x'.repeat(2 * LINE_CHARACTERS_MAX));
  assert.equal(read(logs).at(-1)?.length, LINE_CHARACTERS_MAX);
});

test('the secret of a token is all behind its id, whatever base64url makes of it', () => {
  const token = `mn_0123456789abcdef_${'_s-'.repeat(14)}_`;
  assert.equal(secretPart(token), `${'_s-'.repeat(14)}_`);
  assert.equal(withoutSecrets(`(${token})`), '(mn_0123456789abcdef_…)');
  assert.throws(() => secretPart(token.slice(0, -1)), /has not the form/);
});
