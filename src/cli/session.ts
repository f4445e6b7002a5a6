/**
 * What the commands of one run share: the outside, names already asked for, and the exit code. Made
 * anew for every run; nothing outlives it.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { WaitResult, Written } from '#client/types.ts';
import { count, OUTPUT_FORMATS, type OutputFormat, print, styled } from './format.ts';
import { clientAt, dryRunClient, dryRunText } from './dry-run.ts';
import { type CliIo, EXIT, type ExitCode, UsageError } from './io.ts';
import { parseTemplate, type Template, TemplateError } from './jsonpath.ts';
import { isId, Names } from './names.ts';
import type { About } from './problems.ts';

/** How long `--wait` waits when it is given no number. */
export const WAIT_MS_DEFAULT = 10_000;
/** The API holds a request open at most so long; longer waits are refused here, with a reason. */
export const WAIT_MS_MAX = 60_000;

export interface Session {
  io: CliIo;
  names: Names;
  code: ExitCode;
  /** What is being done, for the hint when it fails. */
  about: About;
}

export const openSession = (io: CliIo): Session => ({
  io,
  names: new Names(io.client),
  code: EXIT.ok,
  about: { command: '' },
});

/** The words of a command below the program: `port create`. */
function words(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at?.parent != null; at = at.parent)
    names.unshift(at.name());
  return names.join(' ');
}

/**
 * Makes an action of a command: arguments by position, then its options. It answers the exit code,
 * or nothing.
 */
export function action(
  session: Session,
  run: (args: readonly string[], options: Options) => Promise<ExitCode | void>,
): (...given: unknown[]) => Promise<void> {
  return async (...given) => {
    const command = given.at(-1) as Command;
    const args = command.processedArgs.flat().filter((arg) => arg !== undefined) as string[];
    session.about = { command: words(command), target: args[0] };
    const options = command.opts<Options>();
    lookElsewhere(session, options);
    session.code = (await run(args, options)) ?? EXIT.ok;
  };
}

/** With `--dry-run` or `--at` a command speaks to a client that does as they say. */
function lookElsewhere(session: Session, options: Options): void {
  const { client } = session.io;
  if (options['dryRun'] === true) {
    if (options['wait'] !== undefined)
      throw new UsageError('--dry-run: nothing is written, so there is nothing to --wait for');
    session.io = { ...session.io, client: dryRunClient(client) };
  }
  if (typeof options['at'] !== 'number') return;
  if (options['watch'] !== undefined)
    throw new UsageError('--at: what is past does not change, so there is nothing to --watch');
  session.io = { ...session.io, client: clientAt(client, options['at']) };
  session.names = new Names(session.io.client);
}

export type Options = Readonly<Record<string, unknown>>;

const wholeNumber =
  (what: string, max: number) =>
  (text: string): number => {
    const n = Number(text);
    if (/^\d+$/.test(text) && n <= max) return n;
    throw new InvalidArgumentError(`${what}: a whole number from 0 to ${max}.`);
  };

/** An option that is a whole number. */
export const numberOption = (flags: string, about: string, max = Number.MAX_SAFE_INTEGER): Option =>
  new Option(flags, about).argParser(wholeNumber('must be', max));

/** Gathers an option that may be given several times. */
export const repeated = (text: string, before: readonly string[] | undefined): string[] => [
  ...(before ?? []),
  text,
];

const PLAIN_FORMATS = ['table', 'wide', 'json', 'yaml'] as const;
const JSONPATH = 'jsonpath=';

function parseFormat(text: string): (typeof PLAIN_FORMATS)[number] | Template {
  const plain = PLAIN_FORMATS.find((format) => format === text);
  if (plain !== undefined) return plain;
  if (!text.startsWith(JSONPATH))
    throw new InvalidArgumentError('Allowed choices are table, wide, json, yaml, jsonpath=EXPR.');
  try {
    return parseTemplate(text.slice(JSONPATH.length));
  } catch (error) {
    if (error instanceof TemplateError) throw new InvalidArgumentError(`${error.message}.`);
    throw error;
  }
}

export const outputOption = (): Option =>
  new Option('-o, --output <format>', 'how to print the answer')
    .choices(OUTPUT_FORMATS)
    .argParser(parseFormat)
    .default('table' satisfies OutputFormat);
