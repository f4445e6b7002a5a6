/**
 * Which frames a flow does not carry though it matches them, and what it notes of those that it
 * does: the reference of `expires` and of connection.h in C.
 */
import { TCP_FLAG } from '#flow/connection-layout.ts';
import type { ConnectionRecords, Side } from '#flow/connection-records.ts';
import type { Actions } from '#flow/flow.ts';
import { KEY } from '#flow/layout.ts';
import { packetSize } from '#flow/size.ts';
import { isSoundTcp, opensTcp, tcpFlagsOf } from '#net/packet/tcp-flags.ts';
import type { Upcall } from './datapath.ts';

const PROTOCOL_TCP = 6;
/** `ip_frag` of a later fragment. */
const LATER = 3;

function isIp(key: Uint8Array): boolean {
  const ethType = (key[KEY.eth_type]! << 8) | key[KEY.eth_type + 1]!;
  return ethType === 0x0800 || ethType === 0x86dd;
}

/**
 * IPv4 or IPv6 of whose TTL not so much can be subtracted (also a header too broken to have one).
 */
export const expires = (key: Uint8Array, { decTtl }: Actions): boolean =>
  decTtl !== undefined && isIp(key) && key[KEY.ip_ttl]! <= decTtl;

/** The packet is larger than the MTU of the flow. */
const tooBig = (frame: Uint8Array, { mtu }: Actions): boolean =>
  mtu !== undefined && packetSize(frame, 0) > mtu;

/** The flags of TCP, 0 where they are cut off; undefined: it is no TCP. */
function flagsOf(key: Uint8Array, frame: Uint8Array): number | undefined {
  if (!isIp(key) || key[KEY.ip_proto] !== PROTOCOL_TCP || key[KEY.ip_frag] === LATER)
    return undefined;
  return tcpFlagsOf(frame) ?? 0;
}
const sideOf = (direction: 'forward' | 'return'): Side => (direction === 'forward' ? 0 : 1);

/** A segment with flags that no stack sends, or one that begins the flow's connection anew. */
function breaks(
  key: Uint8Array,
  frame: Uint8Array,
  { connection, soundTcp }: Actions,
  records: ConnectionRecords,
): boolean {
  if (connection === undefined && soundTcp !== true) return false;
  const flags = flagsOf(key, frame);
  if (flags === undefined) return false;
  if (soundTcp === true && !isSoundTcp(flags)) return true;
  if (connection === undefined || !opensTcp(flags)) return false;
  const before = records.tcp(connection.slot, sideOf(connection.direction));
  return (before & (TCP_FLAG.FIN | TCP_FLAG.RST)) !== 0;
}

/** Why a frame that a flow matches is handed up; undefined: the flow carries it. */
export function handedUp(
  key: Uint8Array,
  frame: Uint8Array,
  actions: Actions,
  records: ConnectionRecords,
): Upcall['reason'] | undefined {
  if (expires(key, actions)) return 'ttl';
  if (tooBig(frame, actions)) return 'too-big';
  return breaks(key, frame, actions, records) ? 'connection' : undefined;
}

/** Notes a frame in the half of its direction. */
export function stamp(
  { key, frame }: { readonly key: Uint8Array; readonly frame: Uint8Array },
  { connection }: Actions,
  records: ConnectionRecords,
  nowMs: number,
): void {
  if (connection === undefined) return;
  const half = { seenMs: nowMs, tcp: flagsOf(key, frame) ?? 0 };
  records.stamp(connection.slot, sideOf(connection.direction), half);
}
