/**
 * How a router port asks for the MAC of a neighbour: ARP (RFC 826), solicitation (RFC 4861 §7.2.2).
 */
import { encodeFrame } from '#net/frame.ts';
import { isIp6, isLinkLocalIp, type Ip, type Ip4 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { arpRequest, neighbourSolicitation } from '#net/neighbours.ts';
import { contains } from '#net/prefix.ts';
import type { RouterPortView } from '../view.ts';

/** The port's address that speaks to `ip`: of the same network, else the first of its family. */
export function addressTowards(port: RouterPortView, ip: Ip): Ip | undefined {
  const six = isIp6(ip);
  if (six && isLinkLocalIp(ip)) return port.linkLocal;
  const own = port.networks.filter(({ address }) => isIp6(address) === six);
  const near = own.find((network) => contains(network, ip)) ?? own[0];
  return near?.address ?? (six ? port.linkLocal : undefined);
}

/**
 * The frame that asks for `ip`, to be sent out of the port; to everybody, or to the one that had it
 * last. Undefined for a port without an IPv4 address that would have to ask for one.
 */
export function question(port: RouterPortView, ip: Ip, last?: Mac): Uint8Array | undefined {
  const { mac: senderMac } = port;
  const senderIp = addressTowards(port, ip);
  if (senderIp === undefined) return undefined;
  if (isIp6(ip) && isIp6(senderIp)) {
    const to = last === undefined ? undefined : { mac: last, ip };
    return encodeFrame(neighbourSolicitation({ senderMac, senderIp, target: ip, to }));
  }
  return encodeFrame(
    arpRequest({ senderMac, senderIp: senderIp as Ip4, targetIp: ip as Ip4, dst: last }),
  );
}
