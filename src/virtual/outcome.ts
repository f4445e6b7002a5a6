/**
 * What the simulation answers: data, all of it. The agent carries it out; the tracer prints it;
 * laws compare it.
 */
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { Ends } from '#net/readdress.ts';
import type { ConnectionKey, ConnectionState, FoundConnection, Translation } from './connection.ts';
import type { DropReason } from './drop.ts';
import type { AnyId, BridgeId, PoolMemberId, PortId, RouterId, RuleId, VipId } from './ids.ts';
import type { FieldSet, Guards, Headers, Rewrites } from './match.ts';
import type { Tag } from './tags.ts';

/**
 * Where a frame enters the walk. `flood`: the egress half of a flood that another host began.
 * `heard`: what another host's agent heard for a router, and passed on. `out`: a frame that the
 * virtual network itself sends out of a port.
 */
export type Ingress =
  | { readonly port: PortId }
  | { readonly flood: BridgeId }
  | { readonly heard: RouterId }
  | { readonly out: PortId };

/**
 * Where a frame leaves. `flood`: every port of the bridge that is up and not linked to another
 * device, except the one named; `here`: only those of this host (another host began the flood, and
 * the others have their own copy); `not`: ports of this host that filters keep the frame from, or
 * that have a copy of their own. `vlan`: the VLAN field it leaves with there; absent: as it came.
 */
export type Recipient = { readonly vlan?: number } & (
  | { readonly port: PortId }
  | {
      readonly flood: BridgeId;
      readonly except?: PortId;
      readonly here?: true;
      readonly not?: readonly PortId[];
    }
);

export type Verdict =
  /**
   * To all of them. `cut`: the packet is larger than this MTU in bytes and may be cut: into IPv4
   * fragments that fit.
   */
  | { readonly kind: 'forward'; readonly to: readonly Recipient[]; readonly cut?: number }
  /** Consumed: the virtual network itself has taken it, see `sends`. */
  | { readonly kind: 'answer' }
  /**
   * A fragment for a router itself: kept until its datagram is whole, which is then walked from the
   * start, with the size of its largest fragment.
   */
  | { readonly kind: 'collect' }
  | { readonly kind: 'drop'; readonly reason: DropReason }
  /** Until the neighbour of a router port is known: ask it, and walk again from the start. */
  | { readonly kind: 'wait'; readonly port: PortId; readonly ip: Ip }
  /**
   * Until this host owns a public port that no connection has to the same peer: ask for some, and
   * walk again from the start.
   */
  | ({ readonly kind: 'want-ports' } & WantedPorts);

/**
 * Public ports of an address, at a router that translates to it: any from `first` to `last`. Port 0
 * is the address itself, for protocols without ports.
 */
export interface WantedPorts {
  readonly router: RouterId;
  readonly address: Ip;
  readonly first: number;
  readonly last: number;
}
/** A public end of connections at a router. */
export interface PublicEnd {
  readonly router: RouterId;
  readonly address: Ip;
  readonly port: number;
}

/** State that the agent commits in the same turn. */
export type Claim =
  | {
      readonly learn: {
        readonly bridge: BridgeId;
        readonly vlan: number;
        readonly mac: Mac;
        readonly port: PortId;
      };
    }
  | {
      /** `at`: the port by which this host heard it; undefined: another host passed it on. */
      readonly hear: {
        readonly port: PortId;
        readonly ip: Ip;
        readonly mac: Mac;
        readonly at: PortId | undefined;
      };
    };

/**
 * A frame that the virtual network itself sends out of a port. `cut`: it goes in fragments whose IP
 * packets have at most so many bytes, for whom it answers did not send larger ones either.
 */
export interface Send {
  readonly port: PortId;
  readonly frame: Uint8Array;
  readonly cut?: number;
  /** What was done to the packet that it answers before it came there: undone on the way. */
  readonly about?: readonly Translation[];
}

/** `mac`: of the router's port that heard it. No other port may take it for its own network's. */
export interface Tell {
  readonly router: RouterId;
  readonly mac: Mac;
}

