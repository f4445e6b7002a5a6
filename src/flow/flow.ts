/**
 * What a datapath caches: match, mask, actions. The tags, the cause and the bookkeeping of a flow
 * are the agent's (`table.ts`); the datapath knows a flow by its slot and generation.
 */
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { Direction } from '#virtual/connection.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { FieldSet } from '#virtual/match.ts';

/** A port of the datapath: the interface index in the kernel, any number in the reference body. */
export type DpPort = number & { readonly brand: 'DpPort' };
/** A 24-bit VXLAN network identifier: a port key or a flood key. */
export type TunnelKey = number & { readonly brand: 'TunnelKey' };
/**
 * Another end of the tunnel: a number from 1 on that the datapath gives to an underlay address, of
 * either family. Flows, keys and budgets name hosts by it.
 */
export type DpPeer = number & { readonly brand: 'DpPeer' };

/**
 * Where a frame was when the datapath saw it. `port` is the tunnel device's number for tunnel
 * frames.
 */
export type Entry =
  | { readonly port: DpPort; readonly tunnel?: undefined }
  | {
      readonly port: DpPort;
      readonly tunnel: { readonly key: TunnelKey; readonly source: DpPeer };
    };

/** Where a copy of a frame leaves, and what is its own. */
export type Output = OutputOwn &
  ({ readonly port: DpPort } | { readonly key: TunnelKey; readonly remote: DpPeer });
interface OutputOwn {
  /**
   * For this output in place of `Actions.vlan`, and with the same meaning: 0: no tag; else the VID
   * to set in the tag that the frame came with, whose priority stays, or in one that is pushed.
   * Absent: as `Actions.vlan` says.
   */
  readonly vlan?: number;
  /**
   * What else changes in this copy only. It is looked at as the common rewrites and its tag left
   * it; one that has no key any more (`parse.ts` rule 1) is lost as `malformed`.
   */
  readonly rewrite?: Rewrites;
}

/**
 * Fields of a frame that are set, as far as it has them; `rewrite.ts` says when it has, and what
 * becomes of checksums.
 */
export interface Rewrites {
  readonly ethSrc?: Mac;
  readonly ethDst?: Mac;
  /** Both of one family; frames of the other family, ARP included, keep their addresses. */
  readonly ipSrc?: Ip;
  readonly ipDst?: Ip;
  /** 0 to 63, RFC 2474; the ECN bits stay. */
  readonly dscp?: number;
  /** Of TCP and UDP, 0 to 65535. */
  readonly tpSrc?: number;
  /** Of TCP and UDP, and the identifier of an ICMP or ICMPv6 echo, as in a key: 0 to 65535. */
  readonly tpDst?: number;
}

/**
 * What happens to a frame. First it is looked at: one that the TTL or the MTU does not let through
 * is handed up as it came. Rewrites come next, in the order MAC, TTL, IP addresses and DSCP,
 * transport; then every output gets a copy, with its tag, and what is rewritten in that one only.
 * No output and no `drop` is not allowed: an empty flood is a drop with its reason.
 */
export interface Actions extends Rewrites {
  readonly drop?: DropReason;
  /**
   * Subtract so much from the TTL or hop limit: 1 to DEC_TTL_MAX, one for each router on the way
   * (checksum updated, RFC 1624). Of IPv4 and IPv6 frames the flow serves only those whose TTL is
   * greater; others, and those whose header is too broken to have one, are handed up as `ttl`.
   */
  readonly decTtl?: number;
  /**
   * The largest IP packet that the flow carries, in bytes as `packetSize` (`size.ts`) counts them:
   * MTU_MIN to MTU_MAX. Larger ones are handed up as `too-big`, also by a flow that drops.
   */
  readonly mtu?: number;
  /**
   * The frames are of one direction of a connection: the datapath stamps its half with the time,
   * and with the flags of TCP. A segment that opens a connection anew (SYN without ACK, where this
   * half has seen FIN or RST) is handed up as `connection`, also by a flow that drops.
   */
  readonly connection?: { readonly slot: number; readonly direction: Direction };
  /**
   * TCP segments whose flags no stack sends (`net/packet/tcp-flags.ts`) are handed up as
   * `connection`, also by a flow that drops.
   */
  readonly soundTcp?: true;
  /** Set the 802.1Q VID (pushing a tag when there is none); 0 pops the tag. */
  readonly vlan?: number;
  readonly outputs: readonly Output[];
}

/**
 * A flow in the form both bodies take. `key`: KEY_SIZE bytes of `layout.ts`, already masked.
 * The entry (port, tunnel key, tunnel source) is always part of the mask.
 */
export interface Flow {
  readonly key: Uint8Array;
  readonly fields: FieldSet;
  readonly actions: Actions;
}

/** Names one installed flow: the slot is reused, the generation tells its tenants apart. */
export interface FlowRef {
  readonly slot: number;
  readonly generation: number;
}

/** Ports and hosts that one flow sends to; a flood to more is dropped as `flood-limit`. */
export const OUTPUTS_PER_FLOW_MAX = 512;
/** Routers that one flow can stand for: what fits into the field. */
export const DEC_TTL_MAX = 255;
/** The largest DSCP (RFC 2474 §3: six bits). */
export const DSCP_MAX = 63;
/** The largest TCP or UDP port, or identifier of an echo. */
export const TRANSPORT_PORT_MAX = 65535;
/** What every link must carry (RFC 791 §3.2), and what an IPv4 header can say. */
export const MTU_MIN = 68;
/** The largest MTU that a flow can guard: what the length field of IP can tell. */
export const MTU_MAX = 65535;
/** Masks of all flows of a host; of the surplus each flow matches every field. */
export const MASKS_MAX = 32;
/**
 * Of these, how many the flows of one entry (a port, a tunnel source) may have, the exact one
 * included.
 */
export const ENTRY_MASKS_MAX = 8;
