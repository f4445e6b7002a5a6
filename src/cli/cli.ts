/**
 * The command line client: words in, requests to the API, lines out. `runCli` is one run without a
 * process around it; `main` wires it to this process. A program is built anew for every run:
 * parsing keeps state.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { addAttach } from './commands/attach.ts';
import { addCapture } from './commands/capture.ts';
import { addApply } from './commands/apply.ts';
import { addCompletion } from './commands/completion.ts';
import { addDoctor } from './commands/doctor.ts';
import { addLogLevel } from './commands/log-level.ts';
import { addLogs } from './commands/logs.ts';
import { addDiff } from './commands/diff.ts';
import { addEdit } from './commands/edit.ts';
import { addExplain } from './commands/explain.ts';
import { addExport } from './commands/export.ts';
import { addPortBinding } from './commands/port-binding.ts';
import { addFloatingIp } from './commands/floating-ip.ts';
import { addRouterGateway } from './commands/router-gateway.ts';
import { addPortLink } from './commands/port-link.ts';
import { addResources } from './commands/resources.ts';
import { addShell } from './commands/shell.ts';
import { addBackup } from './commands/backup.ts';
import { addHistory } from './commands/history.ts';
import { addRollback } from './commands/rollback.ts';
import { addStatus } from './commands/status.ts';
import { addSupportBundle } from './commands/support-bundle.ts';
import { addToken } from './commands/token.ts';
import { addConnections } from './commands/connections.ts';
import { addBalancerStatus } from './commands/balancer-status.ts';
import { addRuleLooks } from './commands/rule-looks.ts';
import { addDrops } from './commands/drops.ts';
import { addFlows } from './commands/flows.ts';
import { addTrace } from './commands/trace.ts';
import { addWatch } from './commands/watch.ts';
import { ApiError } from '#client/errors.ts';
import { PROGRAMS, subcommands } from './complete.ts';
import { examples } from './examples.ts';
import { guessName } from './guess.ts';
import { styled } from './format.ts';
import { processEditor } from './editor.ts';
import { processFiles } from './files.ts';
import { type CliIo, type Console, EXIT, EXIT_CODES, UsageError } from './io.ts';
import { addWhy } from './commands/why.ts';
import { addWhatIf } from './commands/what-if.ts';
import { secretsOf } from './bundle/redact.ts';
import { report } from './problems.ts';
import { named, newRequestId } from './requests.ts';
import { historyPath } from './shell/history.ts';
import { didYouMean } from './suggest.ts';
import { action, openSession, type Session } from './session.ts';

const API_DEFAULT = 'unix:/run/midonet/api.sock';

/** After SIGINT a watch ends by itself within this time; whatever else still runs is given up. */
const GRACE_MS = 200;

/** Columns of help where there is no terminal. */
const HELP_WIDTH = 80;

const AFTER_HELP = `
Programs:
${PROGRAMS.map(({ text, about }) => `  ${text.padEnd(26)}  ${about}`).join('\n')}

Environment:
  MN_API                      the API's address, or several with commas between
                              (default ${API_DEFAULT})
  MN_TOKEN, MN_TOKEN_FILE     the bearer token, or the file that holds it
  MN_DEBUG                    1: as --verbose

Exit codes:
${EXIT_CODES.map(({ code, about }) => `  ${code}  ${about}`).join('\n')}

Examples:
  mn bridge create b0
  mn port create p1 --bridge b0 --addresses mac=02:00:00:00:00:01,ip=10.0.0.1
  mn port bind p1 --host h1 --interface vm7 --wait
  mn port create r0-b0 --router r0 --networks 10.0.0.254/24,fd00::fe/64
  mn port create b0-r0 --bridge b0
  mn port link r0-b0 b0-r0
  mn route create --router r0 --destination 0.0.0.0/0 --port r0-b0 --gateway 10.0.0.1
  mn trace p1 "icmp 10.0.0.1 > 10.0.0.254"
`;

/** A mistake in words as any other error; what was likely meant is the beginning of its hint. */
function usageText(io: CliIo, text: string): string {
  const [, message = text, guess] =
    /^error: ([^]*?)(?:\n\(Did you mean (?:one of )?([^)]*)\?\))?\n*$/.exec(text) ?? [];
  const hint = guess === undefined ? '' : `${styled(io, 'dim', 'hint:')} Did you mean ${guess}?\n`;
  return `${styled(io, 'red', 'error:')} ${message}\n${hint}`;
}