/** `wide` is a table with more columns: `isWide` tells. */
export const formatOf = (options: Options): OutputFormat => {
  const given = options['output'] as (typeof PLAIN_FORMATS)[number] | Template;
  return given === 'wide' ? 'table' : given;
};
export const isWide = (options: Options): boolean => options['output'] === 'wide';

export const atOption = (): Option =>
  numberOption('--at <revision>', 'as it was at this revision, if that is still kept');

export const dryRunOption = (): Option =>
  new Option('--dry-run', 'print what would change, decided by the API, and write nothing');

/** Adds the options that every write has. */
export const writeOptions = (command: Command): Command =>
  command
    .addOption(
      new Option(
        '--wait [ms]',
        `return when every live host enforces the change; exit 4 after ${WAIT_MS_DEFAULT} ms, or as given`,
      ).argParser(wholeNumber('milliseconds', WAIT_MS_MAX)),
    )
    .addOption(dryRunOption())
    .addOption(outputOption());

export const ifRevisionOption = (): Option =>
  numberOption('--if-revision <n>', 'only if the object is still at this revision');

/** Hosts by name, in the order given. */
async function hostNames(session: Session, hosts: readonly string[]): Promise<string> {
  if (!hosts.some(isId)) return hosts.join(', ');
  const names = await session.names.of('host');
  return hosts.map((host) => names.get(host) ?? host).join(', ');
}

/** The line for people; the answer itself for programs. */
const printWrite = (session: Session, options: Options, done: WriteDone, wait?: WaitResult): void =>
  print(session.io, formatOf(options), {
    value: { ...(done.value ?? done.written), ...(wait && { wait }) },
    text: () => `${done.line}\n`,
  });

export interface WriteDone {
  readonly written: Pick<Written, 'revision' | 'dryRun' | 'changes'>;
  /** The answer for programs; absent: `written`. */
  readonly value?: object;
  /**
   * What was done, for people. Without revision and id: guides and scenarios show it, and agents'
   * own writes come between.
   */
  readonly line: string;
}

/**
 * Says what was written; then waits, if asked to. A wait that fails does not hide that it was
 * written.
 */
export async function finishWrite(
  session: Session,
  options: Options,
  done: WriteDone,
): Promise<ExitCode> {
  const { dryRun, changes = [] } = done.written;
  if (dryRun === true) {
    const text = formatOf(options) === 'table' ? await dryRunText(session.names, changes) : '';
    const value = done.value ?? done.written;
    print(session.io, formatOf(options), { value, text: () => text });
    return EXIT.ok;
  }
  const wait = options['wait'] as number | true | undefined;
  const forPeople = formatOf(options) === 'table';
  if (wait === undefined || forPeople) printWrite(session, options, done);
  if (wait === undefined) return EXIT.ok;
  session.about = { command: 'wait' };
  const timeoutMs = wait === true ? WAIT_MS_DEFAULT : wait;
  let result: WaitResult | undefined;
  try {
    result = await session.io.client.wait(done.written.revision, timeoutMs);
  } finally {
    if (!forPeople) printWrite(session, options, done, result);
  }
  return finishWait(session, result, { forPeople, timeoutMs });
}

/** Names the hosts that are behind, and those that are away. */
async function finishWait(
  session: Session,
  result: WaitResult,
  how: { readonly forPeople: boolean; readonly timeoutMs: number },
): Promise<ExitCode> {
  const { io } = session;
  if (result.away.length > 0)
    io.err(
      `${styled(io, 'yellow', 'note:')} away, enforced before their next new flow: ` +
        `${await hostNames(session, result.away)}\n`,
    );
  if (result.behind.length === 0) {
    if (how.forPeople) io.out(`enforced by ${count(result.enforced.length, 'live host')}\n`);
    return EXIT.ok;
  }
  io.err(
    `${styled(io, 'red', 'error:')} not enforced within ${how.timeoutMs} ms by: ` +
      `${await hostNames(session, result.behind)}\n` +
      `${styled(io, 'dim', 'hint:')} The change is written; see what holds them up: mn status\n`,
  );
  return EXIT.behind;
}
