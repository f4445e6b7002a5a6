/**
 * What the schema of a port cannot say: which fields go together, and what stands against other
 * objects.
 */
import { formatIp, isIp6, isLinkLocalIp, linkLocalOf, parseIp } from '#net/ip.ts';
import { parseMac } from '#net/mac.ts';
import { contains, parseNetwork } from '#net/prefix.ts';
import { filterFaults } from '../chain/chain.ts';
import type { Fault, StoredObject, View } from '../kind.ts';
import type { Route } from '../route/route.ts';
import type { BridgePort, Port, RouterPort } from './port.ts';

/** RFC 8200 §5: hosts send no smaller packets, whatever they are told. */
const MTU6_MIN = 1280;

const portOf = (view: View, id: string | undefined): Port | undefined =>
  id === undefined ? undefined : (view.get('port', id) as unknown as Port | undefined);

/** Another port, as the owner of `port` may hear of it: a link may lead to somebody else's. */
const called = (port: Port, { name, id, tenant }: Port): string =>
  port.tenant === undefined || port.tenant === tenant
    ? `port ${name} (${id})`
    : 'a port of another tenant';

interface Held {
  readonly mac: string;
  readonly ip?: string | undefined;
}

/** The addresses a router port answers for, its link-local one included, as a bridge holds them. */
export function heldBy({ mac, networks }: Pick<RouterPort, 'mac' | 'networks'>): Held[] {
  const parsed = parseMac(mac);
  const local = parsed === undefined ? [] : [{ mac, ip: formatIp(linkLocalOf(parsed)) }];
  const own = networks.flatMap((text) => {
    const network = parseNetwork(text);
    return network === undefined ? [] : [{ mac, ip: formatIp(network.address) }];
  });
  return [...local, ...own];
}

function bindingFaults(port: Port, view: View): Fault[] {
  if ((port.host === undefined) !== (port.interface === undefined)) {
    const path = port.host === undefined ? 'host' : 'interface';
    const message =
      'must be given together with the other half of the binding (host and interface)';
    return [{ path, message }];
  }
  if (port.host === undefined) return [];
  if (port.peer !== undefined)
    return [{ path: 'host', message: 'cannot go with a peer: a port is either bound or linked' }];
  for (const id of view.referrers('port', 'host', port.host)) {
    const other = portOf(view, id);
    if (id === port.id || other?.interface !== port.interface) continue;
    return [{ path: 'interface', message: `is bound to port ${other?.name} (${id}) already` }];
  }
  return [];
}

/** A link joins two devices; a VLAN leg is one end of a link between two bridges. */
function linkFaults(port: Port, view: View): Fault[] {
  const faults: Fault[] = [];
  if (port.vlan !== undefined && port.host !== undefined)
    faults.push({ path: 'vlan', message: 'has a meaning only on a port linked to another bridge' });
  if (port.peer === undefined) return faults;
  if (port.peer === port.id) return [...faults, { path: 'peer', message: 'is the port itself' }];
  const peer = portOf(view, port.peer);
  if (peer === undefined) return faults;
  if ((peer.bridge ?? peer.router) === (port.bridge ?? port.router))
    faults.push({ path: 'peer', message: 'is a port of the same device' });
  if (peer.host !== undefined)
    faults.push({ path: 'peer', message: `port ${peer.name} is bound to an interface` });
  else if (peer.peer !== port.id)
    faults.push({ path: 'peer', message: `port ${peer.name} is linked to another port already` });
  if (port.vlan !== undefined && peer.type !== 'bridge')
    faults.push({ path: 'vlan', message: 'has a meaning only on a port linked to another bridge' });
  if (port.vlan !== undefined && peer.vlan !== undefined)
    faults.push({ path: 'vlan', message: 'is given at the other end of the link already' });
  return faults;
}

/** A VLAN of a bridge is one other bridge. */
function vlanFaults({ id: own, bridge, vlan }: BridgePort, view: View): Fault[] {
  if (vlan === undefined) return [];
  const faults: Fault[] = [];
  for (const id of view.referrers('port', 'bridge', bridge)) {
    const other = portOf(view, id);
    if (id !== own && other?.vlan === vlan)
      faults.push({ path: 'vlan', message: `is that of port ${other.name} (${id}) already` });
  }
  return faults;
}

/** What is held behind a port of a bridge: its seeds, and what a router linked there holds. */
function behind(port: BridgePort, view: View): readonly Held[] {
  const peer = portOf(view, port.peer);
  const linked = peer?.type === 'router' && peer.peer === port.id;
  return linked ? [...port.addresses, ...heldBy(peer)] : port.addresses;
}

/**
 * A MAC has one port in a bridge and an address one owner. One port may hold a MAC with many
 * addresses.
 */
