/**
 * The bytes that TypeScript and the kernel program share: one table of structs, read here as
 * offsets and printed as `src/datapath/ebpf/layout.h`. A test compares the committed header with
 * what this file prints.
 *
 * Multi-byte fields are in the host's (little endian) order, except those marked `net`, which hold
 * the frame's own bytes. A change of any struct must raise LAYOUT_VERSION: pinned maps carry it in
 * their path, and a description of it (`description.ts`) by which other versions read them. Two
 * rules keep that possible: 0 in a new field means what there was before it, and what a field means
 * never changes under its name (or its struct's number in RULES is raised, and nothing of it is
 * carried). MARK_SENT never changes: while links are swapped, programs of both versions pass on to
 * each other.
 */
import { CONNECTION } from './connection-layout.ts';

export const LAYOUT_VERSION = 8;

/** A field: its C type, or bytes copied from the frame (`net`), and how many. */
export interface FieldRow {
  readonly name: string;
  readonly type: 'u8' | 'u16' | 'u32' | 'u64' | 'net8' | 'net16' | 'net32';
  readonly count?: number;
}
export const SIZE = { u8: 1, u16: 2, u32: 4, u64: 8, net8: 1, net16: 2, net32: 4 } as const;

/** Limits the program is compiled with. */
export const LIMITS = {
  /** Masks there can be. */
  MASKS_MAX: 32,
  /** Of these, how many one entry's flows may have, and so how many are tried for one frame. */
  ENTRY_MASKS_MAX: 8,
  /** Members of one flood group. */
  GROUP_MEMBERS_MAX: 512,
  /** Flood groups. */
  GROUPS_MAX: 4096,
  /** Members of all flood groups together. */
  MEMBERS_MAX: 65536,
  /** Port keys on one host at a time; their numbers only ever grow. */
  KEYS_MAX: 65536,
  /** Other ends of the tunnel at a time. */
  PEERS_MAX: 4096,
  /** Pairs of tunnel source and network that may send here. */
  SENDERS_MAX: 262144,
  /** Slots for frames sent without a flow; they follow the flow slots. */
  SCRATCH_SLOTS: 1024,
  /** Slots for what is rewritten in one output's copy only; they follow the scratch slots. */
  REWRITE_SLOTS: 4096,
  /** The mask cache has 2 to the power of so many places on each CPU. */
  MASK_CACHE_BITS: 10,
  DROP_CODES_MAX: 64,
  /** Entries: ports, and tunnel sources that may send here. */
  ENTRIES_MAX: 8192,
  /** Places for the buckets of an entry, of which UPCALL_CLASS names those in use. */
  UPCALL_CLASSES_MAX: 8,
  /**
   * No entry's frames may take more of the ring than so many quarters of what is free; those that
   * are not of new flows may still come when these have taken their part.
   */
  RING_QUARTERS: 2,
  RING_QUARTERS_URGENT: 3,
  /** Room for a frame in the ring, in three sizes: what is reserved must be a constant. */
  UPCALL_SMALL_BYTES: 152,
  UPCALL_MIDDLE_BYTES: 1640,
  UPCALL_LARGE_BYTES: 65640,
  /** Tokens for a frame of the large size; for others it is one. As much more of the ring. */
  UPCALL_LARGE_COST: 38,
  /** A tunnel source stands for many ports: its rates and bursts are so many times a port's. */
  BUDGET_SOURCE_FACTOR: 2,
  /** Who may look at frames at a time. */
  SIGHTS_MAX: 8,
  /** Room for the bytes of a frame that is shown, in three sizes as with what is handed up. */
  SIGHT_SMALL_BYTES: 160,
  SIGHT_MIDDLE_BYTES: 1640,
  SIGHT_LARGE_BYTES: 9256,
} as const;

/** Words of the hash's secret: one for each of the key (72 bytes), and one to fold with. */
export const HASH_SECRET_WORDS = 10;

/**
 * struct flow_key: what a frame is matched by. `mask_id` is 0 in a frame's key and the number of
 * the mask (plus 1) in the table's. `vlan` is 0x1000 | VID or 0, in network order like `eth_type`.
 */
