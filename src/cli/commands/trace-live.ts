/**
 * `mn trace --live`: real packets of one flow, and their answers, at every place where a host sees
 * them, in the order of time. What is typed says which packets; a port that is left out is any.
 */
import type { Command } from 'commander';
import type { CapturedFrame } from '#client/sight.ts';
import { parsePacketFilter } from '#net/packet-filter.ts';
import { splitOrigin } from '#net/text.ts';
import { boundOptions, eachFrame, never, Since, tellEnd } from '../captured.ts';
import { harmless, styled } from '../format.ts';
import { UsageError } from '../io.ts';
import { formatOf, type Options, type Session } from '../session.ts';

/** What `mn trace` takes for it. */
export const liveOptions = (command: Command): Command =>
  boundOptions(command.option('--live', 'real packets, and their answers, as hosts see them now'));

/** The packets and the port, from `"PACKET from PORT"` or `PORT "PACKET"`. */
function asked(words: readonly string[]): { readonly port: string; readonly filter: string } {
  const [first = '', second] = words;
  const origin = second === undefined ? splitOrigin(first) : { packet: second, from: first };
  if (origin.from === undefined || origin.from === '')
    throw new UsageError(
      'say which packets, and at which port they enter',
      'For example: mn trace --live "tcp 10.0.0.5 > 10.0.1.7:80 from vm1"',
    );
  // Answers too, whichever way it is written.
  const filter = origin.packet.replace(/ > /, ' <> ');
  const parsed = parsePacketFilter(filter);
  if ('error' in parsed)
    throw new UsageError(
      `packet: ${parsed.error}`,
      'With --live it is [tcp|udp|icmp|…] FROM > TO, with ports or without; see mn capture --help',
    );
  return { port: origin.from, filter };
}

/** `0.000120  h1 port vm1: in, flow h1:17.1 → tunnel to h2` */
function line({ io }: Session, since: Since, frame: CapturedFrame): string {
  const verdict = harmless(frame.verdict);
  const shown = frame.fate === 'dropped' ? styled(io, 'red', verdict) : verdict;
  return `${since.text(frame)}  ${harmless(frame.host)} ${harmless(frame.at)}: ${shown}\n`;
}

/** Follows packets over hosts until the bounds, or the run's signal. */
export async function traceLive(
  session: Session,
  words: readonly string[],
  options: Options,
): Promise<void> {
  const { io } = session;
  const { port, filter } = asked(words);
  const json = formatOf(options) === 'json';
  if (!json && formatOf(options) !== 'table')
    throw new UsageError('--live: writes lines, or with -o json an object a line');
  const [count, seconds] = ['count', 'seconds'].map((name) => options[name] as number | undefined);
  const since = new Since();
  let frames = 0;
  const lines = io.client.traceLive(port, { filter, count, seconds }, io.signal ?? never);
  const end = await eachFrame(session, lines, (frame) => {
    frames += 1;
    io.out(json ? `${JSON.stringify(frame)}\n` : line(session, since, frame));
  });
  tellEnd(session, end, frames);
}
