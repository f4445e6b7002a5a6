/** Releases are compared by their numbers, not as text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAtLeast } from './kernel.ts';

test('releases are compared by their numbers', () => {
  for (const text of ['6.6.0', '6.6', '6.18.44-fc', '6.10.3+deb13', '7.0.1'])
    assert.ok(isAtLeast(text, 6, 6), text);
  for (const text of ['6.1.0-31-amd64', '5.15.0', '6.5.13', 'unknown', ''])
    assert.ok(!isAtLeast(text, 6, 6), text);
});
