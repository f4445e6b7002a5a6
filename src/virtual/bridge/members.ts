/**
 * Whom a flood of a bridge reaches, with the outbound filters of its ports.
 *
 * A flood leaves once for each host, and the host at the other end does not know by which port the
 * frame came. Invariants: each host asks the filters of its own ports, so a flood never bypasses
 * one; a filter that asks where a frame came from is asked where that is known, and its port gets a
 * copy of its own; which ports those are follows from the topology alone, so no port gets two.
 */
import { passes, refusalBy, trackFor, traitsOf, type Traits } from '../chain/filter.ts';
import type { ChainId, PortId } from '../ids.ts';
import type { Recipient } from '../outcome.ts';
import { hear } from '../router/hear.ts';
import type { BridgeView, PortView } from '../view.ts';
import type { Walk } from '../walk.ts';
import type { RouterLink } from './links.ts';

/** Whether a filter of a port lets a flood pass there. */
export function passesAt(walk: Walk, port: PortView, id: ChainId | undefined): boolean {
  walk.outPort = port.id;
  return id === undefined || !keeps(walk, port, id);
}

function keeps(walk: Walk, port: PortView, id: ChainId): boolean {
  const refused = refusalBy(walk, port.ready.at, id);
  if (refused === undefined) return false;
  walk.steps.push({
    at: port.ready.at,
    did: 'keep',
    detail: typeof refused === 'string' ? refused : refused.kind,
  });
  return true;
}

/** What one flood has found out about chains. */
class Asked {
  readonly #walk: Walk;
  readonly #traits = new Map<ChainId, Traits>();
  readonly #answers = new Map<ChainId, boolean>();

  constructor(walk: Walk) {
    this.#walk = walk;
  }
  /** Whether a chain asks where the packet came from. */
  origin(id: ChainId): boolean {
    return this.#traitsOf(id).origin;
  }
  /** Whether a chain lets the frame leave by the port; once for all ports where they are alike. */
  passes(port: PortView, id: ChainId): boolean {
    if (this.#traitsOf(id).out) return passesAt(this.#walk, port, id);
    const known = this.#answers.get(id);
    if (known === false)
      this.#walk.steps.push({ at: port.ready.at, did: 'keep', detail: 'filter-drop' });
    if (known !== undefined) return known;
    const answer = passesAt(this.#walk, port, id);
    this.#answers.set(id, answer);
    return answer;
  }
  #traitsOf(id: ChainId): Traits {
    const traits = this.#traits.get(id) ?? traitsOf(this.#walk, id);
    this.#traits.set(id, traits);
    return traits;
  }
}

interface Flooded {
  readonly except?: PortId | undefined;
  /** Only those of this host: another one began the flood. */
  readonly here?: true;
}

/** The ports of a bridge that are not linked, as recipients of a flood. */
export function membersOf(walk: Walk, bridge: BridgeView, { except, here }: Flooded): Recipient[] {
  const flood = {
    flood: bridge.id,
    ...(except !== undefined && { except }),
    ...(here !== undefined && { here }),
  };
  if (bridge.filtered.size === 0) return [flood];
  const asked = new Asked(walk);
  const not: PortId[] = [];
  const apart: Recipient[] = [];
  for (const id of [...bridge.filtered].sort()) {
    const port = walk.topology.port(id);
    const chain = port?.outboundFilter;
    if (id === except || port === undefined) continue;
    trackFor(walk, port.inboundFilter);
    if (chain === undefined) continue;
    const own = asked.origin(chain);
    if (walk.state.isHere(id)) {
      if ((own && here) || !asked.passes(port, chain)) not.push(id);
    } else if (own && !here && asked.passes(port, chain)) apart.push({ port: id });
  }
  walk.outPort = undefined;
  return [not.length > 0 ? { ...flood, not } : flood, ...apart];
}

/** A flood reaches a router, which may be asked, or told, something. */
export function hearFlooded(walk: Walk, { near, far }: RouterLink, answers: boolean): void {
  const { inPort } = walk;
  const filters = [near.outboundFilter, far.inboundFilter].filter((id) => id !== undefined);
  // Where the frame came from is known to the host that began the flood: that one hears it.
  if (!answers && filters.some((id) => traitsOf(walk, id).origin)) return;
  if (passesAt(walk, near, near.outboundFilter)) {
    walk.inPort = far.id;
    walk.outPort = undefined;
    if (passes(walk, far.ready.at, far.inboundFilter)) hear(walk, far, answers);
  }
  walk.inPort = inPort;
  walk.outPort = undefined;
}
