/**
 * What the simulation answers: data, all of it. The agent carries it out; the tracer prints it;
 * laws compare it.
 */
import type { Mac } from '#net/mac.ts';
import type { DropReason } from './drop.ts';
import type { AnyId, BridgeId, PortId } from './ids.ts';
import type { FieldSet, Rewrites } from './match.ts';
import type { Tag } from './tags.ts';

/** Where a frame enters the walk. `flood`: the egress half of a flood that another host began. */
export type Ingress = { readonly port: PortId } | { readonly flood: BridgeId };

/**
 * Where a frame leaves. `flood`: every port of the bridge that is up, except the one named;
 * when the walk began at another host's flood, only the ports of this host (the others have their
 * own copy).
 */
export type Recipient =
  | { readonly port: PortId }
  | { readonly flood: BridgeId; readonly except?: PortId; readonly here?: true };

export type Verdict =
  | { readonly kind: 'forward'; readonly to: Recipient }
  /** Consumed: the virtual network itself replied, see `sends`. */
  | { readonly kind: 'answer' }
  | { readonly kind: 'drop'; readonly reason: DropReason };

/** State that the agent commits in the same turn. */
export interface Claim {
  readonly learn: {
    readonly bridge: BridgeId;
    readonly vlan: number;
    readonly mac: Mac;
    readonly port: PortId;
  };
}

/** A frame that the virtual network itself sends out of a port. */
export interface Send {
  readonly port: PortId;
  readonly frame: Uint8Array;
}

/**
 * One step of a walk: which object did what, and why. `detail` holds values only, already in text
 * form.
 */
export interface Step {
  readonly at: { readonly kind: 'port' | 'bridge'; readonly id: AnyId };
  readonly did:
    | 'enter'
    | 'learn'
    | 'answer'
    | 'unicast'
    | 'unknown-unicast'
    | 'broadcast'
    | 'multicast'
    | 'flood-here'
    | 'leave'
    | 'drop';
  readonly detail?: string;
}

export interface Outcome {
  readonly verdict: Verdict;
  readonly rewrites: Rewrites;
  readonly seen: FieldSet;
  /** False: the walk read bytes no datapath matches; decide every such packet anew. */
  readonly cacheable: boolean;
  readonly tags: readonly Tag[];
  readonly claims: readonly Claim[];
  readonly sends: readonly Send[];
  /** Always kept: it is the cause of the flow. */
  readonly steps: readonly Step[];
}
