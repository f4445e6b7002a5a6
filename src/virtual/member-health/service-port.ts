/**
 * The ports by which hosts check members: one for each router and host that checks members of its
 * load balancers. The namespace behind it has the next address of each of its networks.
 */
import { formatIp, type Ip4, parseIp4 } from '#net/ip.ts';
import { contains, parseNetwork } from '#net/prefix.ts';
import type { View } from '../kind.ts';
import type { ObjectOf } from '../kinds.ts';

type PortRow = ObjectOf<'port'>;

export const SERVICE_INTERFACE_PREFIX = 'mnhc';
const ID_DIGITS = 8;
/**
 * RFC 3927 §2.1 keeps the first and the last 256 addresses free; in 169.254.169 clouds tell
 * metadata.
 */
const OCTETS_SKIPPED: ReadonlySet<number> = new Set([0, 169, 255]);
const NETWORKS = 65_536 / 4;
const FIRST4 = parseIp4('169.254.0.0') as Ip4;
const PREFIX6 = 'fd6d:6e68::';

export const isServicePort = (object: object | undefined): boolean =>
  (object as { readonly service?: boolean } | undefined)?.service === true;

/** A name for the interface of a service port. */
export const serviceInterface = (port: string): string =>
  `${SERVICE_INTERFACE_PREFIX}${port.slice(0, ID_DIGITS)}`;
export const serviceName = (router: string, host: string): string =>
  `health-${router.slice(0, ID_DIGITS)}-${host.slice(0, ID_DIGITS)}`;

/** The n-th pair of networks, with the addresses of the port; undefined: it is not used. */
export function serviceNetworks(n: number): readonly [string, string] | undefined {
  if (n < 0 || n >= NETWORKS || OCTETS_SKIPPED.has(n >> 6)) return undefined;
  const host = n * 4 + 1;
  return [`${formatIp((FIRST4 + host) as Ip4)}/30`, `${PREFIX6}${host.toString(16)}/126`];
}

/** The first networks in which no port of the router has an address; undefined: there are none. */
export function freeNetworks(view: View, router: string): readonly [string, string] | undefined {
  const addresses = view
    .referrers('port', 'router', router)
    .flatMap((id) => (view.get('port', id) as PortRow | undefined)?.networks ?? [])
    .map((text) => parseNetwork(text)?.address)
    .filter((address) => address !== undefined);
  for (let n = 0; n < NETWORKS; n++) {
    const pair = serviceNetworks(n);
    if (pair === undefined) continue;
    const networks = pair.map(parseNetwork).filter((network) => network !== undefined);
    if (!networks.some((network) => addresses.some((address) => contains(network, address))))
      return pair;
  }
  return undefined;
}
