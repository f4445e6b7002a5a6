/**
 * Planted bugs: applies each `test/faults/*.patch` to a copy of the tree and shows that the test
 * it names fails there. A law that no planted bug can break proves nothing.
 *
 * A patch opens with header lines: `# why: …`; `# test: FILE` (what must fail; several are tried
 * in turn); and optionally `# only: PATTERN` (of test names), `# runs: N` (random cases),
 * `# needs: clang root`, and `# hangs` where never ending is how the bug shows. Then follows a
 * unified diff. Its line numbers are not looked at: what a hunk takes away, with its context, must
 * be in the file exactly once.
 *
 * Run: `node test/faults.ts [NAME…]`. Each named test first has to pass in a copy without any
 * fault.
 *
 * Invariant: a copy, and every process started in it, is gone when this process ends, by a signal
 * too; what a SIGKILL leaves is removed by the next run, and namespaces of a killed test by the
 * next privileged test.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { hasCompiler } from '#datapath/ebpf/build.ts';

const ROOT = join(import.meta.dirname, '..');
const FAULTS = join(import.meta.dirname, 'faults');
const COPIED = ['src', 'test', 'docs', 'README.md', 'README.ja.md', 'package.json'];
const PREFIX = 'midonet-fault-';
const TEST_DEADLINE_MS = 120_000;
const BUILD_DEADLINE_MS = 60_000;

export interface Fault {
  readonly name: string;
  readonly why: string;
  readonly tests: readonly string[];
  readonly only: string | undefined;
  readonly runs: string | undefined;
  readonly needs: readonly string[];
  readonly hangs: boolean;
  readonly patch: string;
}

/** `by`: the test file and the name of the test that failed; undefined: nothing noticed the bug. */
export interface Verdict {
  readonly by: string | undefined;
  readonly seconds: number;
  /** What the tests printed. */
  readonly output: string;
}

/** Reads a patch. Throws when its header does not say what is needed. */
export function parseFault(name: string, text: string): Fault {
  const all = (word: string): string[] =>
    Array.from(text.matchAll(new RegExp(`^# ${word}: (.*)$`, 'gm')), (match) => match[1] ?? '');
  const [tests, why] = [all('test'), all('why').join(' ')];
  if (tests.length === 0 || why === '') throw new Error(`${name}: lacks "# test:" or "# why:"`);
  return {
    name,
    why,
    tests,
    only: all('only')[0],
    runs: all('runs')[0],
    needs: all('needs').flatMap((words) => words.split(/\s+/)),
    hangs: /^# hangs$/m.test(text),
    patch: text,
  };
}

export const readFaults = (): Fault[] =>
  readdirSync(FAULTS)
    .filter((file) => file.endsWith('.patch'))
    .toSorted()
    .map((file) =>
      parseFault(file.replace(/\.patch$/, ''), readFileSync(join(FAULTS, file), 'utf8')),
    );

/** What this machine lacks for a fault, or undefined. */
export function missing({ needs }: Fault): string | undefined {
  if (needs.includes('root') && process.getuid?.() !== 0) return 'root';
  return needs.includes('clang') && !hasCompiler() ? 'clang-14 and llvm-strip-14' : undefined;
}

