/**
 * Which destination tags there are of each router, so that a change of its routes finds those
 * inside a prefix without a look at any other tag.
 *
 * Invariant: holds exactly the destination tags that were added and not removed, with the address
 * parsed once. Memory is bounded by them.
 */
import type { Ip } from '#net/ip.ts';
import { destinationOf, isInside, routesOf, type Tag } from '#virtual/tags.ts';

const NOTHING: readonly number[] = [];

/** The destinations of one router: the address of each tag, by the tag's number. */
interface OfRouter {
  readonly router: string;
  readonly tags: Map<number, Ip>;
}

export class Destinations {
  readonly #routers = new Map<string, OfRouter>();
  /** By the tag's number: where it is, so that its text is taken apart only once. */
  readonly #of: (OfRouter | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** A tag that came to be, by the number it has; only destination tags are taken. */
  add(name: Tag, tag: number): void {
    const to = destinationOf(name);
    // Every number has its place, or the array would have holes.
    this.#of[tag] = undefined;
    if (to === undefined) return;
    const { router, ip } = to;
    const of = this.#routers.getOrInsertComputed(router, () => ({ router, tags: new Map() }));
    of.tags.set(tag, ip);
    this.#of[tag] = of;
    this.#size++;
  }

  /** A tag that is no more. */
  remove(tag: number): void {
    const of = this.#of[tag];
    if (of === undefined) return;
    this.#of[tag] = undefined;
    of.tags.delete(tag);
    this.#size--;
    if (of.tags.size === 0) this.#routers.delete(of.router);
  }

  /** The numbers of the destination tags that a routes tag covers; none for any other tag. */
  inside(changed: Tag): readonly number[] {
    const routes = routesOf(changed);
    const tags = routes && this.#routers.get(routes.router)?.tags;
    if (routes === undefined || tags === undefined) return NOTHING;
    const found: number[] = [];
    for (const [tag, ip] of tags) if (isInside(routes, ip)) found.push(tag);
    return found;
  }
}
