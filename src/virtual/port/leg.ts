/**
 * A VLAN leg: the end, in a VLAN-aware bridge, of a link to the bridge that is one of its VLANs.
 * Frames lose the tag of that VLAN when they leave by it and get it when they enter; others do not
 * pass (IEEE 802.1Q §6.9, as an access port does).
 */
import type { BridgePortView } from '../view.ts';
import type { Walk } from '../walk.ts';

const TAGGED = 0x1000;
/** A priority tag (VID 0) is no VLAN: IEEE 802.1Q §6.9.1. */
export const vlanOf = ({ match }: Walk): number => match.get('vlan') & 0xfff;

/** The frame enters the port's bridge by it. False: it does not pass. */
export function enterLeg(walk: Walk, { id, vlan }: BridgePortView): boolean {
  if (vlan === 0) return true;
  if (vlanOf(walk) !== 0) return false;
  walk.match.set('vlan', TAGGED | vlan);
  walk.steps.push({ at: { kind: 'port', id }, did: 'set-vlan', detail: String(vlan) });
  return true;
}

/** The frame leaves the port's bridge by it. False: it does not pass. */
export function leaveLeg(walk: Walk, { id, vlan }: BridgePortView): boolean {
  if (vlan === 0) return true;
  if (vlanOf(walk) !== vlan) return false;
  walk.match.set('vlan', 0);
  walk.steps.push({ at: { kind: 'port', id }, did: 'pop-vlan', detail: String(vlan) });
  return true;
}

/**
 * The VLAN that a frame of `vlan` has behind a link between two bridges; undefined: it does not
 * pass.
 */
export function vlanBeyond(vlan: number, near: BridgePortView, far: BridgePortView) {
  if (near.vlan !== 0 && vlan !== near.vlan) return undefined;
  const between = near.vlan === 0 ? vlan : 0;
  if (far.vlan === 0) return between;
  return between === 0 ? far.vlan : undefined;
}
