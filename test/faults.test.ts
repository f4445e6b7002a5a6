/**
 * Every planted bug is caught by the test that its patch names; and the script that says so can
 * fail.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { suite, test } from 'node:test';
import { type Fault, missing, parseFault, plant, readFaults } from './faults.ts';

/** Most of the time of a fault in the kernel program is waiting for frames that never come. */
const CONCURRENCY = 2;
const HANG_DEADLINE_MS = 3_000;

suite('planted faults', { concurrency: CONCURRENCY }, () => {
  for (const fault of readFaults()) {
    const lack = missing(fault);
    const skip = lack === undefined ? false : `needs ${lack}`;
    test(`${fault.name} is caught: ${fault.why}`, { skip }, async (t) => {
      const { by, seconds, output } = await plant(fault);
      assert.ok(by !== undefined, `MISSED by ${fault.tests.join(', ')}:\n${output.slice(-3000)}`);
      t.diagnostic(`by ${by} in ${seconds.toFixed(1)} s`);
    });
  }
});

const CODE = 'src/net/mac.ts';
const CONTEXT = 'export const ZERO_MAC = 0 as Mac;';

/** A fault made here: a line added behind a line of `CODE`. */
function made(line: string, { header = '', context = CONTEXT } = {}): Fault {
  const diff = [`--- a/${CODE}`, `+++ b/${CODE}`, '@@ -1 +1,2 @@', ` ${context}`, `+${line}`, ''];
  const text = `# why: a self-test\n# test: src/net/mac.test.ts\n${header}\n${diff.join('\n')}`;
  return parseFault('made', text);
}
const copies = (): string[] =>
  readdirSync(tmpdir()).filter((name) => name.startsWith(`midonet-fault-${process.pid}-`));

suite('the script', () => {
  test('a harmless patch is missed', async () => {
    const { by, output } = await plant(made('// Nothing.'));
    assert.equal(by, undefined, output);
  });

  test('a test that never ends catches only what is said to hang', async () => {
    const loop = 'while (ZERO_MAC === 0);';
    assert.equal((await plant(made(loop), HANG_DEADLINE_MS)).by, undefined);
    const { by } = await plant(made(loop, { header: '# hangs\n' }), HANG_DEADLINE_MS);
    assert.equal(by, 'src/net/mac.test.ts: no end');
  });

  test('a patch without its one place, and a pattern without a test, are no result', async () => {
    await assert.rejects(plant(made('', { context: 'const gone = 1;' })), {
      message: 'made does not apply: 0 places in src/net/mac.ts:\nconst gone = 1;',
    });
    await assert.rejects(
      plant(made('', { context: '}' })),
      /^Error: made does not apply: \d+ places/,
    );
    await assert.rejects(plant(made('', { header: '# only: no such test\n' })), /ran no test/);
    // A module that does not load fails whatever the tests say: that is no catch either.
    await assert.rejects(plant(made('missing();')), /ran no test/);
    assert.throws(() => parseFault('bare', '# why: no test\n'), /lacks/);
  });

  test('no copy is left', () => assert.deepEqual(copies(), []));
});
