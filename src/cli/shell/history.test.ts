/** What is remembered of lines, for whom, and how much. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { History, HISTORY_LINES_MAX, historyPath, isKept } from './history.ts';

const folder = (): { path: string } & Disposable => {
  const at = mkdtempSync(join(tmpdir(), 'midonet-history-'));
  return {
    path: join(at, 'state', 'midonet', 'history'),
    [Symbol.dispose]: () => rmSync(at, { recursive: true }),
  };
};

test('lines are kept, newest first, in a file of the user alone', () => {
  using place = folder();
  const history = new History(place.path, assert.fail);
  assert.deepEqual(history.load(), []);
  for (const line of ['port list', ' bridge list', '', 'status']) history.add(line);
  assert.deepEqual(new History(place.path, assert.fail).load(), ['status', 'port list']);
  assert.equal(statSync(place.path).mode & 0o777, 0o600);
  chmodSync(place.path, 0o644);
  history.load();
  assert.equal(statSync(place.path).mode & 0o777, 0o600);
});

test('no line that may hold a secret is kept', () => {
  for (const line of [
    'bridge list --token mn_0123456789abcdef_abcdefghijklmnopqrstuvwxyz0123456789abcdefg',
    'x mn_0123456789abcdef_abc',
    'peer create --password hunter2',
    'peer create --auth-secret=hunter2',
    'do -H "Authorization: Bearer abc"',
    'tunnel create --psk abc',
  ])
    assert.equal(isKept(line), false, line);
  for (const line of [
    'token list',
    'mn token revoke 0123456789abcdef',
    'token issue --role host --host h1',
    'bridge list --token-file /etc/midonet/token',
    'port list --where name~secret',
  ])
    assert.equal(isKept(line), true, line);
  using place = folder();
  const history = new History(place.path, assert.fail);
  history.add('status');
  history.add('peer create --password hunter2');
  assert.equal(readFileSync(place.path, 'utf8'), 'status\n');
});

test('the oldest lines go; what cannot be kept is told once', () => {
  using place = folder();
  const history = new History(place.path, assert.fail);
  history.add('first');
  const many = Array.from({ length: HISTORY_LINES_MAX + 50 }, (_none, i) => `port show p${i}`);
  writeFileSync(place.path, `${many.join('\n')}\n`);
  const lines = history.load();
  assert.equal(lines.length, HISTORY_LINES_MAX);
  assert.equal(lines[0], many.at(-1));
  assert.equal(readFileSync(place.path, 'utf8').split('\n').length, HISTORY_LINES_MAX + 1);
  const told: string[] = [];
  const broken = new History('/dev/null/history', (text) => told.push(text));
  broken.add('a');
  broken.add('b');
  assert.equal(told.length, 1);
  assert.match(told[0] ?? '', /^lines are not remembered: /);
});

test('the file is where the XDG specification wants state', () => {
  assert.equal(historyPath({ XDG_STATE_HOME: '/s' }, 'history'), '/s/midonet/history');
  for (const environment of [{}, { XDG_STATE_HOME: '' }, { XDG_STATE_HOME: 'relative' }])
    assert.match(historyPath(environment, 'history'), /^\/.*\/\.local\/state\/midonet\/history$/);
});
