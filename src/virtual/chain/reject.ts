/**
 * A filter refuses a packet and tells the sender: a reset to a TCP segment (RFC 9293 §3.10.7.1),
 * else ICMP "administratively prohibited" (RFC 1812 §5.2.7.1, RFC 4443 §3.1), where such may be
 * sent at all.
 *
 * Invariants: the answer leaves by the port of the device by which the packet came to it, so it
 * needs no route; a router speaks for itself, a bridge, which has no address, as the host that the
 * packet was for (as Linux does); who brings it about pays, as for every error; the walk is never
 * cached when it answers.
 */
import { errorAbout } from '#net/icmp-error.ts';
import { isIp6, type Ip } from '#net/ip.ts';
import { readMac, type Mac } from '#net/mac.ts';
import { decodeFrame } from '#net/frame.ts';
import { ETHERNET_SIZE } from '#net/packet/ethernet.ts';
import { tcpReset } from '#net/reply.ts';
import { aboutOf, received } from '../nat/received.ts';
import { replyTag } from '../nd.ts';
import type { DropReason } from '../drop.ts';
import type { Step, Verdict } from '../outcome.ts';
import { speaker } from '../router/speaker.ts';
import { untagged } from '../router/untagged.ts';
import { errorsTag, portTag, routerTag } from '../tags.ts';
import type { PortView } from '../view.ts';
import { drop, type Walk } from '../walk.ts';

/** From what address an error is sent that goes back by `port`; of a bridge: undefined. */
function ownAddress(walk: Walk, port: PortView, six: boolean): Ip | undefined {
  if (port.type === 'bridge') return undefined;
  walk.tags.push(routerTag(port.router));
  const router = walk.topology.router(port.router);
  return router && speaker(walk, router, port, six);
}

/** The MACs of the way back, as the frame had them where it entered the device. */
function macsBack(walk: Walk, port: PortView, bytes: Uint8Array): { src: Mac; dst: Mac } {
  const { ethSrc, ethDst } = walk.entered ?? walk.match.rewrites();
  const src = port.type === 'router' ? port.mac : (ethDst ?? readMac(bytes, 0));
  return { src, dst: ethSrc ?? readMac(bytes, 6) };
}

interface Answer {
  readonly frame: Uint8Array | undefined;
  readonly what: string;
}

function answerTo(walk: Walk, port: PortView): Answer | undefined {
  const { match } = walk;
  const bytes = received(walk);
  if (bytes.length < ETHERNET_SIZE) return undefined;
  const { ethernet, network, transport } = decodeFrame(bytes) ?? {};
  if (ethernet === undefined || network === undefined || network.kind === 'arp') return undefined;
  const macs = macsBack(walk, port, bytes);
  const tci = replyTag(match, (ethernet.tci ?? 0) & 0xf000);
  if (transport?.kind === 'tcp') {
    const whole = tci === undefined ? untagged(bytes) : bytes;
    return { frame: tcpReset(whole, { ...macs, tci }), what: 'reset' };
  }
  const six = isIp6(network.dst);
  const from = ownAddress(walk, port, six) ?? (port.type === 'bridge' ? network.dst : undefined);
  if (from === undefined) return undefined;
  const about = { cause: 'admin-prohibited', from, ttl: match.ttlNow, tci, ...macs } as const;
  return { frame: errorAbout(bytes, about), what: 'admin-prohibited' };
}

/** `at`: whose filter it was, or who else refuses it. */
export function reject(walk: Walk, at: Step['at'], reason: DropReason = 'filter-reject'): Verdict {
  const verdict = drop(walk, at, reason);
  if (walk.from === undefined || walk.inPort === undefined) return verdict;
  walk.tags.push(errorsTag(walk.from));
  if (!walk.state.errors.mayTell(walk.from)) return verdict;
  walk.charge = walk.from;
  const port = walk.topology.port(walk.inPort);
  walk.tags.push(portTag(walk.inPort));
  const answer = port && answerTo(walk, port);
  if (port === undefined || answer?.frame === undefined) return verdict;
  walk.sends.push({ port: port.id, frame: answer.frame, ...aboutOf(walk) });
  walk.steps.push({ at: port.ready.at, did: 'error', detail: answer.what });
  return verdict;
}
