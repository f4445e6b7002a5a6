/**
 * Errors as people read them: what the API said, word for word, then what to type next. One place
 * turns an error into lines and an exit code; an error of no known kind is our own bug and is
 * thrown on.
 */
import { ApiError, problemText, Unavailable } from '#client/errors.ts';
import type { Problem } from '#client/types.ts';
import type { KindName } from '#virtual/kind.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { styled } from './format.ts';
import { type CliIo, EXIT, type ExitCode, RefusedError, type Screen, UsageError } from './io.ts';

/** What a run was about, for the hint. */
export interface About {
  /** The command's words: `port create`. */
  readonly command: string;
  /** The object named on the command line. */
  readonly target?: string | undefined;
  /** What a name was likely meant to be: in front of the hint. */
  readonly guess?: string | undefined;
}

/** The API understood the request and refused it. */
export const isRefusal = (error: unknown): error is ApiError =>
  error instanceof ApiError && error.status < 500;

const kindOfCommand = (command: string): KindName | undefined =>
  KIND_NAMES.find((kind) => command.startsWith(`${kind} `));

/** The kind of which the API says that it has no such object. */
const kindNamed = (message: string): KindName | undefined => {
  const [, words] = /^no ([a-z ]+?) (?:is named|has the id) /.exec(message) ?? [];
  return KIND_NAMES.find((kind) => kind.replaceAll('-', ' ') === words);
};

/** A field that should not have been given at all: no other value would do. */
const MISPLACED = /^(?:is not a field|has no meaning)\b/;

/** How to look up what a name stands for, when the API says that it stands for several. */
function lookup(problem: Problem): string | undefined {
  for (const { message } of problem.errors ?? []) {
    const [, words, name = ''] = /^\d+ ([a-z ]+) are named "([^"]*)": /.exec(message) ?? [];
    const kind = KIND_NAMES.find((each) => kindOf(each).path.replaceAll('-', ' ') === words);
    const where = /^[\w.:@-]+$/.test(name) ? `name=${name}` : `'name=${name}'`;
    if (kind !== undefined) return `See which is which: mn ${kind} list --where ${where}`;
  }
  return undefined;
}

/**
 * A kind whose missing object the problem is about: that of the faulty reference, else the
 * command's.
 */
function missingKind(problem: Problem, command: string): KindName | undefined {
  const named = (problem.errors ?? []).map(({ message }) => kindNamed(message));
  const kind = named.find((one) => one !== undefined) ?? kindOfCommand(command);
  if (kind === undefined || named.includes(kind) || problem.status === 404) return kind;
  for (const fault of problem.errors ?? []) {
    const path = fault.path.replace(/\.\d+(?=\.|$)/g, '');
    const reference = kindOf(kind).references[path];
    if (reference === undefined || MISPLACED.test(fault.message)) continue;
    if (/\bno\b|\bnot\b/.test(fault.message)) return reference.kind;
  }
  return undefined;
}

function hintOf(problem: Problem, about: About): string | undefined {
  const kind = kindOfCommand(about.command);
  const target = about.target === undefined ? '' : ` ${about.target}`;
  switch (problem.status) {
    case 401:
      return 'Give a token: MN_TOKEN=… or --token-file FILE; an operator issues one with: mn token issue';
    case 403:
      return 'This token may not do that; see who may with: mn token issue --help';
    case 409:
    case 412:
      if (kind === undefined) return lookup(problem) ?? `mn ${about.command} --help`;
      return (
        lookup(problem) ??
        `See how it is now: mn ${kind} ${about.target === undefined ? 'list' : `show${target}`}`
      );
    case 413:
      return 'Nothing was written; do it in smaller parts';
    default: {
      const missing = missingKind(problem, about.command);
      if (missing === 'route' && about.target?.includes('/') === true)
        return `A route without a name goes by its id: mn route list --where destination=${about.target}`;
      if (missing !== undefined) return `See what there is: mn ${missing} list`;
      return problem.status < 500 && about.command !== ''
        ? `mn ${about.command} --help`
        : undefined;
    }
  }
}

function tell(io: Screen, text: string, hint: string | undefined): void {
  io.err(`${styled(io, 'red', 'error:')} ${text}\n`);
  if (hint !== undefined) io.err(`${styled(io, 'dim', 'hint:')} ${hint}\n`);
}

/** Commands that may have changed something when their answer did not arrive. */
const WRITES = /(?:^rollback| (?:create|update|delete|bind|unbind|link|unlink|issue|revoke))$/;

/** 503: the API answered, but has no store to ask. For the caller that is no answer. */
const UNAVAILABLE_STATUS = 503;

/** A screen, and what the logs of API and agents call the run. */
export type Reported = Screen & Pick<CliIo, 'request' | 'verbose'>;

/**
 * Prints an error and answers its exit code. Throws errors that only a bug of ours can make. What
 * is the API's fault, not the caller's, has a line in its log: the id that finds it is told.
 */
export function report(io: Reported, error: unknown, about: About): ExitCode {
  const code = told(io, error, about);
  const theirs = error instanceof ApiError && error.status >= 500;
  const { request } = io;
  if (request !== undefined && (theirs || io.verbose === true))
    io.err(`${styled(io, 'dim', 'request:')} ${request}\n`);
  return code;
}

function told(io: Screen, error: unknown, about: About): ExitCode {
  if (error instanceof ApiError) {
    const hint = [about.guess, hintOf(error.problem, about)].filter((part) => part !== undefined);
    tell(io, problemText(error.problem), hint.length === 0 ? undefined : hint.join(' '));
    if (error.status === UNAVAILABLE_STATUS) return EXIT.unreachable;
    return error.status < 500 ? EXIT.refused : EXIT.failed;
  }
  if (error instanceof Unavailable) {
    const unsure = WRITES.test(about.command)
      ? 'Whether it was written is not known: look before you repeat it. '
      : '';
    const where = 'Start an API: mn api --data DIR; or name another: MN_API=… or --api URL';
    tell(io, error.message, `${unsure}${where}`);
    return EXIT.unreachable;
  }
  if (error instanceof RefusedError) {
    tell(io, error.message, error.hint);
    return EXIT.refused;
  }
  if (!(error instanceof UsageError)) throw error;
  tell(io, error.message, error.hint ?? `mn ${about.command} --help`);
  return EXIT.usage;
}
