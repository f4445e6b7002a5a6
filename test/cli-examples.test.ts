/**
 * Every command has help with examples, and every example does what it says: it runs in the network
 * of `scenarios/two-subnets-and-a-router.md`, in a world of its own command, and exits with the
 * code that stands behind it (`# exit N`), or 0.
 *
 * An example is a line `  mn …` behind `Examples:` in the help. It runs in a folder that holds
 * FILES. What cannot run here is in ELSEWHERE, with the test that runs it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import type { Command } from 'commander';
import { buildProgram, runCli } from '#cli/cli.ts';
import { subcommands } from '#cli/complete.ts';
import { type Console, EXIT_CODES } from '#cli/io.ts';
import type { Editor } from '#cli/editor.ts';
import { processFiles } from '#cli/files.ts';
import { openSession } from '#cli/session.ts';
import { splitLine } from '#cli/shell/words.ts';
import { fakeApi } from '#cli/testing.ts';
import { words } from '#lab/scenario-commands.ts';
import { parseScenario, type Scenario } from '#lab/scenario.ts';
import { WorldStage } from './world-stage.ts';

const ROOT = dirname(import.meta.dirname);
const SCENARIO = join(import.meta.dirname, 'scenarios', 'two-subnets-and-a-router.md');
/** Of its steps, those that build the network. */
const NETWORK_STEPS = 11;
/** An example that goes on until it is stopped is stopped when it printed something, or now. */
const ENDLESS_MS = 1_500;
const ENDLESS = /^mn (?:watch|.* --(?:watch|follow))\b/;

/** Files that examples name, beside `network.yaml`: the network itself. */
const FILES: Readonly<Record<string, string>> = {
  'script.mn': `# a bridge with a port
bridge create b3
port create vm3 --bridge b3 \\
  --addresses mac=02:00:00:00:03:03,ip=10.0.3.3
`,
  'script.midonet': `bridge create name b3
bridge bridge0 add port
router create name r3
router router0 add port address 10.0.3.1 net 10.0.3.0/24
router router0 port port0 set peer bridge0:port0
router0:port list
`,
  'changes.yaml': 'kind: router\nname: r0\nadminStateUp: false\n',
  'broken.mn': 'bridge show b9\nbridge create b3\n',
};

/** Examples that need what a world has not (a kernel, a terminal), and who runs them instead. */
const ELSEWHERE: Readonly<Record<string, { readonly why: string; readonly test: string }>> = {
  attach: { why: 'needs interfaces of a kernel', test: 'test/attach.lab.test.ts' },
  detach: { why: 'needs interfaces of a kernel', test: 'test/attach.lab.test.ts' },
  backup: { why: 'needs a store that is a file', test: 'src/cli/commands/history.test.ts' },
};

interface Example {
  readonly line: string;
  /** Without files and code. */
  readonly typed: string;
  readonly words: readonly string[];
  /** The file behind `<`. */
  readonly input: string | undefined;
  /** The file behind `>`. */
  readonly output: string | undefined;
  readonly code: number;
}
interface Documented {
  readonly path: string;
  readonly examples: readonly Example[];
}

async function run(path: readonly string[]): Promise<string> {
  let out = '';
  const print = (text: string): void => void (out += text);
  await runCli(path, { client: fakeApi().client, out: print, err: print });
  return out;
}

/** All commands that are offered, the program itself as ''. */
function* walk(command: Command, path: readonly string[] = []): Generator<readonly string[]> {
  yield path;
  for (const child of subcommands(command)) yield* walk(child, [...path, child.name()]);
}

/** The words of a line behind `mn`, and the code that it says. */
function parse(line: string): Example {
  const [, code = '0'] = / # exit (\d+)/.exec(line) ?? [];
  const bare = line.replace(/ +# exit .*$/, '');
  const [command = '', input] = bare.split(/ < (?=[\w./-]+$)/);
  const [typed = '', output] = command.split(/ > (?=[\w./-]+$)/);
  const words = splitLine(typed).words.slice(1);
  return { line, typed, words, input, output, code: Number(code) };
}

async function documented(): Promise<Documented[]> {
  const nobody = { client: fakeApi().client, out: () => {}, err: () => {} };
  const found: Documented[] = [];
  for (const path of walk(buildProgram(openSession(nobody)))) {
    const help = await run([...path, '--help']);
    const [, ...sections] = help.split(/^Examples:\n/m);
    const lines = sections.flatMap((text) => text.split('\n'));
    const examples = lines.filter((line) => /^ {2}mn /.test(line)).map((line) => line.trim());
    found.push({ path: path.join(' '), examples: examples.map(parse) });
  }
  return found;
}

const COMMANDS = await documented();
const scenario: Scenario = parseScenario(readFileSync(SCENARIO, 'utf8'));
const home = process.cwd();
const folder = mkdtempSync(join(tmpdir(), 'midonet-examples-'));
before(async () => {
  await using stage = await network();
  const document = join('network', 'network.yaml');
  mkdirSync(join(folder, 'network'));
  writeFileSync(join(folder, 'network.yaml'), (await stage.mn(['export'])).out);
  cpSync(join(folder, 'network.yaml'), join(folder, document));
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  process.chdir(folder);
});
after(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true, force: true });
});