function seedFaults(port: BridgePort, view: View): Fault[] {
  const faults: Fault[] = [];
  const byMac = new Map<string, string>();
  const byIp = new Map<string, string>();
  for (const [i, { mac, ip }] of port.addresses.entries()) {
    if (!byMac.has(mac)) byMac.set(mac, `addresses.${i}.mac`);
    if (ip === undefined) continue;
    if (byIp.has(ip)) faults.push({ path: `addresses.${i}.ip`, message: 'is given twice' });
    else byIp.set(ip, `addresses.${i}.ip`);
  }
  for (const { mac, ip } of behind(port, view)) {
    if (!byMac.has(mac)) byMac.set(mac, 'peer');
    if (ip !== undefined && !byIp.has(ip)) byIp.set(ip, 'peer');
  }
  if (byMac.size === 0) return faults;
  for (const id of view.referrers('port', 'bridge', port.bridge)) {
    const other = id === port.id ? undefined : portOf(view, id);
    if (other?.type !== 'bridge') continue;
    for (const seed of behind(other, view)) {
      const whose = `an address of ${called(port, other)} of this bridge already`;
      for (const path of [byMac.get(seed.mac), byIp.get(seed.ip ?? '')])
        if (path !== undefined)
          faults.push({ path, message: `${path === 'peer' ? 'has' : 'is'} ${whose}` });
    }
  }
  return faults;
}

/** Port security is about one workload, and needs to know what that may send from. */
function securityFaults({ security, addresses, allowedAddresses, peer }: BridgePort): Fault[] {
  const faults: Fault[] = [];
  if (security === 'on' && peer !== undefined)
    faults.push({ path: 'security', message: 'cannot be on at a port linked to another device' });
  if (security === 'on' && addresses.length === 0)
    faults.push({ path: 'addresses', message: 'must not be empty while security is on' });
  const seen = new Set<string>();
  for (const [i, { ip, mac = '' }] of (allowedAddresses ?? []).entries()) {
    const pair = `${ip} ${mac}`;
    if (seen.has(pair)) faults.push({ path: `allowedAddresses.${i}`, message: 'is given twice' });
    seen.add(pair);
  }
  return faults;
}

/** Whoever is a gateway of a route by this port stays a neighbour of it. */
function gatewayFaults(port: RouterPort, view: View): Fault[] {
  const faults: Fault[] = [];
  const networks = port.networks.map(parseNetwork).filter((network) => network !== undefined);
  const seen = new Set<string>();
  for (const id of view.referrers('route', 'port', port.id)) {
    const { gateway, destination } = view.get('route', id) as unknown as Route;
    if (gateway === undefined || seen.has(gateway)) continue;
    seen.add(gateway);
    const ip = parseIp(gateway);
    if (ip === undefined || (isIp6(ip) && isLinkLocalIp(ip))) continue;
    const is = `${gateway} is the gateway of a route to ${destination}`;
    if (!networks.some((network) => contains(network, ip)))
      faults.push({ path: 'networks', message: `${is}, and in none of them` });
    else if (networks.some(({ address }) => address === ip))
      faults.push({ path: 'networks', message: is });
  }
  return faults;
}

/** An address is one port's of a router; and of the bridge it is linked to, nobody else's. */
function networkFaults(port: RouterPort, view: View): Fault[] {
  const faults: Fault[] = [];
  const own = new Map<string, string>();
  for (const [i, text] of port.networks.entries()) {
    const network = parseNetwork(text);
    if (network === undefined) continue;
    const ip = formatIp(network.address);
    if (own.has(ip)) faults.push({ path: `networks.${i}`, message: 'is given twice' });
    else own.set(ip, `networks.${i}`);
    if (isIp6(network.address) && (port.mtu ?? MTU6_MIN) < MTU6_MIN)
      faults.push({ path: 'mtu', message: `must be at least ${MTU6_MIN} where there is IPv6` });
  }
  for (const id of view.referrers('port', 'router', port.router)) {
    const other = id === port.id ? undefined : portOf(view, id);
    if (other?.type !== 'router') continue;
    for (const text of other.networks) {
      const network = parseNetwork(text);
      const path = network === undefined ? undefined : own.get(formatIp(network.address));
      const message = `is an address of ${called(port, other)} of this router already`;
      if (path !== undefined) faults.push({ path, message });
    }
  }
  const peer = portOf(view, port.peer);
  if (peer?.type !== 'bridge' || peer.peer !== port.id) return faults;
  const paths = new Map([
    ...own,
    [formatIp(linkLocalOf(parseMac(port.mac) ?? (0 as never))), 'mac'],
  ]);
  for (const id of view.referrers('port', 'bridge', peer.bridge)) {
    const other = id === peer.id ? undefined : portOf(view, id);
    if (other?.type !== 'bridge') continue;
    for (const { mac, ip } of behind(other, view)) {
      const message = `is an address of ${called(port, other)} of the bridge it is linked to`;
      const path = mac === port.mac ? 'mac' : paths.get(ip ?? '');
      if (path !== undefined) faults.push({ path, message });
    }
  }
  return faults;
}

export function check(next: StoredObject, view: View): Fault[] {
  const port = next as unknown as Port;
  const device = port.type;
  const id = port.type === 'bridge' ? port.bridge : port.router;
  if ((id as string | undefined) === undefined) return [{ path: device, message: 'is required' }];
  const faults = [
    ...bindingFaults(port, view),
    ...linkFaults(port, view),
    ...filterFaults(next, ['inboundFilter', 'outboundFilter'], view, device === 'bridge'),
  ];
  const owner = view.get(device, id);
  if (owner !== undefined && port.tenant !== owner.tenant)
    faults.push({ path: 'tenant', message: `must be the tenant of the ${device}` });
  if (port.type === 'router')
    return [...faults, ...networkFaults(port, view), ...gatewayFaults(port, view)];
  return [...faults, ...securityFaults(port), ...vlanFaults(port, view), ...seedFaults(port, view)];
}
