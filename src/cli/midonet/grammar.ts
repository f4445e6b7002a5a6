/**
 * The grammar of midonet-cli: `[path] verb type [attribute value]…`, the verb anywhere before the
 * attributes (`list bridge` is `bridge list`), a path of types and aliases (`bridge bridge0 port`,
 * `bridge0:port`). Pure: whether an alias is one is asked of the caller.
 */
import { UsageError } from '../io.ts';
import { didYouMean } from '../suggest.ts';
import type { Target } from './aliases.ts';
import { attributesOf, MISSING, ROOTS, TYPE_NAMES, TYPES, type TypeName } from './types.ts';

export const VERBS = {
  list: 'what there is; attributes filter, !value is any other',
  show: 'one object',
  create: 'a new object; prints its alias',
  add: 'the same as create',
  set: 'change attributes',
  clear: 'clear attributes, or set them back to their default',
  delete: 'delete an object',
  describe: 'the attributes of a type',
} as const;
export type Verb = keyof typeof VERBS;

/** A place in the tree, as far as words say. */
export interface Place {
  /** The object that the path has come to. A name or id is not asked for yet. */
  readonly object?: Named;
  /** The collection below it (or of all) that the path has come to. */
  readonly type?: TypeName;
}
/** By alias, or by what the API knows it by. */
export type Named =
  | Target
  | { readonly type: TypeName; readonly name: string; readonly below?: Named };

export interface Parsed extends Place {
  readonly verb: Verb | undefined;
  readonly attributes: readonly string[];
}

export interface Known {
  find(alias: string): Target | undefined;
}

const isVerb = (word: string): word is Verb => Object.hasOwn(VERBS, word);
const isType = (word: string): word is TypeName => (TYPE_NAMES as readonly string[]).includes(word);
const ALIAS = /^[a-z]+\d+(:[a-z]+\d+)*$/;
const COLLECTION = /^(.+):([a-z-]+)$/;

const typesBelow = (object: Named | undefined): readonly TypeName[] =>
  object === undefined ? ROOTS : TYPES[object.type].children;

/** Reads words from left to right, as far as they are a path and a verb. */
class Path {
  readonly #known: Known;
  verb: Verb | undefined;
  object: Named | undefined;
  type: TypeName | undefined;

  constructor(known: Known) {
    this.#known = known;
  }

  /** Nothing but attributes may follow. */
  get whole(): boolean {
    if (this.verb === undefined) return false;
    return this.#listed ? this.type !== undefined : false;
  }
  get #listed(): boolean {
    return ['list', 'create', 'add', 'describe'].includes(this.verb ?? '');
  }

  /** The alias as typed, or below the one that the path has come to; and how it is written. */
  #alias(word: string): readonly [Target, string] | undefined {
    for (const alias of this.#at === undefined ? [word] : [word, `${this.#at}:${word}`]) {
      const target = this.#known.find(alias);
      if (target !== undefined) return [target, alias];
    }
    return undefined;
  }
  /** The alias that the path has come to. */
  #at: string | undefined;

  #come(to: Named, alias?: string): void {
    this.object = to;
    this.type = undefined;
    this.#at = alias;
  }

  /** Takes one word; false: it is none of a path. */
  take(word: string): boolean {
    if (this.verb === undefined && isVerb(word)) {
      this.verb = word;
      return true;
    }
    if (this.type === undefined && isType(word) && typesBelow(this.object).includes(word)) {
      this.type = word;
      return true;
    }
    if (this.verb === 'describe' && this.type === undefined && isType(word)) {
      this.type = word;
      return true;
    }
    const [target, alias] = this.#alias(word) ?? [];
    if (target !== undefined && (this.type === undefined || this.type === target.type)) {
      // `set bridge0 …`: what follows an object that was found behind the verb are attributes.
      if (this.object !== undefined && this.type === undefined && this.verb !== undefined)
        return false;
      this.#come(target, alias);
      return true;
    }
    const [, scope, type = ''] = COLLECTION.exec(word) ?? [];
    const above = scope === undefined ? undefined : this.#known.find(scope);
    if (above !== undefined && isType(type) && TYPES[above.type].children.includes(type)) {
      this.#come(above, scope);
      this.type = type;
      return true;
    }
    if (this.type === undefined || this.#listed) return this.#refuse(word);
    const below = this.object;
    this.#come({ type: this.type, name: word, ...(below !== undefined && { below }) });
    return true;
  }

  #refuse(word: string): boolean {
    if (this.object !== undefined || this.type !== undefined) return false;
    if (MISSING.includes(word))
      throw new UsageError(`there is no ${word} here`, `There are: ${ROOTS.join(', ')}`);
    if (ALIAS.test(word))
      throw new UsageError(
        `'${word}' is no alias of this session`,
        'Aliases are given when things are listed: bridge list',
      );
    const guess = didYouMean(word, [...ROOTS, ...Object.keys(VERBS)]);
    throw new UsageError(`'${word}' is no type and no verb`, guess ?? 'help');
  }
}

/** Reads a line. Throws UsageError for words that can stand for nothing. */
export function parse(words: readonly string[], known: Known): Parsed {
  const path = new Path(known);
  let at = 0;
  while (at < words.length && !path.whole && path.take(words[at] ?? '')) at++;
  const { verb, object, type } = path;
  return {
    verb,
    attributes: words.slice(at),
    ...(object !== undefined && { object }),
    ...(type !== undefined && { type }),
  };
}

/** `attribute value` pairs. Throws UsageError for an attribute that the type does not have. */
export function pairsOf(type: TypeName, words: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  const known = attributesOf(type).map(({ name }) => name);
  for (let i = 0; i < words.length; i += 2) {
    const [name = '', value] = words.slice(i, i + 2);
    if (!known.includes(name)) {
      const list = `The attributes are: ${known.join(', ')}`;
      const guess = didYouMean(name, known);
      throw new UsageError(
        `a ${type} has no attribute '${name}'`,
        guess === undefined ? list : `${guess} ${list}`,
      );
    }
    if (value === undefined) throw new UsageError(`attribute '${name}' needs a value`, 'help');
    if (pairs.some(([other]) => other === name))
      throw new UsageError(`attribute '${name}' is given twice`, 'help');
    pairs.push([name, value]);
  }
  return pairs;
}
