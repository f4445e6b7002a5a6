/**
 * Who of a domain may check members there, and where an address of it lives.
 *
 * Invariants: a host is counted for the ports of others that it carries, never for those that
 * checks themselves have brought; an address lives where a port has it by the narrowest word.
 */
import { formatIp, type Ip, parseIp } from '#net/ip.ts';
import { bitsOf, networkOf, parsePrefix } from '#net/prefix.ts';
import type { Domain } from '../domains.ts';
import type { BridgeId, HostId, PortId, RouterId } from '../ids.ts';
import type { ObjectOf } from '../kinds.ts';
import type { Topology } from '../topology.ts';

type PortRow = ObjectOf<'port'>;
type LocationRow = ObjectOf<'location'>;

const locationOf = (topology: Topology, port: string): LocationRow | undefined =>
  topology.get('location', port) as LocationRow | undefined;

/** Hosts that carry ports of a domain beside service ports, in order. */
export function carriersOf(topology: Topology, { devices, hosts }: Domain): readonly HostId[] {
  const others = new Map<string, number>(hosts);
  for (const device of devices)
    for (const id of topology.router(device as RouterId)?.ports ?? []) {
      const port = topology.get('port', id) as PortRow | undefined;
      const host = port?.service === true ? locationOf(topology, id)?.host : undefined;
      if (host !== undefined) others.set(host, (others.get(host) ?? 0) - 1);
    }
  return [...hosts.keys()].filter((host) => (others.get(host) ?? 0) > 0).sort();
}

/** Where the addresses of a domain live, as its bridges' ports say. */
export class Homes {
  readonly #seeded = new Map<string, Home>();
  /** By the length of the prefix, by the prefix; the narrowest first. */
  readonly #allowed: readonly (readonly [number, ReadonlyMap<string, Home>])[];

  constructor(topology: Topology, { devices }: Domain) {
    const allowed = new Map<number, Map<string, Home>>();
    for (const device of devices)
      for (const id of topology.bridge(device as BridgeId)?.ports ?? []) {
        const port = topology.get('port', id) as PortRow | undefined;
        const at = locationOf(topology, id);
        if (port?.type !== 'bridge' || at === undefined || at.up === false) continue;
        const home = { port: id, host: at.host as HostId };
        for (const { ip } of port.addresses) if (ip !== undefined) settle(this.#seeded, ip, home);
        // Rows of an older version do not have them.
        for (const { ip } of port.allowedAddresses ?? []) {
          const prefix = prefixOf(ip);
          if (prefix === undefined) continue;
          const { address, length } = prefix;
          const same = allowed.getOrInsertComputed(length, () => new Map());
          settle(same, formatIp(address), home);
        }
      }
    this.#allowed = [...allowed].sort(([a], [b]) => b - a);
  }

  of(address: string): HostId | undefined {
    const seeded = this.#seeded.get(address);
    const ip = parseIp(address);
    if (seeded !== undefined || ip === undefined) return seeded?.host;
    for (const [length, homes] of this.#allowed) {
      if (length > bitsOf(ip)) continue;
      const home = homes.get(formatIp(networkOf(ip, length)));
      if (home !== undefined) return home.host;
    }
    return undefined;
  }
}

interface Home {
  readonly port: PortId;
  readonly host: HostId;
}
/** Of several ports the first by id has it, so that all say the same. */
function settle(homes: Map<string, Home>, ip: string, home: Home): void {
  const known = homes.get(ip);
  if (known === undefined || home.port < known.port) homes.set(ip, home);
}

function prefixOf(text: string): { readonly address: Ip; readonly length: number } | undefined {
  const ip = parseIp(text);
  return ip === undefined ? parsePrefix(text) : { address: ip, length: bitsOf(ip) };
}
