/** What a killed test leaves of its lab is taken away by the next one; a living one's stays. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { labDir, netnsOf } from '#lab/names.ts';
import { netnsPath } from '#os/netns.ts';
import { sweepLabs } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';

const MAKER = `
  import { announce } from '#lab/lab.ts';
  import { parseRecipe } from '#lab/recipe.ts';
  import { makeWires } from '#lab/wires.ts';
  import { testLabName } from './test/labs.ts';
  const name = testLabName('killed');
  await makeWires(announce(name, parseRecipe('about: x\\nhosts: [h1]\\nbridges: {}\\nworkloads: {}')));
  console.log(name);
  setInterval(() => {}, 1000);
`;

test('a lab whose maker was killed is swept', { skip }, async () => {
  const args = ['--input-type=module-typescript', '--no-warnings', '-e', MAKER];
  const maker = spawn(process.execPath, args, {
    cwd: join(import.meta.dirname, '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let name = '';
    for await (const chunk of maker.stdout) {
      name = String(chunk).trim();
      break;
    }
    const namespace = netnsPath(netnsOf(name, 'h1'));
    await sweepLabs();
    assert.ok(existsSync(namespace), 'its maker lives');
    maker.kill('SIGKILL');
    await once(maker, 'exit');
    assert.ok(existsSync(namespace));
    await sweepLabs();
    assert.deepEqual([namespace, labDir(name)].filter(existsSync), []);
  } finally {
    if (maker.exitCode === null && maker.signalCode === null) maker.kill('SIGKILL');
  }
});
