/**
 * The address from which a router speaks about a packet (RFC 1812 §4.3.2.4): of the port by which
 * it came, else of any other port; all that was looked at is tagged.
 */
import { isIp6, type Ip } from '#net/ip.ts';
import { portTag, routerPortsTag } from '../tags.ts';
import type { RouterPortView, RouterView } from '../view.ts';
import type { Walk } from '../walk.ts';

/** The address an error about a packet that came in by `port` is sent from. */
export function speaker(walk: Walk, router: RouterView, port: RouterPortView, six: boolean) {
  const of = ({ networks }: RouterPortView): Ip | undefined =>
    networks.find(({ address }) => isIp6(address) === six)?.address;
  const own = of(port);
  if (own !== undefined) return own;
  walk.tags.push(routerPortsTag(router.id));
  for (const id of [...router.ports].sort()) {
    const other = walk.topology.port(id);
    walk.tags.push(portTag(id));
    const found = other?.type === 'router' ? of(other) : undefined;
    if (found !== undefined) return found;
  }
  return six ? port.linkLocal : undefined;
}
