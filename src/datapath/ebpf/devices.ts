/**
 * The datapath's own interfaces in the namespace it runs in: a private veth pair to send frames
 * through, and the VXLAN device. They have no address, no IPv6 and no ARP: nobody else is meant to
 * use them. One datapath per network namespace.
 */
import { createVeth, createVxlan, deleteLink, linkByName, setLink } from '#os/netlink/links.ts';
import type { Link } from '#os/netlink/links.ts';
import { ERRNO, SystemError } from '#os/libc.ts';
import { disableIpv6 } from '#os/sysctl.ts';

export const INJECT_DEVICE = 'mninj0';
const INJECT_PEER = 'mninj1';
export const TUNNEL_DEVICE = 'mnvx0';
/** The largest a veth takes: whatever a workload could send can be sent again. */
const VETH_MTU = 65535;
/** Large, so that the device never cuts: what fits the path is the agent's to decide. */
const TUNNEL_MTU = 65000;

export interface Devices {
  readonly inject: number;
  /** The other end of the veth. */
  readonly sink: number;
  readonly tunnel: number;
}

function need(name: string): Link {
  const link = linkByName(name);
  if (link === undefined) throw new Error(`interface ${name} has vanished`);
  return link;
}

/**
 * Isolates an interface from the host's stack, as far as its own settings can, and brings it up.
 */
export function quieten({ index, name, up, arp }: Link): void {
  disableIpv6(name);
  if (arp || !up) setLink(index, { up: true, arp: false });
}

/**
 * Behind these kinds everything that is sent arrives. Others, such as the cards of this host and
 * VLANs on them, take frames for their own MAC, and workloads have MACs of their own.
 */
const UNFILTERED: ReadonlySet<string | undefined> = new Set(['veth', 'tun']);

/** Lets frames in whomever they are for. */
export function takeAll({ index, kind, promiscuous }: Link): void {
  if (!UNFILTERED.has(kind) && !promiscuous) setLink(index, { promiscuous: true });
}

/** Sets an interface down; one that has just vanished is down enough. */
export function setDown(index: number): void {
  try {
    setLink(index, { up: false, promiscuous: false });
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== ERRNO.ENODEV) throw error;
  }
}

/** Makes what is missing; a VXLAN device that is not as it should be is made anew. */
export function ensureDevices(tunnelUdpPort: number): Devices {
  if (!Number.isInteger(tunnelUdpPort) || tunnelUdpPort < 1 || tunnelUdpPort > 65535) {
    throw new RangeError('tunnelUdpPort must be a whole number from 1 to 65535');
  }
  if (linkByName(INJECT_DEVICE) === undefined || linkByName(INJECT_PEER) === undefined) {
    removeDevice(INJECT_DEVICE);
    removeDevice(INJECT_PEER);
    createVeth({ name: INJECT_DEVICE, peer: INJECT_PEER, mtu: VETH_MTU });
  }
  const tunnel = linkByName(TUNNEL_DEVICE);
  const right = tunnel?.vxlanPort === tunnelUdpPort && tunnel.zeroChecksum6;
  if (tunnel !== undefined && !right) deleteLink(tunnel.index);
  if (!right) {
    createVxlan({ name: TUNNEL_DEVICE, udpPort: tunnelUdpPort, mtu: TUNNEL_MTU });
  }
  for (const name of [INJECT_PEER, INJECT_DEVICE, TUNNEL_DEVICE]) quieten(need(name));
  const index = (name: string): number => need(name).index;
  return { inject: index(INJECT_DEVICE), sink: index(INJECT_PEER), tunnel: index(TUNNEL_DEVICE) };
}

function removeDevice(name: string): void {
  const link = linkByName(name);
  if (link !== undefined) deleteLink(link.index);
}

export function removeDevices(): void {
  for (const name of [INJECT_DEVICE, INJECT_PEER, TUNNEL_DEVICE]) removeDevice(name);
}
