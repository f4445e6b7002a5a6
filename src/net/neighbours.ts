/**
 * The messages by which neighbours find each other's MAC addresses, as layers for `encodeFrame`:
 * ARP (RFC 826) and neighbour discovery (RFC 4861 §4.3, §4.4).
 */
import type { Layers } from './frame.ts';
import { isMulticastIp, isUnspecifiedIp, multicastMac, solicitedNode } from './ip.ts';
import type { Ip4, Ip6 } from './ip.ts';
import { BROADCAST, ZERO_MAC, type Mac } from './mac.ts';
import { ARP_REPLY, ARP_REQUEST } from './packet/arp.ts';
import { linkAddressOption, NA_FLAG, ND_HOP_LIMIT } from './packet/icmp6.ts';
import { NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION } from './packet/icmp6.ts';
import { SOURCE_LINK_ADDRESS, TARGET_LINK_ADDRESS } from './packet/icmp6.ts';

/** `tci`: the 802.1Q tag to send with. */
interface Tagged {
  readonly tci?: number | undefined;
}

/** Who has `targetIp`? To all, unless `dst` names one (RFC 1122 §2.3.2.1). */
export const arpRequest = (
  ask: Tagged & {
    readonly senderMac: Mac;
    readonly senderIp: Ip4;
    readonly targetIp: Ip4;
    readonly dst?: Mac | undefined;
  },
): Layers => ({
  ethernet: { src: ask.senderMac, dst: ask.dst ?? BROADCAST, tci: ask.tci },
  network: {
    kind: 'arp',
    operation: ARP_REQUEST,
    senderMac: ask.senderMac,
    senderIp: ask.senderIp,
    targetMac: ZERO_MAC,
    targetIp: ask.targetIp,
  },
});

/** `senderIp` is at `senderMac`, told to the target. */
export const arpReply = (
  answer: Tagged & {
    readonly senderMac: Mac;
    readonly senderIp: Ip4;
    readonly targetMac: Mac;
    readonly targetIp: Ip4;
  },
): Layers => ({
  ethernet: { src: answer.senderMac, dst: answer.targetMac, tci: answer.tci },
  network: {
    kind: 'arp',
    operation: ARP_REPLY,
    senderMac: answer.senderMac,
    senderIp: answer.senderIp,
    targetMac: answer.targetMac,
    targetIp: answer.targetIp,
  },
});

/**
 * Who has `target`? To its solicited-node group, unless `to` names one. From `::`: no link address.
 */
export function neighbourSolicitation(
  ask: Tagged & {
    readonly senderMac: Mac;
    readonly senderIp: Ip6;
    readonly target: Ip6;
    readonly to?: { readonly mac: Mac; readonly ip: Ip6 } | undefined;
  },
): Layers {
  const group = solicitedNode(ask.target);
  const to = ask.to ?? { mac: multicastMac(group), ip: group };
  const unspecified = isUnspecifiedIp(ask.senderIp);
  return {
    ethernet: { src: ask.senderMac, dst: to.mac, tci: ask.tci },
    network: { kind: 'ipv6', src: ask.senderIp, dst: to.ip, hopLimit: ND_HOP_LIMIT },
    transport: {
      kind: 'neighbour',
      type: NEIGHBOUR_SOLICITATION,
      flags: 0,
      target: ask.target,
      options: unspecified ? [] : [linkAddressOption(SOURCE_LINK_ADDRESS, ask.senderMac)],
    },
  };
}

/** `target` is at `mac`. Override; solicited too, unless told to a group. */
export const neighbourAdvertisement = (
  answer: Tagged & {
    readonly mac: Mac;
    readonly target: Ip6;
    readonly to: { readonly mac: Mac; readonly ip: Ip6 };
    readonly router?: boolean;
  },
): Layers => ({
  ethernet: { src: answer.mac, dst: answer.to.mac, tci: answer.tci },
  network: { kind: 'ipv6', src: answer.target, dst: answer.to.ip, hopLimit: ND_HOP_LIMIT },
  transport: {
    kind: 'neighbour',
    type: NEIGHBOUR_ADVERTISEMENT,
    flags:
      NA_FLAG.OVERRIDE +
      (isMulticastIp(answer.to.ip) ? 0 : NA_FLAG.SOLICITED) +
      (answer.router === true ? NA_FLAG.ROUTER : 0),
    target: answer.target,
    options: [linkAddressOption(TARGET_LINK_ADDRESS, answer.mac)],
  },
});
