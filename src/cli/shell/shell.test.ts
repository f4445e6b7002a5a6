/** The shell, from a script and at a terminal: what is typed, what is asked, what is shown. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { Unavailable } from '#client/errors.ts';
import { runCli } from '../cli.ts';
import { EXIT } from '../io.ts';
import { type FakeApi, fakeApi, mn, type Ran } from '../testing.ts';

const DEADLINE_MS = 10_000;

function world(): FakeApi {
  const api = fakeApi();
  for (const name of ['h1', 'h2']) api.add('host', { name });
  api.add('bridge', { name: 'b0' });
  api.add('bridge', { name: 'a b' });
  api.add('port', { name: 'p1', bridge: 'b0' });
  return api;
}

const script = (api: FakeApi, text: string, line = 'shell'): Promise<Ran> =>
  mn(api.client, line, {
    console: {
      input: Readable.from([text]),
      output: new PassThrough(),
      interactive: false,
      onInterrupt: () => () => undefined,
    },
  });

test('a script runs line by line, and stops at the first that fails', async () => {
  const fine = await script(
    world(),
    '# two of them\nmn bridge create b1\n\nbr cre "b 2" \\\n  --tenant acme\nexit\nbridge create b3',
  );
  assert.deepEqual(fine, {
    code: EXIT.ok,
    out: 'created bridge b1\ncreated bridge b 2\n',
    err: '',
  });
  const stopped = await script(world(), 'bridge create b1\nport show p9\nbridge create b2\n');
  assert.equal(stopped.code, EXIT.refused);
  assert.equal(stopped.out, 'created bridge b1\n');
  assert.match(stopped.err, /^error: There is no port 'p9'\n(.*\n)*error: line 2: port show p9\n$/);
  const on = await script(
    world(),
    "brigde list\nport show p9\nbridge create 'b1\nbridge create b2",
    'shell --keep-going',
  );
  assert.equal(on.code, EXIT.usage);
  assert.equal(on.out, 'created bridge b2\n');
  for (const line of [
    'line 1: brigde',
    'line 2: port show',
    "the quote ' is not",
    'line 3: bridge',
  ])
    assert.ok(on.err.includes(`error: ${line}`), on.err);
});

test('beginnings stand for commands when there is no other, and programs stay outside', async () => {
  const api = world();
  assert.match((await script(api, 'por list -o jsonpath=[*].name')).out, /^p1\n$/);
  assert.equal((await script(api, 'port-g list')).code, EXIT.ok);
  const two = await script(api, 'port li');
  assert.equal(two.code, EXIT.usage);
  assert.match(two.err, /^error: 'li' may be list, link\nhint: Type some more of it\n/);
  assert.match((await script(api, 'api --data x')).err, /'mn api' is a program of its own/);
  assert.match((await script(api, 'shell')).err, /'mn shell' is a program of its own/);
  assert.equal((await mn(api.client, 'por list')).code, EXIT.usage);
  assert.equal((await mn(api.client, 'shell')).code, EXIT.usage);
});

test('a command cannot take the lines of the script as its own input', async () => {
  const ran = await mn(world().client, 'shell', {
    files: { read: async () => assert.fail(), list: async () => undefined },
    console: {
      input: Readable.from(['apply -f -\nkind: bridge\n']),
      output: new PassThrough(),
      interactive: false,
      onInterrupt: () => () => undefined,
    },
  });
  assert.match(ran.err, /-f -: the shell itself reads standard input/);
  assert.match(ran.err, /line 1: apply -f -\n$/);
});

/** A terminal: keys go in, and what is shown is waited for. */
function terminal(api: FakeApi, historyFile?: string) {
  const input = new PassThrough();
  const output = new PassThrough();
  let shown = '';
  let seen = 0;
  let interrupt = (): void => undefined;
  const show = (text: string): void => void (shown += text);
  output.setEncoding('utf8').on('data', show);
  const io = {
    client: api.client,
    out: show,
    err: show,
    width: 80,
    api: 'http://api,http://other',
    console: {
      input,
      output,
      interactive: true,
      historyFile,
      onInterrupt: (handler: () => void) => {
        interrupt = handler;
        return () => (interrupt = () => undefined);
      },
    },
  };
  const code = runCli(['shell'], io);
  /** Waits for text behind what was waited for before; answers what came up to it. */
  const until = async (expected: string | RegExp): Promise<string> => {
    const end = performance.now() + DEADLINE_MS;
    for (;;) {
      const text = stripVTControlCharacters(shown).slice(seen);
      const [found] = typeof expected === 'string' ? [expected] : (expected.exec(text) ?? []);
      const at = found === undefined ? -1 : text.indexOf(found);
      if (found !== undefined && at >= 0) {
        seen += at + found.length;
        return text.slice(0, at + found.length);
      }
      if (performance.now() > end)
        throw new Error(`not shown: ${String(expected)}\n${JSON.stringify(text)}`);
      await sleep(5);
    }
  };
  return { type: (keys: string) => input.write(keys), until, code, interrupt: () => interrupt() };
}
const PROMPT = 'mn operator@http://api> ';
const [TAB, CTRL_C, CTRL_D, UP] = ['\t', '\u0003', '\u0004', '\u001b[A'];

