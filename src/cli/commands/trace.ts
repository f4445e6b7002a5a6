/**
 * `mn trace`: what would happen to a frame that enters at a port, and why, without sending it. The
 * text of a frame may leave its MACs out: they are those seeded for its addresses, as a workload
 * would use them.
 */
import type { Command } from 'commander';
import { formatIp, parseIp } from '#net/ip.ts';
import { formatMac, type Mac, parseMac } from '#net/mac.ts';
import { describeFrame, parseFrameText } from '#net/text.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { print } from '../format.ts';
import { UsageError } from '../io.ts';
import { action, formatOf, outputOption, type Session } from '../session.ts';

type Port = ObjectOf<'port'>;
const GRAMMAR = `
Frames:
  [MAC > MAC] [vlan N] and one of
    arp who-has IP tell IP           arp reply IP is-at MAC [to IP]
    icmp IP > IP [echo|reply] [id N] [seq N]      (icmp6 likewise)
    udp IP:PORT > IP:PORT            tcp IP:PORT > IP:PORT [syn|ack|fin|rst]
    ns IP6 for IP6                   na IP6 is-at MAC to IP6
    type 0xNNNN
  then [ttl N] [length N | data HEX]. IPv6 with a port is written [ADDRESS]:PORT.
  MACs left out are those seeded for the addresses.

Examples:
  mn trace vm1 "icmp 10.0.0.1 > 10.0.0.2"
  mn trace vm1 "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.2 tell 10.0.0.1"
`;

/** The addresses of a frame's text, `from` and `to`, in canonical form where they can be read. */
export function addressesOf(text: string): { readonly from?: string; readonly to?: string } {
  const canonical = (word: string | undefined): string | undefined => {
    const bare = word?.replace(/^\[(.*)\](:\d+)?$/, '$1') ?? '';
    const address = parseIp(bare) ?? parseIp(bare.replace(/:\d+$/, ''));
    return address === undefined ? undefined : formatIp(address);
  };
  const words = text.trim().split(/\s+/);
  for (const [i, word] of words.entries()) {
    const from = canonical(words[i - 1]);
    const to = canonical(words[i + 1]);
    if (word === '>' && from !== undefined && to !== undefined) return { from, to };
    if (word === 'tell' && to !== undefined) return { from: to };
  }
  return {};
}

const seededMac = (ports: readonly Port[], ip: string | undefined): Mac | undefined => {
  if (ip === undefined) return undefined;
  const seed = ports.flatMap((port) => port.addresses).find((held) => held.ip === ip);
  return seed === undefined ? undefined : parseMac(seed.mac);
};

/**
 * The frame's bytes; MACs that the text leaves out come from the seeds of the port and its bridge.
 */
async function frameOf(session: Session, name: string, text: string): Promise<Uint8Array> {
  const { client } = session.io;
  const port = (await client.get('port', name)) as unknown as Port;
  const { from, to } = addressesOf(text);
  const first = port.addresses[0];
  const src = seededMac([port], from) ?? (first === undefined ? undefined : parseMac(first.mac));
  const neighbours =
    to === undefined
      ? []
      : ((await client.listAll('port', { bridge: port.bridge })) as unknown as Port[]);
  const dst = seededMac(neighbours, to);
  const frame = parseFrameText(text, {
    ...(src === undefined ? {} : { src }),
    ...(dst === undefined ? {} : { dst }),
  });
  if (frame instanceof Uint8Array) return frame;
  const known =
    src === undefined ? `port ${port.name} has no seeded address` : `source ${formatMac(src)}`;
  throw new UsageError(
    `frame: ${frame.error}`,
    `Write the MACs in front (MAC > MAC …; ${known}), or see: mn trace --help`,
  );
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
        print(session.io, formatOf(options), {
          value: result,
          text: () => `${[describeFrame(frame), ...result.lines].join('\n')}\n`,
        });
      }),
    );
}
