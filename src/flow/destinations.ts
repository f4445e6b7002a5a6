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

export class Destinations {
  /** By router: the address of each tag, by the tag's number. */
  readonly #routers = new Map<string, Map<number, Ip>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** A tag that came to be, by the number it has; only destination tags are taken. */
  add(name: Tag, tag: number): void {
    const to = destinationOf(name);
    if (to === undefined) return;
    this.#routers.getOrInsertComputed(to.router, () => new Map<number, Ip>()).set(tag, to.ip);
    this.#size++;
  }

  /** A tag that is no more. */
  remove(name: Tag, tag: number): void {
    const to = destinationOf(name);
    const tags = to && this.#routers.get(to.router);
    if (to === undefined || tags?.delete(tag) !== true) return;
    this.#size--;
    if (tags.size === 0) this.#routers.delete(to.router);
  }

  /** The numbers of the destination tags that a routes tag covers; none for any other tag. */
  inside(changed: Tag): readonly number[] {
    const routes = routesOf(changed);
    const tags = routes && this.#routers.get(routes.router);
    if (routes === undefined || tags === undefined) return NOTHING;
    const found: number[] = [];
    for (const [tag, ip] of tags) if (isInside(routes, ip)) found.push(tag);
    return found;
  }
}
