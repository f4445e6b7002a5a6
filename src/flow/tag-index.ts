/**
 * Which flows depend on what: tags to slots and back, 12 bytes a pair.
 *
 * A pair ("link") is a row of three columns. The links of one tag form a doubly linked list, whose
 * start names the tag; those of one flow a chain, whose end names the flow. Invariants: a flow has
 * each of its tags once; a tag without flows is forgotten, text and all.
 */
import type { Tag } from '#virtual/tags.ts';
import { grown, moreRows, NONE } from './column.ts';
import { Destinations } from './destinations.ts';

/** Links there may be for each slot, on average. A flow that would need more is refused. */
export const LINKS_PER_SLOT = 32;
const STAMP_MAX = 2 ** 31 - 1;
/** A tag in the place of a link. */
const startOf = (tag: number): number => NONE - 1 - tag;
const tagOf = startOf;

export class TagIndex {
  readonly #linksMax: number;
  readonly #ids = new Map<Tag, number>();
  readonly #names: (Tag | undefined)[] = [];
  readonly #freeIds: number[] = [];
  readonly #destinations = new Destinations();
  /** By tag: its first link, and the last flow that was given it (see `add`). */
  #head = new Int32Array(0);
  #stamp = new Int32Array(0);
  #flows = 0;
  /**
   * By link. `#prev` of a tag's first link is the tag (below NONE); `#inFlow` of a flow's last is
   * ~slot;
   * `#next` of a free link is the next free one.
   */
  #next = new Int32Array(0);
  #prev = new Int32Array(0);
  #inFlow = new Int32Array(0);
  #free = NONE;
  #links = 0;

  constructor(slots: number) {
    this.#linksMax = slots * LINKS_PER_SLOT;
  }

  /** How many tags there are. */
  get tags(): number {
    return this.#ids.size;
  }
  /** How many of the tags are destinations. */
  get destinations(): number {
    return this.#destinations.size;
  }
  /** How many pairs there are. */
  get links(): number {
    return this.#links;
  }

  /**
   * Puts a flow under tags; answers its chain (NONE without tags), undefined when there is no room.
   */
  add(slot: number, tags: Iterable<Tag>): number | undefined {
    let chain = NONE;
    const flow = this.#nextFlow();
    for (const name of tags) {
      const tag = this.#idOf(name);
      if (this.#stamp[tag] === flow) continue;
      const link = this.#take();
      if (link === undefined) {
        if (this.#head[tag] === NONE) this.#forget(tag);
        this.remove(chain);
        return undefined;
      }
      this.#stamp[tag] = flow;
      const after = this.#head[tag]!;
      this.#next[link] = after;
      this.#prev[link] = startOf(tag);
      if (after !== NONE) this.#prev[after] = link;
      this.#head[tag] = link;
      this.#inFlow[link] = chain === NONE ? ~slot : chain;
      chain = link;
    }
    return chain;
  }

  /** Takes a flow from under all of its tags. */
  remove(chain: number): void {
    let link = chain;
    while (link >= 0) {
      const follows = this.#inFlow[link]!;
      const next = this.#next[link]!;
      const prev = this.#prev[link]!;
      if (next !== NONE) this.#prev[next] = prev;
      if (prev >= 0) this.#next[prev] = next;
      else if (next !== NONE) this.#head[tagOf(prev)] = next;
      else this.#forget(tagOf(prev));
      this.#next[link] = this.#free;
      this.#free = link;
      this.#links--;
      link = follows;
    }
  }

  /** The slot of some flow under a tag; undefined when there is none. */
  first(name: Tag): number | undefined {
    const tag = this.#ids.get(name);
    return tag === undefined ? undefined : this.#slotOf(this.#head[tag]!);
  }

  /**
   * The destination tags inside, where a change yields a routes tag (see `covers`); none for any
   * other tag. Looks at all destinations of that router and at nothing else.
   */
  inside(changed: Tag): Tag[] {
    const found: Tag[] = [];
    for (const tag of this.#destinations.inside(changed)) {
      const name = this.#names[tag];
      if (name !== undefined) found.push(name);
    }
    return found;
  }

  slots(name: Tag): number[] {
    const tag = this.#ids.get(name);
    const found: number[] = [];
    if (tag === undefined) return found;
    for (let link = this.#head[tag]!; link !== NONE; link = this.#next[link]!)
      found.push(this.#slotOf(link));
    return found;
  }

  /** For diagnosis: goes through the lists of all tags of the flow. */
  names(chain: number): Tag[] {
    const found: Tag[] = [];
    for (let link = chain; link >= 0; link = this.#inFlow[link]!) {
      let start = link;
      while (start >= 0) start = this.#prev[start]!;
      const name = this.#names[tagOf(start)];
      if (name !== undefined) found.push(name);
    }
    return found.toReversed();
  }

  /** A number that tells whether a tag was met before in one call of `add`. */
  #nextFlow(): number {
    if (this.#flows === STAMP_MAX) {
      this.#flows = 0;
      this.#stamp.fill(NONE);
    }
    return ++this.#flows;
  }

  #slotOf(first: number): number {
    let link = first;
    while (link >= 0) link = this.#inFlow[link]!;
    return ~link;
  }

  #idOf(name: Tag): number {
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    const tag = this.#freeIds.pop() ?? this.#names.length;
    this.#ids.set(name, tag);
    this.#names[tag] = name;
    this.#destinations.add(name, tag);
    if (tag >= this.#head.length) {
      const rows = moreRows(tag, this.#linksMax + 1);
      this.#head = grown(this.#head, rows);
      this.#stamp = grown(this.#stamp, rows);
    }
    this.#head[tag] = NONE;
    this.#stamp[tag] = NONE;
    return tag;
  }

  #forget(tag: number): void {
    const name = this.#names[tag];
    if (name !== undefined) {
      this.#ids.delete(name);
      this.#destinations.remove(tag);
    }
    this.#names[tag] = undefined;
    this.#freeIds.push(tag);
  }

  #take(): number | undefined {
    if (this.#free === NONE) {
      const rows = this.#next.length;
      if (rows >= this.#linksMax) return undefined;
      const more = moreRows(rows, this.#linksMax);
      this.#next = grown(this.#next, more);
      this.#prev = grown(this.#prev, more);
      this.#inFlow = grown(this.#inFlow, more);
      for (let link = rows; link < more - 1; link++) this.#next[link] = link + 1;
      this.#free = rows;
    }
    const link = this.#free;
    this.#free = this.#next[link]!;
    this.#links++;
    return link;
  }
}