/** Applies a unified diff wherever its hunks now are; throws when one has not exactly one place. */
export function applyPatch(root: string, { name, patch }: Pick<Fault, 'name' | 'patch'>): void {
  const [, ...files] = patch.split(/^--- .*\n\+\+\+ b\//m);
  if (files.length === 0) throw new Error(`${name}: holds no diff`);
  for (const file of files) {
    const [path = '', ...hunks] = file.split(/\n@@ .*/);
    if (!existsSync(join(root, path))) throw new Error(`${name} does not apply: no ${path}`);
    let text = readFileSync(join(root, path), 'utf8');
    for (const hunk of hunks) {
      const lines = hunk.split('\n').slice(1);
      const side = (mark: string): string =>
        lines
          .filter((line) => line.startsWith(mark) || line.startsWith(' '))
          .map((line) => `\n${line.slice(1)}`)
          .join('');
      const places = text.split(`${side('-')}\n`);
      if (places.length !== 2)
        throw new Error(
          `${name} does not apply: ${places.length - 1} places in ${path}:${side('-')}`,
        );
      text = places.join(`${side('+')}\n`);
    }
    writeFileSync(join(root, path), text);
  }
}

const copies = new Set<string>();
const children = new Set<ChildProcess>();
/** The whole group: a test starts processes of its own. */
function end({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it has ended.
  }
}
function remove(copy: string): void {
  rmSync(copy, { recursive: true, force: true, maxRetries: 5 });
  copies.delete(copy);
}
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
let guarded = false;
function guard(): void {
  if (guarded) return;
  guarded = true;
  process.once('exit', () => {
    for (const child of children) end(child);
    for (const copy of copies) remove(copy);
  });
  for (const [signal, status] of Object.entries(SIGNALS))
    process.once(signal, () => process.exit(status));
}

/** Copies that a killed run left: their name says whose they were. */
function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function copyTree(): string {
  guard();
  const copy = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  copies.add(copy);
  const filter = (path: string): boolean => basename(path) !== 'node_modules';
  for (const entry of COPIED)
    cpSync(join(ROOT, entry), join(copy, entry), { recursive: true, filter });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

interface Ran {
  readonly status: number | undefined;
  readonly output: string;
}

/** Runs a module of a copy. `status` undefined: it did not end in time, and was killed. */
function run(copy: string, args: readonly string[], deadline: Deadline): Promise<Ran> {
  const { promise, resolve, reject } = Promise.withResolvers<Ran>();
  const { NODE_TEST_CONTEXT: _, NODE_V8_COVERAGE: __, ...inherited } = process.env;
  const env = { ...inherited, SEED: '1', ...deadline.env };
  const child = spawn(process.execPath, args, { cwd: copy, env, detached: true });
  children.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    end(child);
  }, deadline.ms);
  child.on('error', reject);
  child.on('close', (status) => {
    clearTimeout(timer);
    children.delete(child);
    resolve({ status: late ? undefined : (status ?? 1), output });
  });
  return promise;
}
interface Deadline {
  readonly ms: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** The name of the first test that fails in a copy, or undefined. Throws when none ran at all. */
async function failure(copy: string, file: string, fault: Fault, ms: number) {
  const only = fault.only === undefined ? [] : [`--test-name-pattern=${fault.only}`];
  const env = fault.runs === undefined ? {} : { RUNS: fault.runs };
  const args = ['--test-force-exit', '--test-reporter=tap', ...only, join(copy, file)];
  const { status, output } = await run(copy, args, { ms, env });
  if (status === undefined) return { failed: fault.hangs ? 'no end' : undefined, output };
  const ran = [...output.matchAll(/^# (?:pass|fail) (\d+)$/gm)].some(([, n]) => n !== '0');
  if (!ran) throw new Error(`${fault.name}: ${file} ran no test:\n${output.slice(-2000)}`);
  const failed = status === 0 ? undefined : (/^ *not ok \d+ - (.*)$/m.exec(output)?.[1] ?? file);
  return { failed, output };
}

async function build(copy: string, { name }: Fault): Promise<void> {
  const file = join(copy, 'src/datapath/ebpf/build.ts');
  const { status, output } = await run(copy, [file], { ms: BUILD_DEADLINE_MS });
  if (status !== 0) throw new Error(`${name} does not compile:\n${output}`);
}

/** Plants one fault in a copy and runs its tests there until one fails. */
export async function plant(fault: Fault, deadlineMs = TEST_DEADLINE_MS): Promise<Verdict> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  const copy = copyTree();
  let all = '';
  try {
    applyPatch(copy, fault);
    if (fault.needs.includes('clang')) await build(copy, fault);
    for (const file of fault.tests) {
      const { failed, output } = await failure(copy, file, fault, deadlineMs);
      all += output;
      if (failed !== undefined)
        return { by: `${file}: ${failed}`, seconds: seconds(), output: all };
    }
    return { by: undefined, seconds: seconds(), output: all };
  } finally {
    remove(copy);
  }
}

/** Runs the tests of these faults in a copy with no fault planted; what fails all the same. */
async function failingAnyway(faults: readonly Fault[]): Promise<Set<string>> {
  const copy = copyTree();
  const failing = new Set<string>();
  const done = new Set<string>();
  try {
    for (const fault of faults)
      for (const file of fault.tests) {
        const key = [file, fault.only, fault.runs].join();
        if (done.has(key)) continue;
        done.add(key);
        const { failed } = await failure(copy, file, fault, TEST_DEADLINE_MS);
        if (failed !== undefined) failing.add(`${file}: ${failed}`);
      }
  } finally {
    remove(copy);
  }
  return failing;
}

/** Plants one fault and prints what came of it; whether it was caught. */
async function report(fault: Fault): Promise<boolean> {
  const { by, seconds } = await plant(fault);
  const verdict = by === undefined ? 'MISSED ' : 'caught ';
  console.log(`${verdict}  ${fault.name} (${seconds.toFixed(1)} s): ${fault.why}`);
  if (by !== undefined) console.log(`         by ${by}`);
  return by !== undefined;
}

async function main(names: readonly string[]): Promise<number> {
  sweep();
  const all = readFaults();
  const unknown = names.filter((name) => !all.some((fault) => fault.name === name));
  if (unknown.length > 0) throw new Error(`there is no fault ${unknown.join(', ')}`);
  const wanted = all.filter(({ name }) => names.length === 0 || names.includes(name));
  const able = wanted.filter((fault) => missing(fault) === undefined);
  const failing = await failingAnyway(able);
  for (const text of failing) console.log(`FAILS    without any fault: ${text}`);
  let caught = 0;
  for (const fault of wanted) {
    const lack = missing(fault);
    if (lack !== undefined) console.log(`skipped  ${fault.name}: needs ${lack}`);
    else if (await report(fault)) caught += 1;
  }
  const [missed, skipped] = [able.length - caught, wanted.length - able.length];
  console.log(`${caught} caught, ${missed} missed, ${skipped} skipped`);
  return failing.size === 0 && missed === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
