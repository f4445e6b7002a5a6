/**
 * The command line client: words in, requests to the API, lines out. `runCli` is one run without a
 * process around it; `main` wires it to this process. A program is built anew for every run:
 * parsing keeps state.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { addCompletion } from './commands/completion.ts';
import { addPortBinding } from './commands/port-binding.ts';
import { addPortLink } from './commands/port-link.ts';
import { addResources } from './commands/resources.ts';
import { addStatus } from './commands/status.ts';
import { addToken } from './commands/token.ts';
import { addTrace } from './commands/trace.ts';
import { addWatch } from './commands/watch.ts';
import { type CliIo, EXIT, UsageError } from './io.ts';
import { report } from './problems.ts';
import { action, openSession, type Session } from './session.ts';

const API_DEFAULT = 'unix:/run/midonet/api.sock';

/** The shell's code for a program that SIGINT ended: 128 + 2. */
const INTERRUPTED = 130;
/** After SIGINT a watch ends by itself within this time; whatever else still runs is given up. */
const GRACE_MS = 200;

/** Columns of help where there is no terminal. */
const HELP_WIDTH = 80;

const AFTER_HELP = `
Programs:
  api                         serve the API
  agent                       carry a host's ports
  lab                         hosts in network namespaces, to try things

Environment:
  MN_API                      the API's address, or several with commas between
                              (default ${API_DEFAULT})
  MN_TOKEN, MN_TOKEN_FILE     the bearer token, or the file that holds it

Exit codes:
  0 done   1 refused by the API, nothing changed   2 command line not understood
  3 no API answered   4 written, but --wait ran out   5 the API failed

Examples:
  mn bridge create b0
  mn port create p1 --bridge b0 --addresses mac=02:00:00:00:00:01,ip=10.0.0.1
  mn port bind p1 --host h1 --interface vm1 --wait
  mn trace p1 "icmp 10.0.0.1 > 10.0.0.2"
  mn port create r0-b0 --router r0 --networks 10.0.0.254/24,fd00::fe/64
  mn port link r0-b0 b0-r0
  mn route create --router r0 --destination 0.0.0.0/0 --port r0-up --gateway 192.0.2.1
`;

/** The whole tree of commands, for one run. */
function build(session: Session): Command {
  const { io } = session;
  const program = new Command('mn')
    .description('Virtual networks: see, change and trace them.')
    .usage('[options] COMMAND')
    .option('--api <url>', "the API's address: http://…, or unix:/path")
    .option('--token-file <file>', 'the file that holds the bearer token')
    .configureOutput({
      writeOut: (text) => io.out(text),
      writeErr: (text) => io.err(text),
      getOutHelpWidth: () => io.width ?? HELP_WIDTH,
      getErrHelpWidth: () => io.width ?? HELP_WIDTH,
      getOutHasColors: () => io.colour === true,
      getErrHasColors: () => io.colour === true,
    })
    .exitOverride()
    .addHelpText('after', AFTER_HELP);
  const kinds = addResources(session, program);
  const port = kinds.get('port');
  if (port !== undefined) {
    addPortBinding(session, port);
    addPortLink(session, port);
  }
  addStatus(session, program);
  addTrace(session, program);
  addWatch(session, program);
  addToken(session, program);
  addCompletion(session, program);
  addHelp(session, program);
  program
    .command('version')
    .description("this program's version")
    .helpGroup('Operating:')
    .action(
      action(session, async () => {
        io.out(`${io.version ?? 'unknown'}\n`);
      }),
    );
  hintAtHelp(program, 'mn');
  return program;
}

function addHelp(session: Session, program: Command): void {
  program
    .command('help')
    .argument('[command...]')
    .description('help on a command')
    .helpGroup('Operating:')
    .helpOption(false)
    .action(
      action(session, async (words) => {
        let command = program;
        for (const word of words) {
          const next = command.commands.find((child) => child.name() === word);
          if (next === undefined)
            throw new UsageError(`there is no command '${words.join(' ')}'`, 'mn --help');
          command = next;
        }
        command.outputHelp();
      }),
    );
}

/** After a mistake each command points at its own help; `mn help` knows all of them. */
function hintAtHelp(command: Command, words: string): void {
  command.showHelpAfterError(`hint: ${words} --help`).helpCommand(false);
  for (const child of command.commands) hintAtHelp(child, `${words} ${child.name()}`);
}

/**
 * Runs one command line (without the program's name) and answers its exit code, one of EXIT. Never
 * ends the process and keeps nothing; throws only on a bug of ours.
 */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const session = openSession(io);
  const program = build(session);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return session.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return report(io, error, session.about);
  }
}

/**
 * Takes `--NAME VALUE` or `--NAME=VALUE` out of the words: needed before the words can be parsed.
 */
function take(argv: string[], name: string): string | undefined {
  const end = argv.indexOf('--');
  const at = argv.findIndex((word) => word === name || word.startsWith(`${name}=`));
  if (at < 0 || (end >= 0 && at > end)) return undefined;
  const [word = ''] = argv.splice(at, 1);
  if (word !== name) return word.slice(name.length + 1);
  const [value] = argv.splice(at, 1);
  if (value === undefined) throw new UsageError(`${name} needs a value`, 'mn --help');
  return value;
}

function tokenFrom(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new UsageError(`token file ${file}: ${(error as Error).message}`, 'mn --help');
  }
}

/** An address that is none is the caller's mistake. */
function connected<T>(connect: () => T): T {
  try {
    return connect();
  } catch (error) {
    throw new UsageError(`API address: ${(error as Error).message}`, 'Set MN_API or --api');
  }
}

const versionOf = (): string =>
  (
    JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      readonly version: string;
    }
  ).version;

/** Columns and colours of the terminal, if stdout is one. */
const terminal = (): Pick<CliIo, 'width' | 'colour'> => ({
  width: process.stdout.isTTY ? process.stdout.columns : undefined,
  colour: process.stdout.isTTY && process.stdout.hasColors() && !process.env['NO_COLOR'],
});

/** The client in this process: `argv` without the program's name. Sets the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const words = [...argv];
  const interrupted = new AbortController();
  const interrupt = (): void => {
    interrupted.abort();
    setTimeout(() => process.exit(INTERRUPTED), GRACE_MS).unref();
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  // A closed pipe (`mn watch | head`) is the reader's wish to stop.
  process.stdout.on('error', () => interrupted.abort());
  const screen = {
    out: (text: string) => void process.stdout.write(text),
    err: (text: string) => void process.stderr.write(text),
    ...terminal(),
  };
  try {
    const { env } = process;
    const api = take(words, '--api') ?? env['MN_API'] ?? API_DEFAULT;
    const file = take(words, '--token-file');
    const token = tokenFrom(file) ?? env['MN_TOKEN'] ?? tokenFrom(env['MN_TOKEN_FILE']);
    const [{ createClient }, { connect }] = await Promise.all([
      import('#client/client.ts'),
      import('#client/connect.ts'),
    ]);
    const client = createClient({ fetch: connected(() => connect(api, token)) });
    const io = { ...screen, client, signal: interrupted.signal, api, version: versionOf() };
    process.exitCode = await runCli(words, io);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.exitCode = report(screen, error, { command: '' });
  }
}
