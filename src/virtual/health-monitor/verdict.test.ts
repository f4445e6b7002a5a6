/** Rows of checks: when they turn a member, and how flapping is damped. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { advance, FLAP_FACTOR_MAX, FLAP_WINDOW_MS, riseOf, UNKNOWN } from './verdict.ts';

const MONITOR = { rise: 2, fall: 3 };
/** `+`: succeeded, `-`: failed; a check a second. Answers the status after each. */
function statuses(checks: string, from = UNKNOWN, atMs = 0): string {
  let verdict = from;
  return Array.from(checks, (check, i) => {
    verdict = advance(verdict, { ok: check === '+', reason: check }, MONITOR, atMs + i * 1_000);
    return verdict.status === 'up' ? 'u' : 'd';
  }).join('');
}

test('the first check decides; then as many in a row as the monitor says', () => {
  assert.equal(statuses('+--+---+-++'), 'uuuuuudddd' + 'u');
  assert.equal(statuses('-+-++'), 'ddddu');
});

test('who flaps has to succeed longer each time, up to a bound, and is forgiven', () => {
  const flap = '---' + '+'.repeat(16);
  const row = statuses(`+${flap}${flap}${flap}${flap}${flap}${flap}`);
  const waits = Array.from(row.matchAll(/d+/g), ([downs]) => downs.length);
  // Each is down from the third failure on, and up from the last success that it takes.
  assert.deepEqual(waits, [2, 4, 8, 16, 16, 16]);
  let verdict = advance(UNKNOWN, { ok: true, reason: '' }, MONITOR, 0);
  for (let n = 0; n < 3; n++) verdict = advance(verdict, { ok: false, reason: '' }, MONITOR, 0);
  assert.equal(riseOf(verdict, 2, FLAP_WINDOW_MS), 2);
});

test('it never turns by fewer checks in a row than the monitor says', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }), (checks) => {
      let verdict = UNKNOWN;
      let same = 0;
      for (const [i, ok] of checks.entries()) {
        same = i > 0 && checks[i - 1] === ok ? same + 1 : 1;
        const before = verdict;
        verdict = advance(before, { ok, reason: '' }, MONITOR, i);
        if (before.status === 'unknown' || before.status === verdict.status) continue;
        assert.ok(same >= (ok ? MONITOR.rise : MONITOR.fall), checks.join());
      }
      assert.ok(riseOf(verdict, MONITOR.rise, 0) <= MONITOR.rise * FLAP_FACTOR_MAX);
    }),
  );
});

test('a reason that stays is told; those that come and go are not', () => {
  const after = (checks: readonly string[]): string => {
    let verdict = UNKNOWN;
    for (const reason of checks) verdict = advance(verdict, { ok: false, reason }, MONITOR, 0);
    return `${verdict.status}: ${verdict.reason}`;
  };
  assert.equal(after(['refused', 'silent', 'silent']), 'down: refused');
  assert.equal(after(['refused', 'silent', 'silent', 'silent']), 'down: silent');
  assert.equal(after(['refused', ...Array(9).fill(['silent', 'gone']).flat()]), 'down: refused');
  assert.equal(after(['refused', 'silent', 'silent', 'refused', 'silent']), 'down: refused');
});
