/**
 * `mn trace`: what would happen to a packet that enters at a port, and why, without sending it. One
 * answer, told in the form that is asked for; programs get all of it.
 */
import { Option, type Command } from 'commander';
import type { TraceLook, TraceResult } from '#client/trace.ts';
import { describeFrame } from '#net/text.ts';
import { print } from '../format.ts';
import { UsageError } from '../io.ts';
import { type Packet, PACKET_GRAMMAR, packetOf } from '../packets.ts';
import { action, formatOf, numberOption, outputOption, type Session } from '../session.ts';
import { liveOptions, traceLive } from './trace-live.ts';

const FORMS = ['minimal', 'detailed', 'summary'] as const;
type Form = (typeof FORMS)[number];

const HELP = `${PACKET_GRAMMAR}
Forms:
  minimal    each step, the verdict, and what is sent because of it
  summary    the devices on the way in one line, and the verdict
  detailed   also what each step read and wrote, which routes there were and why they were taken
             or not, and the flow that would be installed

Examples:
  mn trace "icmp 10.0.1.2 > 10.0.2.2 from vm1"
  mn trace "tcp 10.0.1.2:3333 > 10.0.2.2:80 from vm1" --form detailed
  mn trace "udp 10.0.1.2:1 > 192.0.2.1:2 from vm1" --form summary
  mn trace "icmp 10.0.1.2 > 10.0.2.2 from vm1" --host h1
  mn trace "tcp 10.0.2.2:80 > 10.0.1.2:3333 from vm2" --connection established
  mn trace --live "icmp 10.0.1.2 > 10.0.2.2 from vm1" --seconds 1
  mn trace vm1 "02:00:00:00:01:02 > ff:ff:ff:ff:ff:ff arp who-has 10.0.1.1 tell 10.0.1.2"
`;

/** Behind the steps: how the frame leaves, and what the network itself sends. */
async function effects(session: Session, frame: Uint8Array, result: TraceResult) {
  const lines: string[] = [];
  const { rewritten } = result;
  if (rewritten !== undefined && rewritten !== frame.toHex())
    lines.push(`leaves as ${describeFrame(Uint8Array.fromHex(rewritten))}`);
  for (const { port, text } of result.sends)
    lines.push(`sent out of port ${await session.names.one('port', port)}: ${text}`);
  return lines;
}

function lookLines(looked: readonly TraceLook[]): string[] {
  return looked.flatMap(({ text, routes }) => [
    `    ${text}`,
    ...(routes ?? []).map((route) => `      ${route.text}`),
  ]);
}

function detailed({ steps, looked, looksLeftOut, lines, flow }: TraceResult): string[] {
  const match = flow.match.map(({ field, value }) => `${field}=${value}`).join(' ');
  return [
    ...steps.flatMap((step) => [step.text, ...lookLines(step.looked)]),
    lines.at(-1) ?? '',
    ...lookLines(looked),
    ...(looksLeftOut > 0 ? [`    and ${looksLeftOut} looks more`] : []),
    flow.none === undefined ? 'flow' : `no flow: ${flow.none}`,
    `    match ${match === '' ? 'any frame here' : match}`,
    ...flow.actions.map(({ text }) => `    ${text}`),
  ];
}

/** The answer for people. */
async function textOf(session: Session, form: Form, frame: Uint8Array, result: TraceResult) {
  const head = [describeFrame(frame)];
  const { lines, way } = result;
  if (form === 'summary') {
    head.push(way.map(({ kind, name }) => `${kind} ${name}`).join(' > '), lines.at(-1) ?? '');
  } else {
    head.push(...(form === 'detailed' ? detailed(result) : lines));
    head.push(...(await effects(session, frame, result)));
  }
  return `${head.join('\n')}\n`;
}

function frameOfHex(text: string): Uint8Array {
  const hex = text.replace(/[\s:]/g, '');
  if (!/^([0-9a-f]{2})+$/i.test(hex))
    throw new UsageError('--hex: must be the bytes of a frame in hexadecimal, two digits each');
  return Uint8Array.fromHex(hex);
}

/** `PACKET`, `PORT PACKET`, or `PORT` with `--hex`. */
async function asked(session: Session, words: readonly string[], hex: string | undefined) {
  const [first = '', second] = words;
  if (hex === undefined) {
    if (second !== undefined) return packetOf(session, second, first);
    // One word is no packet: what follows it is missing.
    if (/\s/.test(first)) return packetOf(session, first, undefined);
  } else if (second === undefined) {
    const packet: Packet = { port: first, frame: frameOfHex(hex) };
    return packet;
  }
  throw new UsageError('give the frame either in words or with --hex');
}

export function addTrace(session: Session, program: Command): void {
  liveOptions(program.command('trace'))
    .description('what would happen to a packet that enters at a port, and why')
    .helpGroup('Looking:')
    .argument('<port>', 'where it enters; or all in one: "icmp 10.0.0.1 > 10.0.0.2 from vm1"')
    .argument('[packet]', 'the packet, where the port comes first')
    .option('--hex <bytes>', 'the frame in hexadecimal instead')
    .addOption(new Option('--form <form>', 'how much to tell').choices(FORMS).default(FORMS[0]))
    .option('--host <host>', "by that host's agent, as it would decide now; default: the API")
    .addOption(numberOption('--at <revision>', 'on the topology as it was at that revision'))
    .addOption(
      new Option('--connection <state>', 'of which state its connection is; default: new').choices([
        'new',
        'established',
      ]),
    )
    .addOption(outputOption())
    .addHelpText('after', HELP)
    .action(
      action(session, async (words, options) => {
        if (options['live'] === true) return traceLive(session, words, options);
        const { port, frame } = await asked(session, words, options['hex'] as string | undefined);
        const host = options['host'] as string | undefined;
        const at = options['at'] as number | undefined;
        const connection = options['connection'] as 'new' | 'established' | undefined;
        const result = await session.io.client.trace({
          port,
          frame: frame.toHex(),
          ...(host !== undefined && { host }),
          ...(at !== undefined && { at }),
          ...(connection !== undefined && { connection }),
        });
        const format = formatOf(options);
        const form = options['form'] as Form;
        const text = format === 'table' ? await textOf(session, form, frame, result) : '';
        print(session.io, format, { value: result, text: () => text });
      }),
    );
}