/**
 * One step of a walk: which object did what, and why. `detail` holds values only, already in text
 * form.
 */
export interface Step {
  readonly at: { readonly kind: 'port' | 'bridge' | 'router' | 'chain'; readonly id: AnyId };
  readonly did:
    | 'enter'
    | 'refuse'
    | 'learn'
    | 'answer'
    | 'unicast'
    | 'unknown-unicast'
    | 'broadcast'
    | 'multicast'
    | 'flood-here'
    | 'set-vlan'
    | 'pop-vlan'
    | 'local'
    | 'rule'
    | 'not-translated'
    | 'translate'
    | 'balance'
    | 'no-rule'
    | 'keep'
    | 'route'
    | 'hear'
    | 'ask'
    | 'cut'
    | 'send'
    | 'error'
    | 'leave'
    | 'drop';
  readonly detail?: string;
  /** Of a step that a rule took. */
  readonly rule?: RuleId;
  /** Of a packet to, or of an answer of, a member that serves a VIP. */
  readonly balanced?: Balanced;
}
/** `way`: `in`: of a client to a member; `out`: back. */
export interface Balanced {
  readonly vip: VipId;
  readonly member: PoolMemberId;
  readonly way: 'in' | 'out';
}

/** What a walk made of the packet's connection, because a rule asked for its state. */
export interface Tracked {
  readonly state: ConnectionState;
  /**
   * The key it was looked up by: as the packet entered; of a related one, what it quotes turned
   * round. Undefined where nothing was looked up.
   */
  readonly key: ConnectionKey | undefined;
  readonly found: FoundConnection | undefined;
  /**
   * Of a packet in the opening direction that is forwarded: the record that there must be before
   * it leaves; one for each key that answers may have. Empty for every other packet.
   */
  readonly opens: readonly Opening[];
  /** What routers have made of its ends; answers are changed back. */
  readonly translations: readonly Translation[];
  /** Tags of what was chosen by: once there is a record, it says what was chosen. */
  readonly chosenBy: readonly Tag[];
}
/** `returns`: the key of answers, where they enter. `to`: the port it leaves by, if it is one. */
export interface Opening {
  readonly returns: ConnectionKey;
  readonly to: PortId | undefined;
}

/** A packet that a logged rule matched, with its headers as they were there. */
export interface Logged {
  readonly rule: RuleId;
  readonly headers: Headers;
}

export interface Outcome {
  readonly verdict: Verdict;
  readonly rewrites: Rewrites;
  readonly guards: Guards;
  readonly seen: FieldSet;
  /** False: the walk read bytes no datapath matches; decide every such packet anew. */
  readonly cacheable: boolean;
  readonly tags: readonly Tag[];
  readonly claims: readonly Claim[];
  readonly sends: readonly Send[];
  /**
   * The walk ended in an ICMP error, to be paid from the budget of this port; also where none may
   * be sent about such a packet, or a stream of those would be decided one by one.
   */
  readonly charge: PortId | undefined;
  /**
   * What this host heard for routers: the agents of the hosts near them are passed the frame, so
   * that whoever asked need not wait for the store.
   */
  readonly tells: readonly Tell[];
  /**
   * What is to be written down of this packet: it may say more of it than the flow matches.
   * Undefined: no logged rule matched.
   */
  readonly logged?: readonly Logged[];
  /** Undefined: no rule asked. */
  readonly connection: Tracked | undefined;
  /** Other ends for the packet that this ICMP error quotes; undefined: it stays. */
  readonly quoted?: Ends;
  /** The packet is sent to a public end that no record knows: its owner may. */
  readonly unreversed?: PublicEnd;
  /** It comes from where a member serves: where its client enters, a record of it may be known. */
  readonly unserved?: boolean;
  /** Neighbours that answered a router port as it knew them. */
  readonly confirms: readonly { readonly port: PortId; readonly ip: Ip }[];
  /** Always kept: it is the cause of the flow. */
  readonly steps: readonly Step[];
}
