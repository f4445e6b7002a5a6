/**
 * The bytes of a connection record: one slot of a pinned array that the agent and the kernel share.
 *
 * The agent writes a record; the kernel stamps the half of the direction that it carries (`seen`,
 * `tcp`) and touches nothing else. Invariant: `generation` is written last when a record is made
 * and set to 0 first when it goes, so a slot is a record exactly while its generation is not 0, and
 * whoever finds the array after a crash finds whole records only.
 */
import { TRANSLATIONS_MAX } from '#virtual/connection.ts';
import type { FieldRow } from './layout.ts';

/**
 * struct connection. `tcp`, `seen`: of each direction, forward first: all flags of TCP that were
 * seen (TCP_FLAG), and when the last packet was (nanoseconds, as `last_used` of a flow; 0: never).
 * `incarnation`: which of the connections that had these keys one after another. `created`:
 * nanoseconds, the same clock. Zones: where forward packets, and answers, enter. Addresses and
 * ports: as in a flow's key. `in_port`, `out_port`: ids of the ports where it entered and left, as
 * 16 bytes; 0 where it is not one. `translations`: how many of the places at the end are in use, in
 * the order of the forward way; a place of `nat_*` says which router, whether its destination (1)
 * or its source (0) changes, and the end before and behind it.
 */
export const CONNECTION = [
  { name: 'generation', type: 'u32' },
  { name: 'incarnation', type: 'u32' },
  { name: 'seen', type: 'u64', count: 2 },
  { name: 'tcp', type: 'u32', count: 2 },
  { name: 'created', type: 'u64' },
  { name: 'zone', type: 'u32' },
  { name: 'return_zone', type: 'u32' },
  { name: 'protocol', type: 'u8' },
  { name: 'six', type: 'u8' },
  { name: 'translations', type: 'u8' },
  { name: 'spare_byte', type: 'u8' },
  { name: 'spare_word', type: 'u32' },
  { name: 'src', type: 'net8', count: 16 },
  { name: 'dst', type: 'net8', count: 16 },
  { name: 'return_src', type: 'net8', count: 16 },
  { name: 'return_dst', type: 'net8', count: 16 },
  { name: 'src_port', type: 'net16' },
  { name: 'dst_port', type: 'net16' },
  { name: 'return_src_port', type: 'net16' },
  { name: 'return_dst_port', type: 'net16' },
  { name: 'in_port', type: 'net8', count: 16 },
  { name: 'out_port', type: 'net8', count: 16 },
  { name: 'nat_zone', type: 'u32', count: TRANSLATIONS_MAX },
  { name: 'nat_changes', type: 'u8', count: TRANSLATIONS_MAX },
  { name: 'nat_from_port', type: 'net16', count: TRANSLATIONS_MAX },
  { name: 'nat_to_port', type: 'net16', count: TRANSLATIONS_MAX },
  { name: 'spare_tail', type: 'u32' },
  { name: 'nat_from', type: 'net8', count: 16 * TRANSLATIONS_MAX },
  { name: 'nat_to', type: 'net8', count: 16 * TRANSLATIONS_MAX },
  { name: 'spare', type: 'u64', count: 7 },
] as const satisfies readonly FieldRow[];

/** Flags of TCP in `tcp` (RFC 9293 §3.1). */
export const TCP_FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;

/** The array: `slots` records of `CONNECTION_BYTES` each. The agent writes, others stamp. */
export interface ConnectionMemory {
  readonly slots: number;
  readonly bytes: Uint8Array;
}
/** Six cache lines; the kernel touches the first. */
export const CONNECTION_BYTES = 384;