/** Runs one example; answers its exit code and all that it printed. */
async function play(stage: WorldStage, { line, words, input, output }: Example) {
  const stop = new AbortController();
  const endless = ENDLESS.test(line) && !/ --count\b/.test(line);
  let printed = '';
  const print = (text: string): void => {
    printed += text;
    if (endless && text !== '') stop.abort();
  };
  const timer = endless ? setTimeout(() => stop.abort(), ENDLESS_MS) : undefined;
  const { client } = stage.world;
  const console: Console = {
    input: input === undefined ? Readable.from([]) : createReadStream(input),
    output: new PassThrough(),
    interactive: false,
    onInterrupt: () => () => undefined,
  };
  const screen = { out: print, err: print, signal: stop.signal, version: 'world' };
  const io = { ...screen, client, console, files: processFiles, editor };
  const code = await runCli(words, io);
  if (output !== undefined) writeFileSync(output, printed);
  clearTimeout(timer);
  await stage.world.settle();
  return { code, printed };
}

/** Somebody who sets every object down that is up. */
const editor: Editor = {
  edit: async (file, text) => ({
    file,
    text: text.replace('adminStateUp: true', 'adminStateUp: false'),
  }),
  discard: async () => undefined,
};

/** Addresses that frames without MACs are completed by. */
const SEEDS = [1, 2].map(
  (n) => `port update vm${n} --addresses mac=02:00:00:00:0${n}:02,ip=10.0.${n}.2`,
);

async function network(): Promise<WorldStage> {
  const stage = await WorldStage.open(scenario);
  const quiet = { client: stage.world.client, out: () => {}, err: () => {} };
  for (const { command } of scenario.steps.slice(0, NETWORK_STEPS))
    await runCli(words(command).slice(1), quiet);
  for (const line of SEEDS) await runCli(words(line), quiet);
  await stage.world.settle();
  // Something to look at: flows both ways, and a drop.
  await stage.ping('vm1', { address: '10.0.2.2', df: false });
  await stage.ping('vm1', { address: '192.0.2.1', df: false });
  return stage;
}

for (const { path, examples } of COMMANDS)
  test(`mn ${path}`.trimEnd(), async () => {
    assert.ok(examples.length > 0, `mn ${path} --help has no example: see src/cli/examples.ts`);
    assert.ok(
      examples.some(({ line }) => `${line} `.startsWith(`mn ${path} `.replace('  ', ' '))),
      `no example of mn ${path} is one of it`,
    );
    const elsewhere = ELSEWHERE[path];
    if (elsewhere !== undefined) {
      assert.ok(existsSync(join(ROOT, elsewhere.test)), `there is no ${elsewhere.test}`);
      const text = readFileSync(join(ROOT, elsewhere.test), 'utf8');
      assert.ok(text.includes(path), `${elsewhere.test} runs no mn ${path}`);
      return;
    }
    await using stage = await network();
    for (const example of examples) {
      const { code, printed } = await play(stage, example);
      assert.equal(code, example.code, `${example.line}\n${printed}`);
      if (code === 0) assert.doesNotMatch(printed, /^error:/m, example.line);
    }
  });

test('the examples are words of a shell, as they are words here', () => {
  const all = COMMANDS.flatMap(({ examples }) => examples);
  const script = all.map(({ typed }) => `say ${typed.replace(/^mn /, '')}`).join('\n');
  const text = execFileSync('bash', ['-c', `say() { printf '%s\\0' "$@" $'\\1'; }\n${script}`], {
    encoding: 'utf8',
  });
  const lines = text.split('\u0001\0').slice(0, -1);
  for (const [i, { line, words }] of all.entries())
    assert.deepEqual(lines[i]?.split('\0').slice(0, -1), words, line);
});

test('the guide shows the exit codes as they are', () => {
  const guide = readFileSync(join(ROOT, 'docs', 'guide', 'cli.md'), 'utf8');
  const rows = [...guide.matchAll(/^\| (\d+) \| (.*) \|$/gm)];
  assert.deepEqual(
    rows.map(([, code, about = '']) => [Number(code), about.replaceAll('`', '')]),
    EXIT_CODES.map(({ code, about }) => [code, about]),
  );
});
