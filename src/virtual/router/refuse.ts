/**
 * A router drops a packet and, where the rules allow it, tells the sender why (RFC 1812 §4.3.2,
 * RFC 4443 §2.4).
 *
 * Invariants: an error is sent back the way the packet came, so it needs no route and no neighbour;
 * what brings about errors pays from the budget of the port it entered by, and a packet that finds
 * it spent is dropped by a flow until there is budget again; frames of other hosts and of the
 * network itself bring about none.
 */
import { errorAbout, type ErrorCause } from '#net/icmp-error.ts';
import { formatIp, isIp6 } from '#net/ip.ts';
import type { DropReason } from '../drop.ts';
import type { Verdict } from '../outcome.ts';
import { aboutOf, received } from '../nat/received.ts';
import { errorsTag } from '../tags.ts';
import type { RouterPortView, RouterView } from '../view.ts';
import { drop, type Walk } from '../walk.ts';
import { speaker } from './speaker.ts';

export interface Refusal {
  readonly cause: ErrorCause;
  readonly reason: DropReason;
}

/** `from`: the port by which the packet came to the router. */
export function refuse(
  walk: Walk,
  router: RouterView,
  from: RouterPortView,
  { cause, reason }: Refusal,
): Verdict {
  const at = { kind: 'router', id: router.id } as const;
  const verdict = drop(walk, at, reason);
  if (walk.from === undefined) return verdict;
  walk.tags.push(errorsTag(walk.from));
  if (!walk.state.errors.mayTell(walk.from)) return verdict;
  walk.charge = walk.from;
  const { match } = walk;
  const six = isIp6(match.get('ipDst'));
  const ip = speaker(walk, router, from, six);
  if (ip === undefined) return verdict;
  const frame = errorAbout(received(walk), {
    cause,
    from: ip,
    src: from.mac,
    dst: match.get('ethSrc'),
    ttl: match.ttlNow,
  });
  if (frame === undefined) return verdict;
  walk.sends.push({ port: from.id, frame, ...aboutOf(walk) });
  const what = typeof cause === 'string' ? cause : `too-big ${cause.tooBig}`;
  walk.steps.push({ at, did: 'error', detail: `${what} from ${formatIp(ip)}` });
  return verdict;
}
