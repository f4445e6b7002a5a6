/**
 * `mn trace`: what would happen to a frame that enters at a port, and why, without sending it. The
 * text of a frame may leave its MACs out: they are those seeded for its addresses, or that of the
 * router on the way, as a workload would use them.
 */
import type { Command } from 'commander';
import type { TraceResult } from '#client/types.ts';
import { type Mac, parseMac } from '#net/mac.ts';
import { describeFrame, parseFrameText } from '#net/text.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { print } from '../format.ts';
import { UsageError } from '../io.ts';
import { canonicalIp, nextHop, segmentOf } from '../segment.ts';
import { action, formatOf, outputOption, type Session } from '../session.ts';

type Port = ObjectOf<'port'>;
const GRAMMAR = `
Frames:
  [MAC > MAC] [vlan N] and one of
    arp who-has IP tell IP           arp reply IP is-at MAC [to IP]
    icmp IP > IP [echo|reply] [id N] [seq N]      (icmp6 likewise)
    udp IP:PORT > IP:PORT            tcp IP:PORT > IP:PORT [syn|ack|fin|rst]
    ns IP6 for IP6                   na IP6 is-at MAC to IP6
    ip IP > IP proto N               type 0xNNNN
  then [ttl N] [length N | data HEX]. IPv6 with a port is written [ADDRESS]:PORT.
  MACs left out are those seeded for the addresses; beyond a router, that router's.

Examples:
  mn trace vm1 "icmp 10.0.0.1 > 10.0.0.2"
  mn trace vm1 "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.2 tell 10.0.0.1"
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
interface Macs {
  readonly src?: Mac | undefined;
  readonly dst?: Mac | undefined;
  readonly known: string;
}

/** The frame's bytes; MACs that the text leaves out are those that a workload would use. */
async function frameOf(session: Session, name: string, text: string): Promise<Uint8Array> {
  const port = (await session.io.client.get('port', name)) as Port;
  const { src, dst, known } = await macsOf(session, port, text);
  const frame = parseFrameText(text, {
    ...(src === undefined ? {} : { src }),
    ...(dst === undefined ? {} : { dst }),
  });
  if (frame instanceof Uint8Array) return frame;
  throw new UsageError(
    `frame: ${frame.error}`,
    `Write the MACs in front (MAC > MAC …; ${known}), or see: mn trace --help`,
  );
}

/** The answer for people: the frame, what happens to it, how it leaves, what is sent back. */
async function textOf(session: Session, frame: Uint8Array, result: TraceResult): Promise<string> {
  const lines = [describeFrame(frame), ...result.lines];
  const { rewritten } = result;
  if (rewritten !== undefined && rewritten !== frame.toHex())
    lines.push(`leaves as ${describeFrame(Uint8Array.fromHex(rewritten))}`);
  for (const { port, text } of result.sends)
    lines.push(`sent out of port ${await session.names.one('port', port)}: ${text}`);
  return `${lines.join('\n')}\n`;
}

function frameOfHex(text: string): Uint8Array {
  const hex = text.replace(/[\s:]/g, '');
  if (!/^([0-9a-f]{2})+$/i.test(hex))
    throw new UsageError('--hex: must be the bytes of a frame in hexadecimal, two digits each');
  return Uint8Array.fromHex(hex);
}

export function addTrace(session: Session, program: Command): void {
  program
    .command('trace')
    .description('what would happen to a frame that enters at a port, and why')
    .helpGroup('Looking:')
    .argument('<port>', 'name or id of the port where the frame enters')
    .argument('[frame]', 'the frame in words, such as "icmp 10.0.0.1 > 10.0.0.2"')
    .option('--hex <bytes>', 'the frame in hexadecimal instead')
    .addOption(outputOption())
    .addHelpText('after', GRAMMAR)
    .action(
      action(session, async ([port = '', ...rest], options) => {
        const hex = options['hex'] as string | undefined;
        const words = rest[0];
        if ((hex === undefined) === (words === undefined))
          throw new UsageError('give the frame either in words or with --hex');
        const frame =
          hex === undefined ? await frameOf(session, port, words ?? '') : frameOfHex(hex);
        const result = await session.io.client.trace({ port, frame: frame.toHex() });
        const format = formatOf(options);
        const text = format === 'table' ? await textOf(session, frame, result) : '';
        print(session.io, format, { value: result, text: () => text });
      }),
    );
}