export const FLOW_KEY = [
  { name: 'in_port', type: 'u32' },
  { name: 'tun_key', type: 'u32' },
  { name: 'tun_src', type: 'u32' },
  { name: 'eth_dst', type: 'net8', count: 6 },
  { name: 'eth_src', type: 'net8', count: 6 },
  { name: 'eth_type', type: 'net16' },
  { name: 'vlan', type: 'net16' },
  { name: 'ip_src', type: 'net8', count: 16 },
  { name: 'ip_dst', type: 'net8', count: 16 },
  { name: 'tp_src', type: 'net16' },
  { name: 'tp_dst', type: 'net16' },
  { name: 'ip_proto', type: 'u8' },
  { name: 'ip_tos', type: 'u8' },
  { name: 'ip_ttl', type: 'u8' },
  { name: 'ip_frag', type: 'u8' },
  { name: 'mask_id', type: 'u32' },
] as const satisfies readonly FieldRow[];

/**
 * struct action: one slot. `flags`: ACTION bits. A live slot is never edited, except for
 * ACTION.STALE. `in_port`, `in_key`: the entry of its flow, which every mask holds; 0 in scratch
 * slots. `vlan`: see VLAN. `dec_ttl`, `mtu`: 0 where there is none. `ip_src`, `ip_dst`: as in a
 * key. `connection`: the slot of its record, 0: none. Bits of `tos_mask` in the type of service or
 * traffic class are set to those of `tos`.
 */
export const ACTION_STRUCT = [
  { name: 'flags', type: 'u32' },
  { name: 'generation', type: 'u32' },
  { name: 'eth_dst', type: 'net8', count: 6 },
  { name: 'eth_src', type: 'net8', count: 6 },
  { name: 'vlan', type: 'u16' },
  { name: 'drop_code', type: 'u16' },
  { name: 'group', type: 'u32' },
  { name: 'ifindex', type: 'u32' },
  { name: 'tun_key', type: 'u32' },
  { name: 'peer', type: 'u32' },
  { name: 'in_port', type: 'u32' },
  { name: 'in_key', type: 'u32' },
  { name: 'dec_ttl', type: 'u16' },
  { name: 'mtu', type: 'u16' },
  { name: 'ip_src', type: 'net8', count: 16 },
  { name: 'ip_dst', type: 'net8', count: 16 },
  { name: 'tp_src', type: 'net16' },
  { name: 'tp_dst', type: 'net16' },
  { name: 'connection', type: 'u32' },
  { name: 'tos', type: 'u8' },
  { name: 'tos_mask', type: 'u8' },
  { name: 'spare', type: 'u16', count: 9 },
] as const satisfies readonly FieldRow[];

export const ACTION = {
  /** Invalidated: hand the frame up (a lookup) or drop it (an injection). */
  STALE: 1,
  DROP: 2,
  SET_ETH_DST: 4,
  SET_ETH_SRC: 8,
  /** Outputs are the members of `group`; else the one of `ifindex` or of (`tun_key`, `peer`). */
  GROUP: 16,
  TUNNEL: 32,
  /** All members of `group` but `in_port`: the ports of a bridge share one group so. */
  NOT_BACK: 64,
  SET_IP_SRC: 128,
  SET_IP_DST: 256,
  SET_TP_SRC: 512,
  SET_TP_DST: 1024,
  /** The addresses to set are IPv6 ones; else IPv4. */
  IP6: 2048,
  /**
   * Straight to the other end of `ifindex`, which is in another namespace and has the MAC that the
   * frames are for. Only where a frame enters: a frame of the agent goes the ordinary way. The one
   * flag that comes and goes while a slot lives; the way is right either way.
   */
  REDIRECT_PEER: 4096,
  /** The frames are answers of `connection`; else of the direction of who opened it. */
  CONNECTION_RETURN: 8192,
  /** TCP segments with flags that no stack sends are handed up. */
  SOUND_TCP: 16384,
} as const;

/**
 * What becomes of a frame's tag, in an action and in a member: 0: nothing (a member: what the
 * action says); SET | VID: the VID of the tag it came with, or of one that is pushed; POP: none.
 */
export const VLAN = { SET: 0x1000, POP: 0x2000 } as const;

/** struct flow_value: what the flow table maps a masked key to. */
export const FLOW_VALUE = [
  { name: 'slot', type: 'u32' },
  { name: 'generation', type: 'u32' },
] as const satisfies readonly FieldRow[];

export const FLOW_STATS = [
  { name: 'packets', type: 'u64' },
  { name: 'bytes', type: 'u64' },
  { name: 'last_used', type: 'u64' },
  { name: 'spare', type: 'u64' },
] as const satisfies readonly FieldRow[];

