/** Words as sh quotes them, wherever a line stops; and back. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { escapeWord, quoteWord, splitLine } from './words.ts';

test('words, quotes, backslashes, comments', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['', []],
    ['  port   list ', ['port', 'list']],
    [`trace vm1 "icmp 10.0.0.1 > 10.0.0.2"`, ['trace', 'vm1', 'icmp 10.0.0.1 > 10.0.0.2']],
    [`'a "b" \\c'd`, ['a "b" \\cd']],
    [`"a \\"b\\" \\\\ \\n"`, ['a "b" \\ \\n']],
    ['a\\ b c\\\\', ['a b', 'c\\']],
    [`x '' ""`, ['x', '', '']],
    ['port list # all of them', ['port', 'list']],
    ['a#b', ['a#b']],
    ['# nothing', []],
    [`--where mtu>1500 --where name~'a b'`, ['--where', 'mtu>1500', '--where', 'name~a b']],
  ];
  for (const [line, words] of cases) assert.deepEqual(splitLine(line).words, words, line);
});

test('where a line stops', () => {
  const at = (line: string) => {
    const { start, open } = splitLine(line);
    return [start, open];
  };
  assert.deepEqual(at('port list'), [5, undefined]);
  assert.deepEqual(at('port list '), [10, undefined]);
  assert.deepEqual(at(`port 'my p`), [5, "'"]);
  assert.deepEqual(at('port "my p'), [5, '"']);
  assert.deepEqual(at('port my\\'), [5, '\\']);
  assert.equal(splitLine('port # list').comment, true);
});

test('what is escaped or quoted is read as it was, here and by sh', () => {
  const word = fc.string({ unit: 'binary-ascii' }).filter((text) => !/[\0\n\r]/.test(text));
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 5 }), (words) => {
      const quoted = words.map(quoteWord);
      assert.deepEqual(splitLine(quoted.join(' ')).words, words);
      const escaped = words.filter((one) => one !== '' && !one.startsWith('#'));
      assert.deepEqual(splitLine(escaped.map(escapeWord).join(' ')).words, escaped);
    }),
  );
  const words = ['a b', "it's", '$HOME', '`x`', '*', 'a"b', '\\', 'mtu>1500'];
  const out = execFileSync('sh', ['-c', `printf '%s\\n' ${words.map(quoteWord).join(' ')}`]);
  assert.deepEqual(String(out).trimEnd().split('\n'), words);
});
