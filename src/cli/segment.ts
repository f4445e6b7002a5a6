/**
 * What a workload at a port of a bridge finds around it: the addresses seeded in its segment (the
 * bridge and those linked to it), and the ports of routers there.
 */
import type { Client } from '#client/types.ts';
import { formatIp, isLinkLocalIp, parseIp, type Ip } from '#net/ip.ts';
import { contains, parseNetwork } from '#net/prefix.ts';
import type { BridgePort, RouterPort, Seed } from '#virtual/port/port.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { heldBy } from '#virtual/port/rules.ts';
import { isRefusal } from './problems.ts';

/** Bridges asked for; what is behind more of them is not looked for. */
export const BRIDGES_ASKED_MAX = 16;

type Port = ObjectOf<'port'>;

export interface Segment {
  readonly seeds: readonly Seed[];
  /** By name. */
  readonly routers: readonly RouterPort[];
}

/** The other end of a link; undefined when this caller may not see it. */
async function peerOf(client: Client, id: string): Promise<Port | undefined> {
  try {
    return (await client.get('port', id)) as Port;
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

export async function segmentOf(client: Client, { bridge }: BridgePort): Promise<Segment> {
  const seeds: Seed[] = [];
  const routers: RouterPort[] = [];
  const seen = new Set<string>([bridge]);
  // A set is walked in order of insertion, and what is added meanwhile is walked too.
  for (const id of seen)
    for (const port of (await client.listAll('port', { bridge: id })) as Port[]) {
      seeds.push(...(port.addresses ?? []));
      const peer = port.peer === undefined ? undefined : await peerOf(client, port.peer);
      if (peer?.type === 'router') routers.push(peer);
      else if (peer !== undefined && seen.size < BRIDGES_ASKED_MAX) seen.add(peer.bridge);
    }
  return { seeds, routers: routers.sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

const isNear = ({ networks }: RouterPort, ip: Ip): boolean =>
  networks.map(parseNetwork).some((network) => network !== undefined && contains(network, ip));

/**
 * The MAC that a workload sends to: of the one seeded with the address, of the router that has it,
 * else of the gateway. Undefined: it is on the link and not seeded, or there is no gateway.
 */
export function nextHop(
  { seeds, routers }: Segment,
  from: string | undefined,
  to: string,
): string | undefined {
  const known = [...seeds, ...routers.flatMap(heldBy)].find(({ ip }) => ip === to);
  if (known !== undefined) return known.mac;
  const [source, destination] = [parseIp(from ?? ''), parseIp(to)];
  if (destination === undefined || isLinkLocalIp(destination)) return undefined;
  const near = source === undefined ? [] : routers.filter((router) => isNear(router, source));
  if (near.some((router) => isNear(router, destination))) return undefined;
  return (near[0] ?? routers[0])?.mac;
}

/** In canonical text; undefined when it is no address. */
export function canonicalIp(text: string): string | undefined {
  const ip = parseIp(text);
  return ip === undefined ? undefined : formatIp(ip);
}