/** struct group: a run of `count` members starting at `first`. */
export const GROUP = [
  { name: 'first', type: 'u32' },
  { name: 'count', type: 'u32' },
] as const satisfies readonly FieldRow[];

/**
 * struct member: one output. `ifindex` 0: the tunnel, to `peer` with `tun_key`.
 * `vlan`: see VLAN. `rewrite`: 0, or the mark with which this copy is sent through the private
 * veth, where the slot that it names says what else is rewritten, and the same output again.
 */
export const MEMBER = [
  { name: 'ifindex', type: 'u32' },
  { name: 'tun_key', type: 'u32' },
  { name: 'peer', type: 'u32' },
  { name: 'vlan', type: 'u32' },
  { name: 'rewrite', type: 'u32' },
  { name: 'flags', type: 'u32' },
  { name: 'spare', type: 'u32', count: 2 },
] as const satisfies readonly FieldRow[];

/**
 * struct key_target: what a port key of this host stands for. `key` comes first, again: the kernel
 * gives an entry that was deleted to another key at once, perhaps while a program reads it.
 * `far_mac`: with KEY_FLAG.REDIRECT_PEER, the MAC of the interface's other end.
 */
export const KEY_TARGET = [
  { name: 'key', type: 'u32' },
  { name: 'flags', type: 'u32' },
  { name: 'ifindex', type: 'u32' },
  { name: 'network', type: 'u32' },
  { name: 'far_mac', type: 'net8', count: 6 },
  { name: 'spare', type: 'u16' },
] as const satisfies readonly FieldRow[];

/** As ACTION.REDIRECT_PEER, for frames to `far_mac`. */
export const KEY_FLAG = { REDIRECT_PEER: 1 } as const;

/**
 * In key_target.network while the interface is not taken over: its frames are dropped as `no-port`.
 */
export const NETWORK_NO_PORT = 0x80000000;

/**
 * struct peer: where another end of the tunnel is; the index in its map is its number. `family`:
 * 0 while nobody has the number, else PEER_FAMILY.
 */
export const PEER = [
  { name: 'address', type: 'net8', count: 16 },
  { name: 'family', type: 'u32' },
  { name: 'spare', type: 'u32' },
] as const satisfies readonly FieldRow[];
/** An IPv4 address is in the last four bytes, behind PEER4_PREFIX. */
export const PEER_FAMILY = { IP4: 4, IP6: 6 } as const;
/** In front of an IPv4 address in the sixteen bytes of one: ::ffff:0:0/96 (RFC 4291 §2.5.5.2). */
export const PEER4_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] as const;

/** struct sender: an underlay address that may send for a network; the value is its peer. */
export const SENDER = [
  { name: 'address', type: 'net8', count: 16 },
  { name: 'network', type: 'u32' },
  { name: 'spare', type: 'u32' },
] as const satisfies readonly FieldRow[];

/**
 * struct upcall: the head of a record in the ring; the frame's struct flow_key and `caplen` bytes
 * of frame follow. The frame lacks a tag that the kernel holds beside it: `vlan_tci` has it, and
 * `vlan_present` its TPID (0: no tag). `entry`: the number of the entry that paid.
 */
export const UPCALL = [
  { name: 'time', type: 'u64' },
  { name: 'len', type: 'u32' },
  { name: 'caplen', type: 'u32' },
  { name: 'gso_size', type: 'u32' },
  { name: 'reason', type: 'u32' },
  { name: 'vlan_tci', type: 'u16' },
  { name: 'vlan_present', type: 'u16' },
  { name: 'entry', type: 'u32' },
] as const satisfies readonly FieldRow[];

/**
 * struct entry_key: where frames come from, and who pays for those that are handed up. `source`:
 * the peer that sent it through the tunnel, else 0.
 */
export const ENTRY_KEY = [
  { name: 'in_port', type: 'u32' },
  { name: 'source', type: 'u32' },
] as const satisfies readonly FieldRow[];

/** struct entry_ref: the number of an entry. */
export const ENTRY_REF = [
  { name: 'number', type: 'u32' },
  { name: 'spare', type: 'u32' },
] as const satisfies readonly FieldRow[];

