/**
 * The flags of a TCP segment, where nothing else of it is of interest, and whether a stack would
 * send them together.
 */
import { transportAt } from '../transport.ts';
import { TCP_FLAG } from './tcp.ts';

const { fin, syn, rst, ack } = TCP_FLAG;
const PROTOCOL_TCP = 6;
/** Where the flags are in a TCP header. */
const FLAGS_AT = 13;

/**
 * Whether some stack sends these flags (RFC 9293 §3.10): a segment opens (SYN), goes on (ACK) or
 * breaks off (RST), and what it does besides does not contradict that. PSH, URG, ECE and CWR may be
 * with any.
 */
export function isSoundTcp(flags: number): boolean {
  if ((flags & (syn | ack | rst)) === 0) return false;
  if ((flags & rst) !== 0) return (flags & (syn | fin)) === 0;
  return (flags & (syn | fin)) !== (syn | fin);
}

/** SYN without ACK: a connection is opened (RFC 9293 §3.5). */
export const opensTcp = (flags: number): boolean => (flags & (syn | ack)) === syn;

/** SYN with ACK: it is taken. */
export const acceptsTcp = (flags: number): boolean => (flags & (syn | ack)) === (syn | ack);

/**
 * The flags in the frame's TCP header, eight bits; undefined where it has none: another protocol, a
 * later fragment, cut short.
 */
export function tcpFlagsOf(frame: Uint8Array): number | undefined {
  const at = transportAt(frame, PROTOCOL_TCP);
  return at === undefined ? undefined : frame[at + FLAGS_AT];
}
