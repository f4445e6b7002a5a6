/**
 * Aliases of one session: `bridge0`, `router1:port0`. An object gets one when it is first shown,
 * and keeps it as long as the session lasts, also when it is gone.
 */
import { TYPES, type TypeName } from './types.ts';

/** An object, or a part of one: a binding goes by its port, a member by its host. */
export interface Target {
  readonly type: TypeName;
  readonly id: string;
  /** What it is below of. */
  readonly scope?: Target;
}

/** Objects that have aliases; more of them go by their ids. */
export const ALIASES_MAX = 100_000;

const keyOf = ({ type, id, scope }: Target): string =>
  `${scope === undefined ? '' : `${keyOf(scope)}/`}${type}/${id}`;

export class Aliases {
  readonly #byTarget = new Map<string, string>();
  readonly #byAlias = new Map<string, Target>();
  readonly #counters = new Map<string, number>();
  /** Off: everything goes by its id, as with `-e`. */
  readonly #on: boolean;

  constructor(on: boolean) {
    this.#on = on;
  }

  /** The alias of a target, a new one if it has none; its id where there are no aliases. */
  of(target: Target): string {
    if (!this.#on) return target.id;
    const key = keyOf(target);
    const known = this.#byTarget.get(key);
    if (known !== undefined) return known;
    if (this.#byTarget.size >= ALIASES_MAX) return target.id;
    const { type, scope } = target;
    const head = `${scope === undefined ? '' : `${this.of(scope)}:`}${TYPES[type].alias}`;
    const count = this.#counters.get(head) ?? 0;
    this.#counters.set(head, count + 1);
    const alias = `${head}${count}`;
    this.#byTarget.set(key, alias);
    this.#byAlias.set(alias, target);
    return alias;
  }

  /** What an alias stands for; undefined: it is none of this session. */
  find(alias: string): Target | undefined {
    return this.#byAlias.get(alias);
  }

  get all(): Iterable<string> {
    return this.#byAlias.keys();
  }
}
