/** A factor is a number in its limits, or 1. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PATIENCE_MAX, patienceOf, patient } from './patience.ts';

test('patience is a factor in its limits, or 1', () => {
  for (const [text, factor] of [
    [undefined, 1],
    ['6', 6],
    ['1.5', 1.5],
    [String(PATIENCE_MAX), PATIENCE_MAX],
    [String(PATIENCE_MAX + 1), 1],
    ['0.5', 1],
    ['', 1],
    ['soon', 1],
    ['NaN', 1],
  ] as const)
    assert.equal(patienceOf(text), factor, String(text));
  assert.equal(patient(20), 20 * patienceOf(process.env['MIDONET_PATIENCE']));
});
