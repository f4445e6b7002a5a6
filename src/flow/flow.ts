/**
 * What a datapath caches: match, mask, actions. The tags, the cause and the bookkeeping of a flow
 * are the agent's (`table.ts`); the datapath knows a flow by its slot and generation.
 */
import type { Ip4 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { FieldSet } from '#virtual/match.ts';

/** A port of the datapath: the interface index in the kernel, any number in the reference body. */
export type DpPort = number & { readonly brand: 'DpPort' };
/** A 24-bit VXLAN network identifier: a port key or a flood key. */
export type TunnelKey = number & { readonly brand: 'TunnelKey' };

/**
 * Where a frame was when the datapath saw it. `port` is the tunnel device's number for tunnel
 * frames.
 */
export type Entry =
  | { readonly port: DpPort; readonly tunnel?: undefined }
  | { readonly port: DpPort; readonly tunnel: { readonly key: TunnelKey; readonly source: Ip4 } };

export type Output = { readonly port: DpPort } | { readonly key: TunnelKey; readonly remote: Ip4 };

/**
 * What happens to a frame. Rewrites come first, in the order MAC, TTL, VLAN; then every output gets
 * a copy. No output and no `drop` is not allowed: an empty flood is a drop with its reason.
 */
export interface Actions {
  readonly drop?: DropReason;
  readonly ethSrc?: Mac;
  readonly ethDst?: Mac;
  /** Decrement the TTL or hop limit by one (checksum updated, RFC 1624). */
  readonly decTtl?: true;
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

export const OUTPUTS_PER_FLOW_MAX = 512;
export const MASKS_MAX = 32;
