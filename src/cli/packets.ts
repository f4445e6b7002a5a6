/**
 * Packets as people type them: `tcp 10.0.0.5:3333 > 10.0.1.7:80 from vm1`. MACs that the text
 * leaves out are those that a workload there would use: the one seeded for the address, or that of
 * the router on the way.
 */
import { type Mac, parseMac } from '#net/mac.ts';
import { parseFrameText, splitOrigin } from '#net/text.ts';
import type { LineFault } from '#net/words.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { UsageError } from './io.ts';
import { canonicalIp, nextHop, segmentOf } from './segment.ts';
import type { Session } from './session.ts';

type Port = ObjectOf<'port'>;

/** How a packet is written; for the help of every command that takes one. */
export const PACKET_GRAMMAR = `
Packets:
  [MAC > MAC] [vlan N] and one of
    arp who-has IP tell IP           arp reply IP is-at MAC [to IP]
    icmp IP > IP [echo|reply] [id N] [seq N]      (icmp6 likewise)
    udp IP:PORT > IP:PORT            tcp IP:PORT > IP:PORT [syn|ack|fin|rst]
    ns IP6 for IP6                   na IP6 is-at MAC to IP6
    ip IP > IP proto N               type 0xNNNN
  then [ttl N] [length N | data HEX], and last: from PORT.
  IPv6 with a port is written [ADDRESS]:PORT.
  MACs left out are those seeded for the addresses; beyond a router, that router's.
`;

/** The addresses of a frame's text, `from` and `to`, in canonical form where they can be read. */
export function addressesOf(text: string): { readonly from?: string; readonly to?: string } {
  const canonical = (word: string | undefined): string | undefined => {
    const bare = word?.replace(/^\[(.*)\](:\d+)?$/, '$1') ?? '';
    return canonicalIp(bare) ?? canonicalIp(bare.replace(/:\d+$/, ''));
  };
  const words = text.trim().split(/\s+/);
  for (const [i, word] of words.entries()) {
    const from = canonical(words[i - 1]);
    const to = canonical(words[i + 1]);
    if (word === '>' && from !== undefined && to !== undefined) return { from, to };
    if (word === 'tell' && to !== undefined) return { from: to };
    if (word === 'for' && from !== undefined) return { from };
  }
  return {};
}

const macOf = (text: string | undefined): Mac | undefined =>
  text === undefined ? undefined : parseMac(text);

interface Macs {
  readonly src?: Mac | undefined;
  readonly dst?: Mac | undefined;
  readonly known: string;
}

/** The MACs of a frame whose text leaves them out, as far as they are known; and what is known. */
async function macsOf(session: Session, port: Port, text: string): Promise<Macs> {
  if (port.type === 'router')
    return {
      dst: macOf(port.mac),
      known: `the router's is ${port.mac}, the sender's is not known`,
    };
  const { from, to } = addressesOf(text);
  const [first] = port.addresses;
  const sender = port.addresses.find(({ ip }) => from !== undefined && ip === from) ?? first;
  const known =
    sender === undefined ? `port ${port.name} has no seeded address` : `source ${sender.mac}`;
  const src = macOf(sender?.mac);
  if (to === undefined) return { src, known };
  return { src, dst: macOf(nextHop(await segmentOf(session.io.client, port), from, to)), known };
}

/** The line below the text that marks what is wrong in it. */
function marked(text: string, { start, end }: LineFault): string {
  const mark = '^'.repeat(Math.max(end - start, 1));
  return `  ${text.replace(/[\t\n\r]/g, ' ')}\n  ${' '.repeat(start)}${mark}`;
}

/** A packet with the port where it enters. */
export interface Packet {
  /** By id or name, as it was typed. */
  readonly port: string;
  readonly frame: Uint8Array;
}

/**
 * Reads a packet. `port`: where it enters, when the text does not say it. Throws UsageError, which
 * marks the word that is wrong.
 */
export async function packetOf(
  session: Session,
  text: string,
  port: string | undefined,
): Promise<Packet> {
  const { packet, from } = splitOrigin(text);
  if (from !== undefined && port !== undefined)
    throw new UsageError(`the port is given twice: ${port}, and in the packet: from ${from}`);
  const name = from ?? port;
  if (name === undefined || name === '')
    throw new UsageError(
      `packet: says not where it enters\n${marked(text, endOf(text))}`,
      'End it with: from PORT; ports: mn port list',
    );
  const whole = parseFrameText(packet);
  if (whole instanceof Uint8Array) return { port: name, frame: whole };
  if (!lacksMacs(whole)) throw faulty(text, whole, 'See');
  const at = (await session.io.client.get('port', name)) as Port;
  const { src, dst, known } = await macsOf(session, at, packet);
  const frame = parseFrameText(packet, {
    ...(src === undefined ? {} : { src }),
    ...(dst === undefined ? {} : { dst }),
  });
  if (frame instanceof Uint8Array) return { port: name, frame };
  throw faulty(text, frame, `Write the MACs in front (MAC > MAC …; ${known}), or see`);
}

const lacksMacs = ({ error }: LineFault): boolean => / MAC: does not follow/.test(error);

function faulty(text: string, fault: LineFault, hint: string): UsageError {
  const may = fault.may === undefined ? '' : `There may stand: ${fault.may}. `;
  const message = `frame: ${fault.error}\n${marked(text, fault)}`;
  return new UsageError(message, `${may}${hint}: mn trace --help`);
}

const endOf = (text: string): LineFault => {
  const { length } = text.trimEnd();
  return { error: '', start: length + 1, end: length + 1 };
};
