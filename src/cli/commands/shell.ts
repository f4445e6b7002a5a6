/**
 * `mn shell`: the same commands as one-shot, typed one after the other or read from a script; with
 * `--midonet` in the grammar of midonet-cli.
 */
import type { Command } from 'commander';
import { Unavailable } from '#client/errors.ts';
import type { Token } from '#client/types.ts';
import { complete, explain, PROGRAMS } from '../complete.ts';
import { examples } from '../examples.ts';
import { styled } from '../format.ts';
import { type Files, STANDARD_INPUT } from '../files.ts';
import { midonetInterpreter } from '../midonet/interpreter.ts';
import { changed, type CliIo, UsageError } from '../io.ts';
import { isRefusal, report } from '../problems.ts';
import { action, openSession, type Session } from '../session.ts';
import { expand } from '../shell/abbreviate.ts';
import { interact } from '../shell/interactive.ts';
import type { Interpreter } from '../shell/interpreter.ts';
import { runScript } from '../shell/script.ts';
import { splitLine } from '../shell/words.ts';

/** The command line, handed in by the file that imports this one. */
export interface CommandLine {
  run(words: readonly string[], io: CliIo): Promise<number>;
  /** A tree of commands, to look at. */
  program(session: Session): Command;
}

const ABOUT = `
At a terminal:
  TAB completes commands, flags, fields, values and the names of what there is; ? says what may
  stand where the cursor is. Commands may be abbreviated (br li). Ctrl-C ends a command, Ctrl-D the
  shell. Lines are remembered in $XDG_STATE_HOME/midonet, but for those that hold a secret or begin
  with a space.

From a file or a pipe:
  One command a line; # opens a comment; a \\ at the end goes on in the next line. The first that
  fails ends the script, with its exit code.
`;

/** Words as they are typed in a shell: a leading `mn` is allowed, beginnings stand for commands. */
export function mnInterpreter(io: CliIo, commands: CommandLine): Interpreter {
  const look = () => {
    const session = openSession(io);
    return { session, program: commands.program(session) };
  };
  const bare = (words: readonly string[]): readonly string[] =>
    words[0] === 'mn' && words.length > 1 ? words.slice(1) : words;
  const begun = (words: readonly string[]) => {
    const { session, program } = look();
    const typed = bare(words);
    return {
      session,
      program,
      words: [...expand(program, typed.slice(0, -1)), typed.at(-1) ?? ''],
    };
  };
  const outside = (word: string): boolean =>
    word === 'shell' || PROGRAMS.some(({ text }) => text === word);
  return {
    run: async (words, io) => {
      try {
        const typed = expand(look().program, bare(words));
        const [first = ''] = typed;
        if (outside(first))
          throw new UsageError(`'mn ${first}' is a program of its own`, 'Start it outside of this');
        return await commands.run(typed, io);
      } catch (error) {
        return report(io, error, { command: 'shell' });
      }
    },
    complete: async (words) => {
      const { session, program, words: typed } = begun(words);
      const found = await complete(session, program, typed);
      return typed.length > 1 ? found : found.filter(({ text }) => !outside(text));
    },
    explain: async (words) => {
      const { session, program, words: typed } = begun(words);
      const found = await explain(session, program, typed);
      if (typed.length > 1) return found;
      const leave = { text: 'exit', about: 'leave the shell; so does Ctrl-D' };
      const own = leave.text.startsWith(typed[0] ?? '') ? [leave] : [];
      return [...found.filter(({ text }) => !outside(text)), ...own];
    },
  };
}

/** Who the API says we are; undefined: it does not say. */
async function whoami(io: CliIo): Promise<Token | undefined> {
  try {
    return await io.client.self();
  } catch (error) {
    if (!(error instanceof Unavailable) && !isRefusal(error)) throw error;
    io.err(`${styled(io, 'yellow', 'note:')} ${(error as Error).message}\n`);
    return undefined;
  }
}

/** `mn acme@http://10.0.0.1:8080> `: tenant or role, and the API. */
function promptOf(io: CliIo, token: Token | undefined): string {
  const who = token === undefined ? '?' : token.role === 'tenant' ? token.tenant : token.role;
  const [api = ''] = (io.api ?? '').split(',');
  return `${styled(io, 'bold', `mn ${who}${api === '' ? '' : `@${api}`}>`)} `;
}

const EVALUATED = `
With --midonet:
  [path] verb type [attribute value]…, with aliases of the session: bridge list, bridge create name b1,
  bridge0:port list, bridge0:port0 show, router router0 add route dst 10.0.0.0/8 gw 10.0.1.2 …;
  'help' tells more. With -e ids are printed, not aliases.
`;

export function addShell(session: Session, program: Command, commands: CommandLine): void {
  const shell = program
    .command('shell')
    .description('type commands one after the other, with help at ?')
    .helpGroup('Operating:')
    .option('--midonet', 'the grammar and the aliases of midonet-cli')
    .option('-e, --eval <words...>', 'carry out one line, and leave')
    .option('--keep-going', 'of a script: go on after a command that fails')
    .addHelpText('after', ABOUT)
    .addHelpText('after', EVALUATED);
  examples(shell, [
    'mn shell < script.mn',
    'mn shell --keep-going < broken.mn   # exit 1',
    'mn shell -e br li',
    "mn shell --midonet -e 'bridge create name web'",
    'mn shell --midonet < script.midonet',
  ]);
  shell.action(
    action(session, async (_args, options) => {
      const io = inside(session.io);
      const line = options['eval'] as readonly string[] | undefined;
      const interpreter =
        options['midonet'] === true
          ? midonetInterpreter(io, line !== undefined)
          : mnInterpreter(io, commands);
      const code =
        line === undefined
          ? await typed(io, interpreter, options['keepGoing'] === true)
          : await interpreter.run(wordsOf(line), io);
      return code as ReturnType<typeof report>;
    }),
  );
}

/** One word is a line as it would be typed; several are its words. */
function wordsOf(given: readonly string[]): readonly string[] {
  const [first = '', ...more] = given;
  if (more.length > 0) return given;
  const { words, open } = splitLine(first);
  if (open !== undefined) throw new UsageError(`the quote ${open} is not closed`);
  return words;
}

/** What commands in a shell are given: standard input is where the shell reads its lines from. */
function inside(io: CliIo): CliIo {
  const { files } = io;
  if (files === undefined) return io;
  const guarded: Files = {
    ...files,
    read: async (path) => {
      if (path !== STANDARD_INPUT) return files.read(path);
      throw new UsageError('-f -: the shell itself reads standard input', 'Name a file');
    },
  };
  return changed(io, { files: guarded });
}

async function typed(io: CliIo, interpreter: Interpreter, keepGoing: boolean): Promise<number> {
  const { console } = io;
  if (console === undefined)
    throw new UsageError('there is neither a terminal nor a script to read', 'mn shell --help');
  if (!console.interactive) return runScript(console, interpreter, { io, keepGoing });
  return interact(console, interpreter, { io, prompt: promptOf(io, await whoami(io)) });
}
