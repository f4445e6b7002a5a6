/** What is committed is what the sources say. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { headerText } from '#flow/layout-header.ts';
import { DROPS } from '#virtual/drop.ts';
import { compileObject, hasCompiler, HEADER, OBJECT } from './build.ts';

test('layout.h is what layout.ts prints', () => {
  assert.equal(readFileSync(HEADER, 'utf8'), headerText());
});

test(
  'datapath.bpf.o is what clang-14 makes of the sources',
  { skip: !hasCompiler() && 'no clang-14' },
  () => {
    const committed = readFileSync(OBJECT);
    assert.ok(committed.equals(compileObject()), 'run `npm run build:bpf` and commit the object');
  },
);

test('the object tells nothing about the machine that made it', () => {
  assert.doesNotMatch(readFileSync(OBJECT, 'latin1'), /\/[a-z]+\/[a-z]/i);
});

test('the drop codes of the program are those of the table', () => {
  const source = readFileSync(new URL('maps.h', import.meta.url), 'utf8');
  const named = [...source.matchAll(/^#define DROP_([A-Z_]+) (\d+)u$/gm)];
  assert.ok(named.length > 5);
  for (const [, name = '', code] of named) {
    const reason = name.toLowerCase().replaceAll('_', '-') as keyof typeof DROPS;
    assert.equal(DROPS[reason]?.code, Number(code), reason);
  }
});
