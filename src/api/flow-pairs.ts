/**
 * Which flows concern the way to a port: those that lead to it, and those that drop what may be for
 * it.
 *
 * Invariant: a drop is left out only when what it matches contradicts the port: a destination that
 * is known to be elsewhere. Where nothing is known of the port, every drop counts.
 */
import type { FlowPart } from '#client/flows.ts';
import { isNeighbour } from '#client/types.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { headersOf } from '#flow/parse.ts';
import { formatIp, isMulticastIp } from '#net/ip.ts';
import { formatMac, isGroup } from '#net/mac.ts';
import { ETHER_TYPE } from '#net/packet/ethernet.ts';
import type { PortId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { Topology } from '#virtual/topology.ts';
import type { Node } from './node.ts';

/** A port, and what is known to be behind it. */
export interface Target {
  readonly port: string;
  readonly bridge: string | undefined;
  readonly macs: ReadonlySet<string>;
  readonly ips: ReadonlySet<string>;
}

/** By what is seeded, what is the port's own, and what was learned. */
export function targetOf(
  { learned }: Pick<Node, 'learned'>,
  topology: Topology,
  port: string,
): Target {
  const object = topology.get('port', port) as ObjectOf<'port'> | undefined;
  const view = topology.port(port as PortId);
  const macs = new Set<string>();
  const ips = new Set<string>();
  for (const seeded of object?.type === 'bridge' ? object.addresses : []) {
    macs.add(seeded.mac);
    if (seeded.ip !== undefined) ips.add(seeded.ip);
  }
  if (view?.type === 'router') {
    macs.add(formatMac(view.mac));
    for (const { address } of view.networks) ips.add(formatIp(address));
  }
  const place = view?.bridge ?? view?.router;
  for (const row of place === undefined ? [] : learned.of(place)) {
    if (row.port !== port) continue;
    macs.add(row.mac);
    if (isNeighbour(row)) ips.add(row.ip);
  }
  return { port, bridge: view?.bridge, macs, ips };
}

function mayBeFor({ key, fields }: FlowPart, { macs, ips }: Target): boolean {
  const bytes = new Uint8Array(KEY_SIZE);
  bytes.set(Uint8Array.fromHex(key).subarray(0, KEY_SIZE));
  const { ethDst, ethType, ipDst } = headersOf(bytes);
  const isIp = ethType === ETHER_TYPE.IPV4 || ethType === ETHER_TYPE.IPV6;
  if (fields.includes('ipDst') && isIp && !isMulticastIp(ipDst) && ips.size > 0)
    return ips.has(formatIp(ipDst));
  // What a router is to pass on has its MAC, and that of no port behind it.
  if (fields.includes('ethDst') && !isGroup(ethDst) && ips.size === 0 && macs.size > 0)
    return macs.has(formatMac(ethDst));
  return true;
}

/** Whether a flow leads to the port, or may drop what is for it. */
export function leadsTo(part: FlowPart, target: Target, topology: Topology): boolean {
  const { cause, actions } = part;
  const verdict = cause?.verdict;
  if (verdict?.kind === 'forward') {
    const leads = verdict.to.some((to) => {
      if ('port' in to) return to.port === target.port;
      if (to.except === target.port) return false;
      return topology.bridge(to.flood as never)?.ports.has(target.port as PortId) === true;
    });
    // It would, and does not: there is no way to it from this host.
    if (leads) return true;
    if (actions.drop === undefined) return false;
  }
  if (verdict === undefined && actions.drop === undefined)
    return actions.outputs.some(({ port }) => port === target.port);
  return mayBeFor(part, target);
}
