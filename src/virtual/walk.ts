/**
 * What a walk carries along: the packet, what is known, and what the walk has to say so far.
 * Only `simulate` makes one; the devices add to it, and answer what comes next as data.
 */
import type { Ip } from '#net/ip.ts';
import type { DeviceId, PortId } from './ids.ts';
import type { Translation } from './connection.ts';
import type { DropReason } from './drop.ts';
import type { Match, Rewrites } from './match.ts';
import type { Turned } from './nat/turned.ts';
import type {
  Claim,
  Ingress,
  Logged,
  PublicEnd,
  Recipient,
  Send,
  Step,
  Tell,
  Verdict,
} from './outcome.ts';
import type { Tag } from './tags.ts';
import type { Look } from './track.ts';
import type { ChainView, RuleView, StateView, TopologyView } from './view.ts';

export interface Walk {
  readonly topology: TopologyView;
  readonly state: StateView;
  readonly match: Match;
  /**
   * The port by which the frame came to this host, which pays for what it brings about; undefined
   * for frames of other hosts and of the network itself.
   */
  readonly from: PortId | undefined;
  readonly ingress: Ingress;
  /** What is known of its connection; undefined: no rule has asked yet. */
  look: Look | undefined;
  /** The port by which the frame entered the device where it is; undefined: none of this host's. */
  inPort: PortId | undefined;
  /** The port by which it is to leave that; undefined: not known yet, or more than one. */
  outPort: PortId | undefined;
  /** The devices that it has entered. */
  readonly crossed: DeviceId[];
  /** What was written before it entered this device, where more has been since. */
  entered: Rewrites | undefined;
  /** What was done to its ends so far, in order. */
  readonly changes: EndChange[];
  /** How many of these before it entered this device. */
  changedBefore: number;
  /** Among the tags: what a member was chosen by, which a record makes good for. */
  readonly chosenBy: Tag[];
  /** Of an ICMP error that met a rule which translates: the packet it is about, turned round. */
  turned: Turned | undefined;
  /** Of a frame of the network itself: what was done, on the way there, to what it is about. */
  readonly about: readonly Translation[];
  /** A public end that answers are sent to and that no record knows. */
  unreversed: PublicEnd | undefined;
  /** It comes from where a member serves, and no record knows whom it would answer. */
  unserved: boolean;
  /** Who looks on at every rule that is asked. */
  readonly tried: Tried | undefined;
  /** What logged rules matched; undefined: none did. */
  logged: Logged[] | undefined;
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

/** One end of the packet is another one. `translation`: what is remembered of that. */
export interface EndChange {
  readonly end: 'source' | 'destination';
  readonly ip: Ip;
  /** Undefined: as it was. */
  readonly port: number | undefined;
  readonly translation: Translation | undefined;
}

/** `because`: what the rule asks and the packet has not; undefined: it matched. */
export type Tried = (chain: ChainView, rule: RuleView, because: string | undefined) => void;

/** What a device decides: the walk ends, or the frame leaves by one of the device's ports. */
export type Next = Verdict | { readonly kind: 'leave'; readonly by: PortId };

/** The walk ends here: the frame is dropped, and the last step says where and why. */
export function drop(walk: Walk, at: Step['at'], reason: DropReason): Verdict {
  walk.steps.push({ at, did: 'drop', detail: reason });
  return { kind: 'drop', reason };
}

/** A recipient, with the VLAN that the frame has by now. */
export function recipient(walk: Walk, to: Recipient): Recipient {
  const vlan = walk.match.vlanOut;
  return vlan === undefined ? to : { ...to, vlan };
}
