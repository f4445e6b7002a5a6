/**
 * A walk as text: one line for each step, then the verdict. The same lines are the answer of a
 * trace and the cause of an installed flow, so they name objects as their owners do and leave out
 * what says nothing.
 */
import { formatIp } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import { DROPS } from './drop.ts';
import type { BridgeId, ChainId, PortId, RouterId } from './ids.ts';
import type { Guards } from './match.ts';
import type { Outcome, Recipient, Step, Verdict } from './outcome.ts';
import type { TopologyView } from './view.ts';

/** Whether the reader may know an object: what it is called, and what it is made of. */
export type Known = (kind: Step['at']['kind'], id: string) => boolean;

/** What is told of a walk: an outcome has it, and so has the cause of an installed flow. */
export interface Told extends Pick<Outcome, 'steps' | 'verdict' | 'rewrites'> {
  readonly guards: Pick<Guards, 'decTtl'>;
  readonly sends: readonly { readonly port: PortId }[];
}

/** How objects are called, for one reader. */
export class Names {
  readonly knows: Known;
  readonly #topology: TopologyView;

  constructor(topology: TopologyView, knows: Known) {
    this.#topology = topology;
    this.knows = knows;
  }
  of(kind: Step['at']['kind'], id: string): string {
    if (!this.knows(kind, id)) return 'of another tenant';
    if (kind === 'port') return this.#topology.port(id as PortId)?.name ?? id;
    if (kind === 'bridge') return this.#topology.bridge(id as BridgeId)?.name ?? id;
    if (kind === 'chain') return this.#topology.chain(id as ChainId)?.name ?? id;
    return this.#topology.router(id as RouterId)?.name ?? id;
  }
}

/** `bridge b1: unicast 02:00:00:00:00:02`. */
export function describeStep({ at, did, detail }: Step, names: Names): string {
  const what = did.replaceAll('-', ' ');
  const more = detail === undefined || !names.knows(at.kind, at.id) ? '' : ` ${detail}`;
  return `${at.kind} ${names.of(at.kind, at.id)}: ${what}${more}`;
}

function describeRecipient(to: Recipient, names: Names): string {
  const tag =
    to.vlan === undefined ? '' : to.vlan === 0 ? ', untagged' : `, vlan ${to.vlan & 0xfff}`;
  if ('port' in to)
    return `to port ${names.of('port', to.port)}${names.knows('port', to.port) ? tag : ''}`;
  if (!names.knows('bridge', to.flood)) return 'to the ports of a bridge of another tenant';
  const bridge = names.of('bridge', to.flood);
  const not = to.not?.map((id) => names.of('port', id)).join(', ');
  const kept = not === undefined ? '' : `, filters keep it from ${not}`;
  if (to.here === true) return `to the ports of bridge ${bridge} on this host${kept}${tag}`;
  const except = to.except === undefined ? '' : ` except ${names.of('port', to.except)}`;
  return `to all ports of bridge ${bridge}${except}${kept}${tag}`;
}

/** Whether the reader may know how the frame leaves. */
export const knowsWhole = (verdict: Verdict, knows: Known): boolean =>
  verdict.kind !== 'forward' ||
  verdict.to.every((to) => ('port' in to ? knows('port', to.port) : knows('bridge', to.flood)));

/** What becomes of the headers, as far as it is not as they came. */
function describeRewrites({ rewrites, guards }: Told): string {
  const { ethSrc, ethDst } = rewrites;
  const macs =
    ethSrc === undefined || ethDst === undefined
      ? ''
      : `, as ${formatMac(ethSrc)} > ${formatMac(ethDst)}`;
  return guards.decTtl === 0 ? macs : `${macs}, ttl less ${guards.decTtl}`;
}

function describeVerdict(verdict: Verdict, outcome: Told, names: Names): string {
  if (verdict.kind === 'drop') return `drop: ${DROPS[verdict.reason].about}`;
  if (verdict.kind === 'wait') {
    const ip = names.knows('port', verdict.port) ? formatIp(verdict.ip) : 'the next hop';
    return `wait: port ${names.of('port', verdict.port)} asks who has ${ip}`;
  }
  if (verdict.kind === 'want-ports') {
    const address = names.knows('router', verdict.router)
      ? formatIp(verdict.address)
      : 'its address';
    const router = names.of('router', verdict.router);
    return `want ports: of ${address}, for router ${router}; this host asks for some`;
  }
  if (verdict.kind === 'collect') return 'collect: kept until the datagram is whole';
  if (verdict.kind === 'answer') {
    const ports = outcome.sends.map(({ port }) => names.of('port', port));
    if (ports.length === 0) return 'answer: heard, nothing to say';
    return `answer: sent out of port ${ports.join(', ')}`;
  }
  const to = verdict.to.map((each) => describeRecipient(each, names)).join('; ');
  if (!knowsWhole(verdict, names.knows)) return `forward: ${to}`;
  const cut = verdict.cut === undefined ? '' : `, cut to ${verdict.cut} bytes`;
  return `forward: ${to}${describeRewrites(outcome)}${cut}`;
}

/**
 * `topology`: names come from here; what it no longer has is named by its id. `knows`: of what else
 * is on the way the reader is told that it is there, and what it did.
 */
export function describeOutcome(
  outcome: Told,
  topology: TopologyView,
  knows: Known = () => true,
): string[] {
  const names = new Names(topology, knows);
  return [
    ...outcome.steps.map((step) => describeStep(step, names)),
    describeVerdict(outcome.verdict, outcome, names),
  ];
}
