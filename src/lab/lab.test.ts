/**
 * The lab's own machinery on plain Linux bridges, without agents: that it finds a leak and a loss
 * when there is one, and that it removes everything, also what a killed maker left.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { Client } from '#client/types.ts';
import { netnsPath } from '#os/netns.ts';
import { runOk } from '#os/run.ts';
import { isAsExpected, matrix } from './check.ts';
import { cleanLab, remains } from './clean.ts';
import { announce, namespaceOf, type Lab } from './lab.ts';
import { lockLab } from './lock.ts';
import { labDir } from './names.ts';
import { find, inside, isAlive, start } from './processes.ts';
import { parseRecipe } from './recipe.ts';
import { ipBatch, makeWires } from './wires.ts';

const NAME = 'selftest';
const recipe = parseRecipe(`
about: two tenants on one host
hosts: [h1]
bridges: { red: { tenant: red }, blue: { tenant: blue } }
workloads:
  r1: { host: h1, bridge: red, mac: '02:00:00:00:00:01', addresses: [10.0.0.1/24, 'fd00::1/64'] }
  r2: { host: h1, bridge: red, mac: '02:00:00:00:00:02', addresses: [10.0.0.2/24, 'fd00::2/64'] }
  b1: { host: h1, bridge: blue, mac: '02:00:00:00:00:01', addresses: [10.0.0.1/24, 'fd00::1/64'] }
  b2: { host: h1, bridge: blue, mac: '02:00:00:00:00:02', addresses: [10.0.0.2/24, 'fd00::2/64'] }
`);

const isRoot = process.getuid?.() === 0;

describe('the lab on plain bridges', { skip: !isRoot && 'needs root' }, () => {
  let lab: Lab;
  let lock: Disposable;
  before(async () => {
    lock = lockLab(NAME);
    await cleanLab(NAME);
    const journal = announce(NAME, recipe);
    lab = { name: NAME, recipe, namespaces: journal.namespaces, client: {} as Client };
    await makeWires(journal);
    await ipBatch(
      Object.keys(recipe.bridges).flatMap((bridge) => [
        `link add name br-${bridge} up type bridge mcast_snooping 0`,
        ...Object.entries(recipe.workloads)
          .filter(([, workload]) => workload.bridge === bridge)
          .map(([name]) => `link set dev ${name} master br-${bridge}`),
      ]),
      namespaceOf(lab, 'h1'),
    );
  });
  after(async () => {
    await cleanLab(NAME);
    lock[Symbol.dispose]();
  });

  test('two bridges keep the same addresses apart, and the matrix says so', async () => {
    const cells = await matrix(lab);
    assert.deepEqual(cells[0], ['self', 'ok', 'apart', 'apart']);
    assert.ok(isAsExpected(cells));
  });

  test('a workload on the wrong bridge is seen as a leak', async () => {
    await ipBatch(['link set dev b1 master br-red'], namespaceOf(lab, 'h1'));
    const cells = await matrix(lab, { timeoutMs: 1_000 });
    await ipBatch(['link set dev b1 master br-blue'], namespaceOf(lab, 'h1'));
    assert.equal(cells[0]?.[2], 'LEAK');
    assert.equal(cells[3]?.[2], 'LOST');
    assert.ok(!isAsExpected(cells));
  });

  test('a second maker is refused while the lock is held, and names the first', () => {
    assert.throws(() => lockLab(NAME), new RegExp(`process ${process.pid}`));
  });

  test('a process is found again, and never another one of the same pid', () => {
    const started = start({ lab: NAME, part: 'r1', name: 'idle', command: ['sleep', '600'] });
    assert.deepEqual(find(NAME, 'idle'), started);
    assert.ok(isAlive(started));
    assert.ok(!isAlive({ ...started, startTime: '1' }));
  });

  test('cleaning removes processes, strangers inside too, mounts, namespaces, files', async () => {
    const idle = find(NAME, 'idle');
    assert.ok(idle && isAlive(idle));
    const [program = '', ...args] = inside(NAME, 'r2', ['sh', '-c', 'sleep 600 >/dev/null 2>&1 &']);
    await runOk(program, args);
    await runOk('mkdir', [`${labDir(NAME)}/mounted`]);
    await runOk('mount', ['-t', 'tmpfs', 'none', `${labDir(NAME)}/mounted`]);
    assert.ok(remains(NAME, lab.namespaces).length > lab.namespaces.length);
    await cleanLab(NAME);
    assert.deepEqual(remains(NAME, lab.namespaces), []);
    assert.ok(!isAlive(idle));
    await cleanLab(NAME);
  });

  test('a namespace that no lab announced is refused, and stays', async () => {
    const foreign = `mn.${NAME}.r1`;
    await runOk('ip', ['netns', 'add', foreign]);
    try {
      assert.throws(() => announce(NAME, recipe), new RegExp(foreign));
      await cleanLab(NAME);
      assert.ok(existsSync(netnsPath(foreign)));
    } finally {
      await runOk('ip', ['netns', 'delete', foreign]);
    }
  });
});
