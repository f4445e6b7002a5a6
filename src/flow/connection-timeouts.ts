/**
 * How far a connection is, by what was seen of its two directions, and how long it lives without
 * another packet.
 *
 * Invariant: it depends on the stamps of both halves alone, so hosts that know the same halves
 * agree on it.
 */
import type { ConnectionPhase } from '#virtual/connection.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { TCP_FLAG } from './connection-layout.ts';

/** What was seen of one direction. `seenMs` 0: nothing. `tcp`: all flags (TCP_FLAG). */
export interface Half {
  readonly seenMs: number;
  readonly tcp: number;
}

/** Milliseconds without a packet of either direction after which a record goes. */
export const CONNECTION_TIMEOUTS = {
  /**
   * TCP that nobody has answered. Shorter than the 4 min of RFC 5382 REQ-5, on purpose: a record
   * that is wanted again is made again by the next SYN, and a flood of SYNs holds fewer.
   */
  tcpOpening: 60_000,
  /** RFC 5382 REQ-5 asks for at least 2 h 4 min; a day, so that quiet sessions live. */
  tcpEstablished: 86_400_000,
  /** One direction is closed: RFC 5382 REQ-5 asks for at least 4 min. */
  tcpClosing: 240_000,
  /** Both are closed, or one broke off: late segments find their way (RFC 9293 §3.4.2: 2 MSL). */
  tcpClosed: 60_000,
  /** RFC 4787 REQ-5 asks for at least 2 min where there are answers. */
  udpUnanswered: 30_000,
  udpAnswered: 180_000,
  /** RFC 5508 REQ-2 asks for at least 60 s. */
  echo: 60_000,
  /** Whatever else goes over IP: tunnels, mostly. */
  other: 600_000,
  /**
   * So long after both ends have closed a connection its public port may be another one's with the
   * same peer, if there is no port that nobody has: less than the 2 min of RFC 7857 §2.2, since a
   * SYN with a later number or time opens anew what the peer still remembers (RFC 6191).
   */
  leftPort: 5_000,
  /**
   * TCP that nobody has answered for so long has failed, and who tries again begins anew: longer
   * than stacks wait before their third attempt. Whether it was refused is not always known here.
   */
  tcpFailed: 5_000,
  /**
   * Where a public port was chosen, so much longer: a packet that another host has seen last is
   * told of before the port is another connection's, though some words of it are lost.
   */
  chosenPort: 15_000,
} as const;
export type ConnectionTimeouts = { readonly [T in keyof typeof CONNECTION_TIMEOUTS]: number };

export function phaseOf(protocol: number, forward: Half, back: Half): ConnectionPhase {
  const both = forward.seenMs > 0 && back.seenMs > 0;
  if (protocol !== IP_PROTOCOL.TCP) return both ? 'answered' : 'unanswered';
  if (((forward.tcp | back.tcp) & TCP_FLAG.RST) !== 0) return 'closed';
  const fins = (forward.tcp & TCP_FLAG.FIN) + (back.tcp & TCP_FLAG.FIN);
  if (fins > 0) return fins === 2 ? 'closed' : 'closing';
  return both ? 'established' : 'opening';
}

export const isHalfOpen = (phase: ConnectionPhase): boolean =>
  phase === 'opening' || phase === 'unanswered';

/** Milliseconds that a connection lives on from its last packet. */
export function timeoutOf(
  protocol: number,
  phase: ConnectionPhase,
  timeouts: ConnectionTimeouts = CONNECTION_TIMEOUTS,
): number {
  const { TCP, UDP, ICMP, ICMPV6 } = IP_PROTOCOL;
  if (protocol === UDP) return phase === 'answered' ? timeouts.udpAnswered : timeouts.udpUnanswered;
  if (protocol === ICMP || protocol === ICMPV6) return timeouts.echo;
  if (protocol !== TCP) return timeouts.other;
  if (phase === 'opening') return timeouts.tcpOpening;
  if (phase === 'closing') return timeouts.tcpClosing;
  return phase === 'closed' ? timeouts.tcpClosed : timeouts.tcpEstablished;
}
