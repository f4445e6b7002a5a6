/**
 * Completion, over the very objects that parse the command line: commands, flags, their values, and
 * live names asked from the API. One function serves every shell, and the `?` of our own: the
 * scripts only carry words to it.
 */
import type { Argument, Command, Option } from 'commander';
import { KIND_NAMES, type KindName } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { type FieldSpec, fieldsOf, kebab, settableFields } from './fields.ts';
import { listedFields } from './listing.ts';
import type { Session } from './session.ts';

/** Names offered for one word; a shell is no browser for more. */
export const CANDIDATES_MAX = 200;

/** What may stand in a place. */
export interface Candidate {
  /** The whole word. One that ends in `=` wants no space behind it. */
  readonly text: string;
  /** One line about it. */
  readonly about: string;
  /** It only says what is wanted (`<name>`): nothing to be typed as it is. */
  readonly form?: true;
}

const asKind = (text: string): KindName | undefined =>
  (KIND_NAMES as readonly string[]).includes(text) ? (text as KindName) : undefined;

/** Live names of a kind; none when the API does not answer: completion never complains. */
async function liveNames(session: Session, kind: KindName): Promise<Candidate[]> {
  try {
    const page = await session.io.client.list(kind, { limit: CANDIDATES_MAX });
    return page.items.map(({ name, id }) => ({ text: name ?? id, about: `${kind} ${id}` }));
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

const plain = (texts: readonly string[], about = ''): Candidate[] =>
  texts.map((text) => ({ text, about }));

async function fieldValues(session: Session, field: FieldSpec): Promise<Candidate[]> {
  return field.refersTo === undefined
    ? plain(field.choices, field.about)
    : liveNames(session, field.refersTo);
}

const inFront = (head: string, of: readonly Candidate[]): Candidate[] =>
  of.map((one) => ({ ...one, text: `${head}${one.text}` }));

/** `host=h1,addr…`: the keys not given yet, or the values of the key being typed. */
async function elementValues(
  session: Session,
  field: FieldSpec,
  word: string,
): Promise<Candidate[]> {
  const parts = word.split(',');
  const last = parts.pop() ?? '';
  const head = parts.map((part) => `${part},`).join('');
  const at = last.indexOf('=');
  if (at < 0) {
    const used = new Set(parts.map((part) => part.split('=', 1)[0]));
    const left = field.element.filter((part) => !used.has(part.flag));
    return left.map(({ flag, about }) => ({ text: `${head}${flag}=`, about }));
  }
  const key = last.slice(0, at);
  const part = field.element.find((candidate) => candidate.flag === key);
  const values = part === undefined ? [] : await fieldValues(session, part);
  return inFront(`${head}${key}=`, values);
}

/** The fields of a kind that lists can be filtered and sorted by; `addresses.ip` among them. */
function listed(kind: KindName): { readonly flag: string; readonly field: FieldSpec }[] {
  return fieldsOf(kindOf(kind)).flatMap((field) =>
    field.element.length === 0
      ? [{ flag: field.flag, field }]
      : field.element.map((part) => ({ flag: `${field.flag}.${part.flag}`, field: part })),
  );
}

const OPERATOR = /!=|=/;

/** A field with `=` behind it, or behind an operator of equality the values that it can have. */
async function whereValues(session: Session, place: Place, word: string): Promise<Candidate[]> {
  const kind = asKind(place.path[0] ?? '');
  const found = OPERATOR.exec(word);
  if (kind === undefined)
    return found === null
      ? listedFields(place.command).map((name) => ({ text: `${kebab(name)}=`, about: '' }))
      : [];
  const fields = listed(kind);
  if (found === null)
    return fields.map(({ flag, field }) => ({ text: `${flag}=`, about: field.about }));
  const flag = word.slice(0, found.index);
  const field = fields.find((candidate) => candidate.flag === flag)?.field;
  return inFront(
    `${flag}${found[0]}`,
    field === undefined ? [] : await fieldValues(session, field),
  );
}

/** The fields for `--sort`, behind those that are there already. */
function sortValues(place: Place, word: string): Candidate[] {
  const kind = asKind(place.path[0] ?? '');
  const [, head = ''] = /^(.*,)?[^,]*$/.exec(word) ?? [];
  const down = word.slice(head.length).startsWith('-') ? '-' : '';
  const fields =
    kind === undefined
      ? plain(listedFields(place.command).map(kebab))
      : [
          ...listed(kind).map(({ flag, field }) => ({ text: flag, about: field.about })),
          { text: 'revision', about: 'The revision of its last change.' },
        ];
  return inFront(`${head}${down}`, fields);
}

async function optionValues(
  session: Session,
  place: Place,
  request: { readonly option: Option; readonly word: string },
): Promise<readonly Candidate[]> {
  const { option, word } = request;
  if (option.argChoices !== undefined) return plain(option.argChoices, option.description);
  const name = option.attributeName();
  if (name === 'where') return whereValues(session, place, word);
  if (name === 'sort') return sortValues(place, word);
  const kind = asKind(place.path[0] ?? '');
  if (kind !== undefined) {
    const fields = settableFields(kindOf(kind));
    if (name === 'unset')
      return fields
        .filter((field) => field.optional)
        .map(({ flag, about }) => ({ text: flag, about }));
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

/** What stands behind a flag: `<host>`, in square brackets when it may be left out. */
const placeholderOf = ({ flags }: Option): string | undefined => /[<[].*$/.exec(flags)?.[0];

function flags(place: Place): Candidate[] {
  return place.command.options
    .filter((option) => !option.hidden && option.long != null)
    .filter((option) => option.parseArg !== undefined || !place.given.has(option.long ?? ''))
    .map(({ long, description }) => ({ text: long ?? '', about: description }));
}

/** The positional argument that the word is. */
const argumentOf = ({ command, args }: Place): Argument | undefined =>
  command.registeredArguments[args.length] ??
  command.registeredArguments.findLast((last) => last.variadic);

const kinds = (): Candidate[] =>
  KIND_NAMES.map((name) => ({ text: name, about: kindOf(name).about }));

/** `port.addr…`: the fields of a kind, behind its name. */
function kindFields(word: string): Candidate[] {
  const kind = asKind(word.split('.', 1)[0] ?? '');
  if (kind === undefined || !word.includes('.')) return kinds();
  const fields = fieldsOf(kindOf(kind)).flatMap((field) => [
    { text: field.name, about: field.about },
    ...field.element.map(({ name, about }) => ({ text: `${field.name}.${name}`, about })),
  ]);
  return inFront(`${kind}.`, fields);
}

async function positional(
  session: Session,
  place: Place,
  { program, word }: { readonly program: Command; readonly word: string },
): Promise<readonly Candidate[]> {
  const argument = argumentOf(place);
  if (argument === undefined) return [];
  if (argument.argChoices !== undefined) return plain(argument.argChoices, argument.description);
  const kind = asKind(argument.name().toLowerCase());
  if (kind !== undefined) return liveNames(session, kind);
  switch (argument.name()) {
    case 'kind':
      return kinds();
    case 'kind[.field]':
      return kindFields(word);
    case 'object': {
      const of = asKind(place.args[0] ?? '');
      return of === undefined ? [] : liveNames(session, of);
    }
    case 'command':
      return verbs(program, walk(program, place.args));
    default: {
      const of = asKind(place.path[0] ?? '');
      const field = of && fieldsOf(kindOf(of)).find(({ flag }) => flag === argument.name());
      return field === undefined ? [] : fieldValues(session, field);
    }
  }
}

/** Programs of their own, which the client only names. */
export const PROGRAMS: readonly Candidate[] = [
  { text: 'api', about: 'serve the API' },
  { text: 'agent', about: "carry a host's ports" },
  { text: 'lab', about: 'hosts in network namespaces, to try things' },
];

/** The commands below one, as they are offered. */
export const subcommands = (command: Command): readonly Command[] =>
  command.createHelp().visibleCommands(command);

function verbs(program: Command, { command }: Place): Candidate[] {
  const found = subcommands(command).map((child) => ({
    text: child.name(),
    about: child.description(),
  }));
  return command === program ? [...found, ...PROGRAMS] : found;
}

/** `--flag=val…` in one word. */
async function inlineValues(session: Session, place: Place, word: string): Promise<Candidate[]> {
  const at = word.indexOf('=');
  const option = place.command.options.find((o) => o.long === word.slice(0, at));
  if (option === undefined) return [];
  const request = { option, word: word.slice(at + 1) };
  return inFront(word.slice(0, at + 1), await optionValues(session, place, request));
}

async function found(session: Session, program: Command, words: readonly string[]) {
  const word = words.at(-1) ?? '';
  const place = walk(program, words.slice(0, -1));
  const { command, valueOf, args } = place;
  if (valueOf !== undefined)
    return { place, all: await optionValues(session, place, { option: valueOf, word }) };
  if (word.startsWith('--') && word.includes('='))
    return { place, all: await inlineValues(session, place, word) };
  if (word.startsWith('-')) return { place, all: flags(place) };
  if (command.commands.length > 0)
    return { place, all: args.length > 0 ? [] : verbs(program, place) };
  return { place, all: await positional(session, place, { program, word }) };
}

/**
 * What can stand in place of the last of `words` (without the program's own name; the last may be
 * empty).
 */
export async function complete(
  session: Session,
  program: Command,
  words: readonly string[],
): Promise<Candidate[]> {
  const { all } = await found(session, program, words);
  const word = words.at(-1) ?? '';
  return all.filter(({ text }) => text.startsWith(word)).slice(0, CANDIDATES_MAX);
}

/**
 * The same for a person who asks: what is wanted where nothing can be listed, and the flags too
 * where one may stand.
 */
export async function explain(
  session: Session,
  program: Command,
  words: readonly string[],
): Promise<Candidate[]> {
  const word = words.at(-1) ?? '';
  const { place, all } = await found(session, program, words);
  const { command, valueOf } = place;
  const fitting = all.filter(({ text }) => text.startsWith(word)).slice(0, CANDIDATES_MAX);
  if (valueOf !== undefined)
    return fitting.length > 0
      ? fitting
      : [{ text: placeholderOf(valueOf) ?? '<value>', about: valueOf.description, form: true }];
  if (word.startsWith('-')) return fitting;
  const argument = command.commands.length > 0 ? undefined : argumentOf(place);
  const wanted: Candidate[] = [];
  if (argument !== undefined && fitting.length === 0) {
    const name = argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
    wanted.push({ text: name, about: argument.description, form: true });
  }
  const after = word === '' && command.commands.length === 0 ? flags(place) : [];
  return [...fitting, ...wanted, ...after];
}
