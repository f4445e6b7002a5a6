/**
 * What becomes of a flow's packets, and whether a change makes it another: broken, opened, moved,
 * or as it was.
 *
 * Invariant: two fates are compared by what a user can see (who gets the packets, where, as what,
 * and by which way), never by interface numbers, keys, names or the order of copies.
 */
import type { DropReason } from '#virtual/drop.ts';
import type { Outcome, Step } from '#virtual/outcome.ts';
import type { Copy, Placed } from './placed.ts';
import { rewriteText } from './rewrite.ts';

/**
 * `delivered`: somebody gets the packets. `answered`: the network itself takes them. `waits`: until
 * the next hop is known, which may be never. `gone`: nothing enters there any more.
 */
export type Effect = 'delivered' | 'answered' | 'waits' | 'dropped' | 'gone';

/** What a fate is compared by, and what of it can be another. */
export const ASPECTS = ['recipients', 'hosts', 'rewrites', 'route'] as const;
export type Aspect = (typeof ASPECTS)[number];

export interface Fate {
  readonly effect: Effect;
  readonly reason?: DropReason;
  readonly aspects: Readonly<Record<Aspect, string>>;
}

const NO_ASPECTS: Fate['aspects'] = { recipients: '', hosts: '', rewrites: '', route: '' };
export const GONE: Fate = { effect: 'gone', aspects: NO_ASPECTS };

const sorted = (texts: Iterable<string>): string => [...new Set(texts)].toSorted().join(' ');

const recipientOf = (copy: Copy): string =>
  `${'port' in copy ? copy.port : copy.flood}/${copy.vlan ?? '-'}`;
const hostOf = (copy: Copy): string =>
  `${copy.host}/${'port' in copy ? `${copy.port}/${copy.interface ?? ''}` : copy.flood}`;

/** Which route a router took: without its name, and without how many it was chosen from. */
export const routeOf = (detail: string): string =>
  /^\S+ \S+(?: via \S+)?/.exec(detail)?.[0] ?? detail;

/** The ports on the way and the routes taken. */
const routeText = (steps: readonly Step[]): string =>
  steps
    .filter(({ did }) => did === 'enter' || did === 'leave' || did === 'route')
    .map(({ at, detail }) => (detail === undefined ? at.id : `${at.id} ${routeOf(detail)}`))
    .join(', ');

/** Of an outcome what decides a fate. */
export type Fated = Pick<Outcome, 'verdict' | 'rewrites' | 'guards' | 'steps'>;

/** `placed`: where the copies leave (`place`). */
export function fateOf({ verdict, rewrites, guards, steps }: Fated, placed: Placed): Fate {
  if (verdict.kind === 'wait' || verdict.kind === 'want-ports')
    return { effect: 'waits', aspects: NO_ASPECTS };
  if (verdict.kind === 'answer' || verdict.kind === 'collect')
    return { effect: 'answered', aspects: { ...NO_ASPECTS, recipients: 'network' } };
  const reason = verdict.kind === 'drop' ? verdict.reason : placed.drop;
  if (reason !== undefined) return { effect: 'dropped', reason, aspects: NO_ASPECTS };
  const cut = verdict.kind === 'forward' ? verdict.cut : undefined;
  return {
    effect: 'delivered',
    aspects: {
      recipients: sorted(placed.copies.map(recipientOf)),
      hosts: sorted(placed.copies.map(hostOf)),
      rewrites: [rewriteText(rewrites), guards.decTtl, guards.mtu, cut].join(' '),
      route: routeText(steps),
    },
  };
}

export type Comparison =
  | { readonly class: 'unchanged' | 'broken' | 'opened'; readonly changed: readonly [] }
  /** `changed`: in what; never empty. */
  | { readonly class: 'moved'; readonly changed: readonly Aspect[] };

const arrives = ({ effect }: Fate): boolean => effect === 'delivered' || effect === 'answered';

export function compare(before: Fate, after: Fate): Comparison {
  if (arrives(before) !== arrives(after))
    return { class: arrives(before) ? 'broken' : 'opened', changed: [] };
  const changed = ASPECTS.filter((aspect) => before.aspects[aspect] !== after.aspects[aspect]);
  return changed.length === 0 ? { class: 'unchanged', changed: [] } : { class: 'moved', changed };
}