/** The whole tree of commands, for one run. */
export function buildProgram(session: Session): Command {
  const { io } = session;
  const program = new Command('mn')
    .description('Virtual networks: see, change and trace them.')
    .usage('[options] COMMAND')
    .option('--api <url>', "the API's address: http://…, or unix:/path")
    .option('--token-file <file>', 'the file that holds the bearer token')
    .option('--verbose', 'tell each request to the API, and the id by which its logs name this run')
    .configureOutput({
      writeOut: (text) => io.out(text),
      writeErr: (text) => io.err(text),
      getOutHelpWidth: () => io.width ?? HELP_WIDTH,
      getErrHelpWidth: () => io.width ?? HELP_WIDTH,
      getOutHasColors: () => io.colour === true,
      getErrHasColors: () => io.colour === true,
      outputError: (text, write) => write(usageText(io, text)),
    })
    .exitOverride()
    .addHelpText('after', AFTER_HELP);
  const kinds = addResources(session, program);
  const port = kinds.get('port');
  if (port !== undefined) {
    addPortBinding(session, port);
    addPortLink(session, port);
  }
  const router = kinds.get('router');
  if (router !== undefined) addRouterGateway(session, router);
  addFloatingIp(session, program);
  const rule = kinds.get('rule');
  if (rule !== undefined) addRuleLooks(session, rule);
  const balancer = kinds.get('load-balancer');
  if (balancer !== undefined) addBalancerStatus(session, balancer);
  addAttach(session, program);
  addApply(session, program);
  addDiff(session, program);
  addExport(session, program);
  addEdit(session, program);
  addExplain(session, program);
  addHistory(session, program);
  addRollback(session, program);
  addBackup(session, program);
  addStatus(session, program);
  addDoctor(session, program);
  addLogs(session, program);
  addLogLevel(session, program);
  addSupportBundle(session, program);
  addTrace(session, program);
  addFlows(session, program);
  addConnections(session, program);
  addDrops(session, program);
  addCapture(session, program);
  addWhy(session, program);
  addWhatIf(session, program);
  addWatch(session, program);
  addToken(session, program);
  addShell(session, program, { run: runCli, program: buildProgram });
  addCompletion(session, program);
  addHelp(session, program);
  const version = program
    .command('version')
    .description("this program's version")
    .helpGroup('Operating:');
  examples(version, ['mn version']).action(
    action(session, async () => {
      io.out(`${io.version ?? 'unknown'}\n`);
    }),
  );
  hintAtHelp(program, 'mn');
  return program;
}

function addHelp(session: Session, program: Command): void {
  const help = program
    .command('help')
    .argument('[command...]')
    .description('help on a command')
    .helpGroup('Operating:');
  examples(help, ['mn help', 'mn help port create']).action(
    action(session, async (words) => {
      let command = program;
      for (const word of words) {
        const next = command.commands.find((child) => child.name() === word);
        if (next === undefined) {
          const known = subcommands(command).map((child) => child.name());
          const hint = [didYouMean(word, known), 'mn --help'].filter((part) => part !== undefined);
          throw new UsageError(`there is no command '${words.join(' ')}'`, hint.join(' '));
        }
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
  const program = buildProgram(session);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return session.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    const guess = error instanceof ApiError ? await guessName(io.client, error) : undefined;
    return report(io, error, { ...session.about, guess });
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

/** The same for a flag. */
function takeFlag(argv: string[], name: string): boolean {
  const end = argv.indexOf('--');
  const at = argv.indexOf(name);
  if (at < 0 || (end >= 0 && at > end)) return false;
  argv.splice(at, 1);
  return true;
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

/** The terminal, if stdout is one: its size as it is when asked for. */
const terminal = (): Pick<CliIo, 'width' | 'height' | 'colour'> => ({
  get width() {
    return process.stdout.isTTY ? process.stdout.columns : undefined;
  },
  get height() {
    return process.stdout.isTTY ? process.stdout.rows : undefined;
  },
  colour: process.stdout.isTTY && process.stdout.hasColors() && !process.env['NO_COLOR'],
});

/** SIGINT and SIGTERM end the run; whoever asks for SIGINT last gets it alone. */
function interruptions(): Pick<Console, 'onInterrupt'> & { readonly signal: AbortSignal } {
  const over = new AbortController();
  const end = (): void => {
    over.abort();
    setTimeout(() => process.exit(EXIT.interrupted), GRACE_MS).unref();
  };
  const handlers = [end];
  process.on('SIGINT', () => handlers.at(-1)?.());
  process.once('SIGTERM', end);
  // A closed pipe (`mn watch | head`) is the reader's wish to stop.
  process.stdout.on('error', () => over.abort());
  const onInterrupt = (handler: () => void): (() => void) => {
    handlers.push(handler);
    return () => void handlers.splice(handlers.lastIndexOf(handler), 1);
  };
  return { signal: over.signal, onInterrupt };
}

/**
 * The client in this process: `argv` without the program's name. Sets the exit code. `wires`: how
 * it reaches the machine's interfaces, which it does not itself.
 */
export async function main(argv: readonly string[], wires: CliIo['wires']): Promise<void> {
  const words = [...argv];
  const { signal, onInterrupt } = interruptions();
  const screen = Object.assign(terminal(), {
    out: (text: string) => void process.stdout.write(text),
    err: (text: string) => void process.stderr.write(text),
  });
  try {
    const { env, stdout } = process;
    const api = take(words, '--api') ?? env['MN_API'] ?? API_DEFAULT;
    const file = take(words, '--token-file');
    const token = tokenFrom(file) ?? env['MN_TOKEN'] ?? tokenFrom(env['MN_TOKEN_FILE']);
    const [{ createClient }, { connect }] = await Promise.all([
      import('#client/client.ts'),
      import('#client/connect.ts'),
    ]);
    const verbose = takeFlag(words, '--verbose') || env['MN_DEBUG'] === '1';
    const request = newRequestId();
    const tell = verbose ? screen.err : undefined;
    const fetch = named(
      connected(() => connect(api, token)),
      request,
      tell,
    );
    const client = createClient({ fetch });
    const console: Console = {
      get input() {
        return process.stdin;
      },
      output: stdout,
      get interactive() {
        return process.stdin.isTTY && stdout.isTTY;
      },
      historyFile: historyPath(env, 'history'),
      onInterrupt,
    };
    const secrets = [...secretsOf(env), ...(token === undefined ? [] : [token])];
    const machine = { files: processFiles, editor: processEditor, wires };
    const run = { client, signal, api, version: versionOf(), console, secrets, request, verbose };
    const io = Object.assign(screen, run, machine);
    process.exitCode = await runCli(words, io);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.exitCode = report(screen, error, { command: '' });
  }
}
