/**
 * Interfaces that stand on others: VLANs of a card, macvlan, and the like. A program on the lower
 * one is asked before the kernel looks whom above a frame is for (__netif_receive_skb_core), and
 * what the upper one sends passes the program on the lower one too. So of two such interfaces only
 * one can be a port: with both, the upper one would be cut off without a word. The one that comes
 * second is refused.
 */
import type { DpPort } from '#flow/flow.ts';
import { linkByIndex } from '#os/netlink/links.ts';
import type { Link } from '#os/netlink/links.ts';

/** As deep as the kernel lets them be stacked (MAX_NEST_DEV). */
const DEPTH_MAX = 8;

/** Undefined for the lowest, and for one that stands on an interface of another namespace. */
function lowerOf({ kind, link, linkNetns }: Link): number | undefined {
  if (kind === 'veth' || linkNetns !== undefined) return undefined;
  return link === 0 ? undefined : link;
}

/** What an interface stands on, from the top down. */
function allBelow(index: number): readonly Link[] {
  const below: Link[] = [];
  for (let at = linkByIndex(index); at !== undefined && below.length < DEPTH_MAX;) {
    const lower = lowerOf(at);
    at = lower === undefined || lower === at.index ? undefined : linkByIndex(lower);
    if (at !== undefined) below.push(at);
  }
  return below;
}

const nameOf = (index: number): string => linkByIndex(index)?.name ?? String(index);

/** The ports there are, and what each stands on. */
export class Stacks {
  readonly #below = new Map<DpPort, ReadonlySet<number>>();

  /** `ports`: those found of an earlier process. */
  constructor(ports: readonly DpPort[]) {
    for (const port of ports) this.#remember(port, allBelow(port));
  }

  /** Throws, naming both, when it stands on a port or carries one. */
  add(port: DpPort): void {
    const below = allBelow(port);
    const lower = below.find(({ index }) => this.#below.has(index as DpPort));
    if (lower !== undefined)
      throw new Error(
        `interface ${nameOf(port)} stands on ${lower.name}, which is bound to a port: ` +
          'what is sent to it would never reach it',
      );
    for (const [other, lowers] of this.#below)
      if (other !== port && lowers.has(port))
        throw new Error(
          `interface ${nameOf(port)} carries ${nameOf(other)}, which is bound to a port: ` +
            'that would be cut off',
        );
    this.#remember(port, below);
  }
  #remember(port: DpPort, below: readonly Link[]): void {
    this.#below.set(port, new Set(below.map(({ index }) => index)));
  }

  remove(port: DpPort): void {
    this.#below.delete(port);
  }
}
