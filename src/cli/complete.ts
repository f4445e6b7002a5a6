/**
 * Completion, over the very objects that parse the command line: commands, flags, their values, and
 * live names asked from the API. One function serves every shell; the scripts only carry words to
 * it.
 */
import type { Command, Option } from 'commander';
import { KIND_NAMES, type KindName } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { fieldsOf, type FieldSpec, settableFields } from './fields.ts';
import type { Session } from './session.ts';

/** Names offered for one word; a shell is no browser for more. */
export const CANDIDATES_MAX = 200;

const asKind = (text: string): KindName | undefined =>
  (KIND_NAMES as readonly string[]).includes(text) ? (text as KindName) : undefined;

/** Live names of a kind; none when the API does not answer: completion never complains. */
async function liveNames(session: Session, kind: KindName): Promise<string[]> {
  try {
    const page = await session.io.client.list(kind, { limit: CANDIDATES_MAX });
    return page.items.map((object) => object.name ?? object.id);
  } catch {
    return [];
  }
}

/** Where a partial command line stands. */
interface Place {
  readonly command: Command;
  /** Words of the commands walked. */
  readonly path: readonly string[];
  /** Positional arguments of `command` before the word. */
  readonly args: readonly string[];
  readonly given: ReadonlySet<string>;
  /** The option whose value the word is. */
  readonly valueOf: Option | undefined;
}

function walk(program: Command, words: readonly string[]): Place {
  let command = program;
  let valueOf: Option | undefined;
  const path: string[] = [];
  const args: string[] = [];
  const given = new Set<string>();
  for (const word of words) {
    if (valueOf !== undefined) {
      valueOf = undefined;
      continue;
    }
    if (word.startsWith('-')) {
      const [flag = ''] = word.split('=', 1);
      given.add(flag);
      const option = [...command.options, ...program.options].find(
        (o) => o.long === flag || o.short === flag,
      );
      if (option?.required === true && !word.includes('=')) valueOf = option;
      continue;
    }
    const next = command.commands.find((child) => child.name() === word);
    if (next === undefined) args.push(word);
    else {
      command = next;
      path.push(word);
    }
  }
  return { command, path, args, given, valueOf };
}

async function fieldValues(session: Session, field: FieldSpec): Promise<readonly string[]> {
  return field.refersTo === undefined ? field.choices : liveNames(session, field.refersTo);
}

/** `host=h1,addr…`: the keys not given yet, or the values of the key being typed. */
async function elementValues(session: Session, field: FieldSpec, word: string): Promise<string[]> {
  const parts = word.split(',');
  const last = parts.pop() ?? '';
  const head = parts.map((part) => `${part},`).join('');
  const at = last.indexOf('=');
  if (at < 0) {
    const used = new Set(parts.map((part) => part.split('=', 1)[0]));
    const left = field.element.filter((part) => !used.has(part.flag));
    return left.map((part) => `${head}${part.flag}=`);
  }
  const key = last.slice(0, at);
  const part = field.element.find((candidate) => candidate.flag === key);
  const values = part === undefined ? [] : await fieldValues(session, part);
  return values.map((value) => `${head}${key}=${value}`);
}

async function whereValues(session: Session, kind: KindName, word: string): Promise<string[]> {
  const fields = fieldsOf(kindOf(kind)).filter((field) => field.element.length === 0);
  const at = word.indexOf('=');
  if (at < 0) return fields.map((field) => `${field.flag}=`);
  const flag = word.slice(0, at);
  const field = fields.find((candidate) => candidate.flag === flag);
  const values = field === undefined ? [] : await fieldValues(session, field);
  return values.map((value) => `${flag}=${value}`);
}

async function optionValues(
  session: Session,
  place: Place,
  request: { readonly option: Option; readonly word: string },
): Promise<readonly string[]> {
  const { option, word } = request;
  if (option.argChoices !== undefined) return option.argChoices;
  const name = option.attributeName();
  const kind = asKind(place.path[0] ?? '');
  if (kind !== undefined) {
    if (name === 'where') return whereValues(session, kind, word);
    const fields = settableFields(kindOf(kind));
    if (name === 'unset') return fields.filter((field) => field.optional).map((f) => f.flag);
    const flag = (option.long ?? '').replace(/^--(add-|remove-)?/, '');
    const field = fields.find((candidate) => candidate.flag === flag);
    if (field !== undefined)
      return field.type === 'objects'
        ? elementValues(session, field, word)
        : fieldValues(session, field);
  }
  const named = asKind(name);
  return named === undefined ? [] : liveNames(session, named);
}

function flags(place: Place): string[] {
  return place.command.options
    .filter((option) => !option.hidden && option.long != null)
    .filter((option) => option.parseArg !== undefined || !place.given.has(option.long ?? ''))
    .map((option) => option.long ?? '');
}

async function positional(session: Session, place: Place): Promise<readonly string[]> {
  const known = place.command.registeredArguments;
  const argument = known[place.args.length] ?? known.findLast((last) => last.variadic);
  if (argument === undefined) return [];
  if (argument.argChoices !== undefined) return argument.argChoices;
  const kind = asKind(argument.name());
  if (kind !== undefined) return liveNames(session, kind);
  const of = asKind(place.path[0] ?? '');
  const field = of && fieldsOf(kindOf(of)).find(({ flag }) => flag === argument.name());
  return field === undefined ? [] : fieldValues(session, field);
}

/**
 * What can stand in place of the last of `words` (without the program's own name; the last may be
 * empty). Each candidate is the whole word. One that ends in `=` wants no space behind it.
 */
export async function complete(
  session: Session,
  program: Command,
  words: readonly string[],
): Promise<string[]> {
  const word = words.at(-1) ?? '';
  const place = walk(program, words.slice(0, -1));
  let found: readonly string[];
  if (place.valueOf !== undefined)
    found = await optionValues(session, place, { option: place.valueOf, word });
  else if (word.startsWith('--') && word.includes('=')) {
    const at = word.indexOf('=');
    const option = place.command.options.find((o) => o.long === word.slice(0, at));
    const value = word.slice(at + 1);
    const values =
      option === undefined ? [] : await optionValues(session, place, { option, word: value });
    found = values.map((text) => `${word.slice(0, at)}=${text}`);
  } else if (word.startsWith('-')) found = flags(place);
  else if (place.command.commands.length > 0 && place.args.length > 0) found = [];
  else if (place.command.commands.length > 0)
    found = place.command.commands
      .map((child) => child.name())
      .filter((name) => name !== 'complete')
      .concat(place.command === program ? ['api', 'agent', 'lab'] : []);
  else found = await positional(session, place);
  return found.filter((text) => text.startsWith(word)).slice(0, CANDIDATES_MAX);
}
