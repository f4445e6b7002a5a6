/**
 * A shell in the grammar of midonet-cli. Its aliases, and the tenant that was set, are those of one
 * session.
 */
import { ApiError } from '#client/errors.ts';
import type { Candidate } from '../complete.ts';
import { guessName } from '../guess.ts';
import { type CliIo, EXIT } from '../io.ts';
import { report } from '../problems.ts';
import type { Interpreter } from '../shell/interpreter.ts';
import { Aliases } from './aliases.ts';
import { type Parsed, parse, VERBS } from './grammar.ts';
import { Line, type Memory, targetsOf } from './run.ts';
import { type Attribute, attributesOf, ROOTS, TYPES, type TypeName } from './types.ts';

const OTHERS: readonly Candidate[] = [
  { text: 'help', about: 'the grammar' },
  { text: 'sett', about: 'whose objects are made and listed from now on' },
  { text: 'cleart', about: "everybody's objects again" },
  { text: 'exit', about: 'leave' },
];

/** The type whose attributes stand behind what was read; undefined: the path goes on. */
function attributeType({ verb, object, type }: Parsed): TypeName | undefined {
  if (verb === 'list' || verb === 'create' || verb === 'add') return type;
  if (verb === 'set' || verb === 'clear') return type === undefined ? object?.type : undefined;
  return undefined;
}

async function valuesOf(io: CliIo, memory: Memory, attribute: Attribute): Promise<Candidate[]> {
  const { field, words, about, name } = attribute;
  const refers = field?.refersTo ?? (field === undefined ? name : undefined);
  if (refers === 'port' || refers === 'host' || refers === 'bridge' || refers === 'router')
    return (await targetsOf(io, memory, refers)).map(({ alias, object }) => ({
      text: alias,
      about: object.name ?? object.id,
    }));
  return (field?.choices ?? []).map((choice) => ({ text: words?.[choice] ?? choice, about }));
}

async function attributeWords(io: CliIo, memory: Memory, parsed: Parsed): Promise<Candidate[]> {
  const type = attributeType(parsed);
  if (type === undefined) return [];
  const { attributes, verb } = parsed;
  const all = attributesOf(type);
  const given = verb === 'clear' ? attributes : attributes.filter((_word, i) => i % 2 === 0);
  if (verb === 'clear' || attributes.length % 2 === 0)
    return all
      .filter(({ name }) => !given.includes(name))
      .map(({ name, about }) => ({ text: name, about }));
  const attribute = all.find(({ name }) => name === attributes.at(-1));
  return attribute === undefined ? [] : valuesOf(io, memory, attribute);
}

/** Verbs, types and aliases that may go on a path. */
async function pathWords(io: CliIo, memory: Memory, parsed: Parsed): Promise<Candidate[]> {
  const { verb, object, type } = parsed;
  const verbs = Object.entries(VERBS).map(([text, about]) => ({ text, about }));
  const below = object === undefined ? ROOTS : TYPES[object.type].children;
  const types = type === undefined ? below : [];
  const scope = object !== undefined && 'id' in object ? `${memory.aliases.of(object)}:` : '';
  const live = type === undefined ? [] : await targetsOf(io, memory, type);
  const known = object === undefined && type === undefined ? [...memory.aliases.all] : [];
  return [
    ...types.map((name) => ({ text: name, about: TYPES[name].about })),
    ...live
      .filter(({ alias }) => alias.startsWith(scope))
      .map(({ alias, object: { name, id } }) => ({ text: alias, about: name ?? id })),
    ...known.map((text) => ({ text, about: 'an alias of this session' })),
    ...(verb === undefined ? verbs : []),
  ];
}

/** `ids`: no aliases, as with `-e`: what is printed is for other programs. */
export function midonetInterpreter(io: CliIo, ids: boolean): Interpreter {
  const memory: Memory = { aliases: new Aliases(!ids), tenant: undefined };
  const complete = async (words: readonly string[]): Promise<Candidate[]> => {
    const word = words.at(-1) ?? '';
    const parsed = parse(words.slice(0, -1), memory.aliases);
    const found =
      attributeType(parsed) === undefined
        ? await pathWords(io, memory, parsed)
        : await attributeWords(io, memory, parsed);
    const all = words.length === 1 ? [...found, ...OTHERS] : found;
    return all.filter(({ text }) => text.startsWith(word));
  };
  return {
    run: async (words, io) => {
      try {
        await new Line(io, memory).run(words);
        return EXIT.ok;
      } catch (error) {
        const guess = error instanceof ApiError ? await guessName(io.client, error) : undefined;
        return report(io, error, { command: 'shell --midonet', guess });
      }
    },
    complete,
    explain: complete,
  };
}