test('TAB completes commands, flags and live names, quoted as the line is', async () => {
  const { type, until, code } = terminal(world());
  await until(PROMPT);
  type(`bri${TAB}`);
  await until('bridge ');
  type(`sho${TAB}`);
  await until('show ');
  type(`a${TAB}`);
  await until('a\\ b ');
  type('\r');
  await until(/^name +a b$/m);
  await until(PROMPT);
  type(`bridge show "a${TAB}`);
  await until('"a b" ');
  type('\r');
  await until(/^name +a b$/m);
  await until(PROMPT);
  type(`por list --where br${TAB}`);
  await until('bridge=');
  type(`b${TAB}`);
  await until('b0 ');
  type(`--sor${TAB}`);
  await until('--sort ');
  type(`-na${TAB}`);
  await until('-name ');
  type('\r');
  await until(/^p1 +b0/m);
  type(CTRL_D);
  assert.equal(await code, EXIT.ok);
});

test('? says what may stand there, everywhere but in quotes, and the line stays', async () => {
  const { type, until, code } = terminal(world());
  await until(PROMPT);
  type('?');
  assert.match(await until(/exit .*\n/), /^ {2}bridge +A virtual Ethernet switch\.$/m);
  type('po?');
  assert.match(await until(/\n.*> po/), /^ {2}port +A port of a virtual device\.$/m);
  type('rt create ?');
  const create = await until(/--output/);
  assert.match(create, /^ {2}\[name\] +the same as --name$/m);
  assert.match(create, /^ {2}--bridge +The bridge it belongs to\.$/m);
  type('x --bridge ?');
  assert.match(await until(/a b .*\n/), /^ {2}b0 +bridge [0-9a-f-]{36}$/m);
  type('b0 --mtu ?');
  await until(/^ {2}<number> +The largest IP packet/m);
  type(`9 --tenant "what?"`);
  await until('"what?"');
  type(CTRL_C);
  await until('^C');
  type('pro li ?');
  await until('nothing more');
  type(CTRL_C);
  type('port li ?');
  await until("'li' may be list, link");
  type(`${CTRL_C}${CTRL_D}`);
  assert.equal(await code, EXIT.ok);
});

test('Ctrl-C stops the command, not the shell', async () => {
  const api = world();
  const { type, until, code, interrupt } = terminal(api);
  await until(PROMPT);
  type('port list --watch\r');
  await until(/p1 +b0/);
  interrupt();
  await until(PROMPT);
  const asked = Promise.withResolvers<void>();
  const status = (): Promise<never> => {
    asked.resolve();
    return new Promise(() => undefined);
  };
  Object.assign(api.client, { status });
  type('status\r');
  await asked.promise;
  interrupt();
  await until(PROMPT);
  type('bridge create b7 --dry-run\r');
  await until('nothing was written');
  assert.deepEqual(api.asked.at(-1)?.call, 'dryRun');
  type('exit\r');
  assert.equal(await code, EXIT.ok);
});

test('lines are remembered, secrets are not; an API that is away is told of', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'midonet-shell-'));
  try {
    const file = join(folder, 'history');
    const api = world();
    api.failNext.set('self', new Unavailable('no API answered'));
    const first = terminal(api, file);
    await first.until('note: no API answered');
    await first.until('mn ?@http://api> ');
    first.type('bridge list --password abc\rport list\r');
    await first.until(/p1 +b0/);
    first.type(CTRL_D);
    assert.equal(await first.code, EXIT.ok);
    assert.equal(readFileSync(file, 'utf8'), 'port list\n');
    const second = terminal(api, file);
    await second.until(PROMPT);
    second.type(UP);
    await second.until('port list');
    second.type(`\r${CTRL_D}`);
    assert.equal(await second.code, EXIT.ok);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