/**
 * struct entry: what is an entry's own, so that nothing it does is at another's expense.
 *
 * `buckets`: by UPCALL_CLASS, each as the time (CLOCK_MONOTONIC, nanoseconds) at which it is full
 * again: one word says how many tokens there are and when that was true, and one compare-and-swap
 * takes some. `masks`: one byte for each mask that its flows have, its number plus 1; 0: none.
 * `queued`, `drained`: bytes of the ring that its frames took and that the agent gave back, ever,
 * modulo 2^32. `up`, `drops`: frames handed up by class, and dropped by code, ever;
 * `agent_drops`: of those handed up, dropped by the agent. Entry 0 is nobody's: there the agent
 * counts frames that came from nowhere.
 */
export const ENTRY = [
  { name: 'buckets', type: 'u64', count: LIMITS.UPCALL_CLASSES_MAX },
  { name: 'masks', type: 'u64' },
  { name: 'queued', type: 'u32' },
  { name: 'drained', type: 'u32' },
  { name: 'up', type: 'u64', count: LIMITS.UPCALL_CLASSES_MAX },
  { name: 'drops', type: 'u64', count: LIMITS.DROP_CODES_MAX },
  { name: 'agent_drops', type: 'u64', count: LIMITS.DROP_CODES_MAX },
] as const satisfies readonly FieldRow[];

/**
 * struct config: the one entry of the configuration map. `secret` keys the mask cache's hash
 * (`hash.ts`). Of the buckets of a class: nanoseconds until there is a token more, and until an
 * empty one is full.
 */
export const CONFIG = [
  { name: 'secret', type: 'u64', count: HASH_SECRET_WORDS },
  { name: 'token_ns', type: 'u64', count: LIMITS.UPCALL_CLASSES_MAX },
  { name: 'full_ns', type: 'u64', count: LIMITS.UPCALL_CLASSES_MAX },
  { name: 'tunnel_ifindex', type: 'u32' },
  /** The private veth's end with the inject program. */
  { name: 'inject_ifindex', type: 'u32' },
  { name: 'ring_bytes', type: 'u32' },
  /** Of outer packets: the TOS or traffic class, or TUNNEL_TOS_COPY. */
  { name: 'tunnel_tos', type: 'u32' },
  /** Somebody looks at frames until then (CLOCK_MONOTONIC, nanoseconds); 0: nobody does. */
  { name: 'sight_until', type: 'u64' },
] as const satisfies readonly FieldRow[];

/**
 * struct sight: who looks at frames, at which, and what that may take. `until` as in config; 0:
 * nobody. `bucket`, `token_ns`, `full_ns`: as an entry's bucket; one token for each frame shown.
 * `matched`: frames that were to be shown; how many were, the reader knows. `port`: 0, or only
 * frames that enter or leave there. `snap`: bytes shown of a frame at most. Of a frame that has
 * a key, `key_a` must be what is left of it under `mask_a`, or the same with b.
 */
export const SIGHT = [
  { name: 'until', type: 'u64' },
  { name: 'bucket', type: 'u64' },
  { name: 'token_ns', type: 'u64' },
  { name: 'full_ns', type: 'u64' },
  { name: 'matched', type: 'u64' },
  { name: 'port', type: 'u32' },
  { name: 'snap', type: 'u32' },
  { name: 'key_a', type: 'net8', count: 72 },
  { name: 'mask_a', type: 'net8', count: 72 },
  { name: 'key_b', type: 'net8', count: 72 },
  { name: 'mask_b', type: 'net8', count: 72 },
] as const satisfies readonly FieldRow[];

/**
 * struct sighting: the head of a record of a frame that was seen; its struct flow_key and `caplen`
 * bytes of it follow. `sights`: a bit for each that it is shown to. `where`: SIGHT_WHERE. `fate`:
 * SIGHT_FATE, with `code`: of the drop, or the reason of the upcall. `slot`, `generation`: of the
 * flow that it has, or NO_SLOT. `outputs`: how many, of which `ifindex` or (`tun_key`, `peer`) is
 * the only one. The tag as in struct upcall.
 */
export const SIGHTING = [
  { name: 'time', type: 'u64' },
  { name: 'sights', type: 'u32' },
  { name: 'where', type: 'u32' },
  { name: 'fate', type: 'u32' },
  { name: 'code', type: 'u32' },
  { name: 'slot', type: 'u32' },
  { name: 'generation', type: 'u32' },
  { name: 'outputs', type: 'u32' },
  { name: 'ifindex', type: 'u32' },
  { name: 'tun_key', type: 'u32' },
  { name: 'peer', type: 'u32' },
  { name: 'len', type: 'u32' },
  { name: 'caplen', type: 'u32' },
  { name: 'gso_size', type: 'u32' },
  { name: 'vlan_tci', type: 'u16' },
  { name: 'vlan_present', type: 'u16' },
] as const satisfies readonly FieldRow[];

