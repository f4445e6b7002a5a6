/**
 * The commands of docs/guide/capture-and-live-trace.md, on two hosts of a lab: they print what the
 * page shows, but for times and numbers; tcpdump reads the file; and a killed agent leaves nothing
 * switched on.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LIMITS } from '#agent/limits.ts';
import { CONFIG, offsets, sizeOf } from '#flow/layout.ts';
import { cleanLab } from '#lab/clean.ts';
import { announce, killAgent, makeLab, shellEnvironment, type Lab } from '#lab/lab.ts';
import { lockLab } from '#lab/lock.ts';
import { labDir } from '#lab/names.ts';
import { ping } from '#lab/ping.ts';
import { inside, until } from '#lab/processes.ts';
import { readRecipe } from '#lab/recipe.ts';
import { BpfMap, openPinned } from '#os/bpf.ts';
import { monotonicMs } from '#os/clock.ts';
import { closeFd } from '#os/libc.ts';
import { have, run } from '#os/run.ts';
import { readStats } from '#datapath/ebpf/read.ts';
import { versionDir } from '#datapath/ebpf/pins.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const NAME = testLabName('sight');
const PAGE = join(import.meta.dirname, '../docs/guide/capture-and-live-trace.md');
const DEADLINE_MS = 30_000;

/** Commands of the page with what they print. */
const COMMANDS = [
  ...readFileSync(PAGE, 'utf8').matchAll(/^```console\n# (.*)\n([\s\S]*?)^```/gm),
].map(([, command = '', printed = '']) => ({ command, printed: printed.trimEnd().split('\n') }));

/** A line without times and numbers that are this run's own. */
const shape = (line: string): string =>
  line
    .replace(/^(\d\d:\d\d:)?\d+\.\d{6}\b/, 'T')
    .replaceAll(/\b(h\d):\d+\.\d+/g, '$1:N')
    .replaceAll(/\b(id|seq|ip id) \d+/g, '$1 N')
    .replaceAll(/\(.*\)/g, '(…)')
    .replaceAll(/(?<![\w.:])\d+(?![\w.:])/g, 'N')
    .replaceAll(/ +/g, ' ')
    .trimEnd();

describe('the page about captures', { skip }, () => {
  let lab: Lab;
  let lock: Disposable;
  const dir = mkdtempSync(join(tmpdir(), 'mn-sight-'));

  before(async () => {
    await sweepLabs();
    lock = lockLab(NAME);
    lab = await makeLab(announce(NAME, readRecipe('pair')), () => {});
    const misses = (): number =>
      ['h1', 'h2']
        .map((host) => readStats(`${labDir(NAME)}/hosts/${host}`).counters.misses)
        .reduce((sum, n) => sum + n);
    await until('flows carry it all', DEADLINE_MS, async () => {
      const seen = misses();
      const { sent, received } = await ping(lab, 'vm1', '10.1.0.2', { count: 3 });
      return sent === received && misses() === seen;
    });
  });
  after(async () => {
    await cleanLab(NAME);
    lock[Symbol.dispose]();
    rmSync(dir, { recursive: true });
  });

  /** Runs a command of the page while vm1 sends: from when hosts are looked at, to its end. */
  async function follow(command: string): Promise<string> {
    const line = `cd ${dir} && ${command}`;
    const [program = '', ...args] = inside(NAME, 'h1', ['bash', '-o', 'pipefail', '-c', line]);
    const env = { ...process.env, ...shellEnvironment(lab) };
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (text: Buffer) => void (out += text.toString()));
    child.stderr.on('data', (text: Buffer) => void (err += text.toString()));
    const ended = once(child, 'close');
    const looks = / capture | --live /.test(command);
    const isOver = (): boolean => child.exitCode !== null;
    try {
      await until(`${command} looks`, DEADLINE_MS, () =>
        Promise.resolve(isOver() || !looks || err.includes('looking at')),
      );
      await until(`${command} ends`, DEADLINE_MS, async () => {
        await ping(lab, 'vm1', '10.1.0.2', { count: 2, intervalSeconds: 0.1 });
        return isOver();
      });
    } finally {
      child.kill();
      await ended;
    }
    assert.equal(child.exitCode, 0, `${command}: ${err}`);
    return out;
  }

  for (const { command, printed } of COMMANDS)
    test(command, { skip: command.startsWith('tcpdump') && !have('tcpdump') }, async () => {
      const stdout = await follow(command);
      assert.deepEqual(stdout.trimEnd().split('\n').map(shape), printed.map(shape), stdout);
    });

  test('a killed agent leaves nothing switched on', async () => {
    const args = ['capture', 'vm1', '--seconds', '60', '--filter', 'icmp'];
    const [program = '', ...words] = inside(NAME, 'h1', ['mn', ...args]);
    const capture = run(program, words, { env: shellEnvironment(lab), deadlineMs: DEADLINE_MS });
    const runDir = `${labDir(NAME)}/hosts/h1`;
    const sightUntilMs = (): number => {
      const fd = openPinned(join(versionDir(runDir), 'maps', 'config'));
      assert.ok(fd !== undefined);
      const map = new BpfMap(fd, 4, sizeOf(CONFIG));
      map.lookup();
      closeFd(fd);
      return Number(map.value.view.getBigUint64(offsets(CONFIG).sight_until, true)) / 1e6;
    };
    await until('the capture runs', DEADLINE_MS, () => Promise.resolve(sightUntilMs() > 0));
    await killAgent(lab, 'h1');
    assert.ok(sightUntilMs() - monotonicMs() <= LIMITS.lookLeaseMs, 'at most a lease');
    await until('the kernel has switched it off', DEADLINE_MS, async () => {
      await ping(lab, 'vm1', '10.1.0.2', { count: 1 });
      return sightUntilMs() === 0;
    });
    const { stderr } = await capture;
    assert.match(stderr, /without h1/);
  });
});
