/**
 * What a walk carries along: the packet, what is known, and what the walk has to say so far.
 * Only `simulate` makes one; the devices add to it, and answer what comes next as data.
 */
import type { Ip } from '#net/ip.ts';
import type { BridgeId, PortId } from './ids.ts';
import type { Match } from './match.ts';
import type { Claim, Recipient, Send, Step, Tell, Verdict } from './outcome.ts';
import type { DropReason } from './drop.ts';
import type { Tag } from './tags.ts';
import type { StateView, TopologyView } from './view.ts';

export interface Walk {
  readonly topology: TopologyView;
  readonly state: StateView;
  readonly match: Match;
  /**
   * The port by which the frame came to this host, which pays for what it brings about; undefined
   * for frames of other hosts and of the network itself.
   */
  readonly from: PortId | undefined;
  /** The smallest MTU in bytes to which the packet must be cut; undefined: it fits. */
  cut: number | undefined;
  /** The port whose budget pays for the error that the walk ended in. */
  charge: PortId | undefined;
  readonly tags: Tag[];
  readonly claims: Claim[];
  readonly sends: Send[];
  readonly tells: Tell[];
  readonly confirms: { readonly port: PortId; readonly ip: Ip }[];
  readonly steps: Step[];
}

/** What a device decides: the walk ends, or the frame leaves by one of the device's ports. */
export type Next = Verdict | { readonly kind: 'leave'; readonly by: PortId };

/** The walk ends here: the frame is dropped, and the last step says where and why. */
export function drop(walk: Walk, at: Step['at'], reason: DropReason): Verdict {
  walk.steps.push({ at, did: 'drop', detail: reason });
  return { kind: 'drop', reason };
}

/** A recipient, with the VLAN that the frame has by now. */
export function recipient(
  walk: Walk,
  to: { readonly port: PortId } | { readonly flood: BridgeId; readonly except?: PortId },
): Recipient {
  const vlan = walk.match.vlanOut;
  return vlan === undefined ? to : { ...to, vlan };
}
