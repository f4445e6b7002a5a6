/**
 * Which destinations of a router have other routes than before, and which prefixes of an address
 * group are members or no more, as tags.
 *
 * Invariant: of one router there are at most ROUTES_TAGS_MAX tags; beyond, one stands for them all.
 */
import type { Prefix } from '#net/prefix.ts';
import type { AddressGroupId, RouterId } from '../ids.ts';
import { ROUTES_TAGS_MAX, routesTag, type Tag } from '../tags.ts';
import type { RouteView } from '../view.ts';

export interface ChangedRoute {
  /** Whose table it is in: a router's, or the members of a group. */
  readonly router: RouterId | AddressGroupId;
  readonly destination: Prefix;
}
/** All destinations of some routes. */
export const prefixesOf = (router: RouterId, routes: readonly RouteView[]): ChangedRoute[] =>
  routes.map(({ destination }) => ({ router, destination }));

/** Of each router a tag for every destination, or one for all where they are many. */
export function routeTags(changed: readonly ChangedRoute[]): Set<Tag> {
  const tags = new Map<ChangedRoute['router'], Set<Tag>>();
  for (const { router, destination } of changed) {
    const own = tags.get(router) ?? new Set<Tag>();
    if (own.size <= ROUTES_TAGS_MAX) own.add(routesTag(router, destination));
    tags.set(router, own);
  }
  const all = new Set<Tag>();
  for (const [router, own] of tags)
    if (own.size > ROUTES_TAGS_MAX) all.add(routesTag(router));
    else for (const tag of own) all.add(tag);
  return all;
}