/** Where a frame was seen: entering by a port or by the tunnel, sent by the agent, leaving. */
export const SIGHT_WHERE = { PORT: 1, TUNNEL: 2, INJECT: 3, OUT: 4 } as const;
/** What became of it there. */
export const SIGHT_FATE = { SENT: 1, DROPPED: 2, UP: 3 } as const;
/** In the place of a slot: no flow matched. */
export const NO_SLOT = 0xffffffff;

/**
 * What the agent counts of its limits, for whoever reads the maps; in the order of the map `notes`.
 * Since the agent was started.
 */
export const NOTES = [
  'upcalls',
  'flowsInstalled',
  'refusedFull',
  'refusedTags',
  'refusedQuota',
  'refusedMasks',
  'refusedGroups',
  'refusedByKernel',
  'evicted',
  'evictedOwn',
  'widened',
  'widenedOwn',
  'invalidated',
  'expiredIdle',
  'expiredAge',
  'connectionsOpened',
  'connectionsEvicted',
  'recordsSent',
  'recordsSentAgain',
  'recordsTaken',
  'recordsRefused',
  'datagramsRefused',
  'questionsAsked',
  'questionsRefused',
] as const;
export type Note = (typeof NOTES)[number];
/** Counters of the agent that outlive it: places that there are for them. */
export const NOTES_MAX = 64;

/** What a frame that is handed up is paid from; see `datapath/budget.ts`. */
export const UPCALL_CLASS = { FRAMES: 0, GROUPS: 1, CONTROL: 2, GUARDS: 3, STALE: 4 } as const;

/** In config.tunnel_tos: the DSCP of the packet inside. */
export const TUNNEL_TOS_COPY = 0x100;

export const UPCALL_REASON = { MISS: 1, STALE: 2, TTL: 3, TOO_BIG: 4, CONNECTION: 5 } as const;

/** Slots of the per-CPU counter array; drops follow by code. */
export const COUNTER = { HIT: 0, MISS: 1, TUNNEL_HIT: 2, DROP: 8 } as const;
/** Counters of the kernel program for the host and for each entry. */
export const COUNTERS_MAX = COUNTER.DROP + LIMITS.DROP_CODES_MAX;

/** skb->mark of frames the datapath itself sends out of a port; the egress program clears it. */
export const MARK_SENT = 0x4d4e5458;
/**
 * Bits of an injected frame's mark that hold slot + 1; the rest hold the low bits of the
 * generation.
 */
export const MARK_SLOT_BITS = 20;

/** Every struct by its name in C, in the order of the header. */
export const STRUCTS = {
  flow_key: FLOW_KEY,
  action: ACTION_STRUCT,
  flow_value: FLOW_VALUE,
  flow_stats: FLOW_STATS,
  group: GROUP,
  member: MEMBER,
  key_target: KEY_TARGET,
  peer: PEER,
  sender: SENDER,
  upcall: UPCALL,
  entry_key: ENTRY_KEY,
  entry_ref: ENTRY_REF,
  entry: ENTRY,
  config: CONFIG,
  sight: SIGHT,
  sighting: SIGHTING,
  connection: CONNECTION,
} as const satisfies Readonly<Record<string, readonly FieldRow[]>>;
export type StructName = keyof typeof STRUCTS;

type Offsets<Rows extends readonly FieldRow[]> = {
  readonly [R in Rows[number] as R['name']]: number;
};

/**
 * The byte offset of every field; fields are laid out in order and must fall on their natural
 * alignment.
 */
export function offsets<const Rows extends readonly FieldRow[]>(rows: Rows): Offsets<Rows> {
  const out: Record<string, number> = {};
  let at = 0;
  for (const row of rows) {
    if (at % SIZE[row.type] !== 0) throw new Error(`layout: ${row.name} is not aligned`);
    out[row.name] = at;
    at += SIZE[row.type] * (row.count ?? 1);
  }
  return out as Offsets<Rows>;
}

export function sizeOf(rows: readonly FieldRow[]): number {
  let size = 0;
  for (const row of rows) size += SIZE[row.type] * (row.count ?? 1);
  return size;
}

export const KEY = offsets(FLOW_KEY);
export const KEY_SIZE = sizeOf(FLOW_KEY);
