/**
 * Frames as hosts show them, for the commands that look: as lines, and what is said at the end.
 *
 * Invariant: what was not shown is said, on stderr: frames that were lost, and hosts that showed
 * none.
 */
import type { Command } from 'commander';
import { CAPTURE, type CapturedFrame, type CaptureEnd, type CaptureLine } from '#client/sight.ts';
import { decodeFrame } from '#net/frame.ts';
import { completed } from '#net/partial.ts';
import { describeFrame } from '#net/text.ts';
import { count, harmless, styled } from './format.ts';
import { numberOption, type Session } from './session.ts';

export const FILTER_GRAMMAR = `
Filters:
  [tcp|udp|icmp|icmp6|arp|ip|ip6|proto N] [FROM > TO | FROM <> TO]
  FROM and TO are *, an address, a prefix, or one of these with a port; an IPv6 one with a port
  is written [ADDRESS]:PORT. ">" is that way only, "<>" both ways.
`;

/** The bounds of a look, as options. */
export const boundOptions = (command: Command): Command =>
  command
    .addOption(
      numberOption(
        '--count <n>',
        `end after so many frames; default ${CAPTURE.frames.unless}`,
        CAPTURE.frames.most,
      ),
    )
    .addOption(
      numberOption(
        '--seconds <s>',
        `end after so long; default ${CAPTURE.seconds.unless}`,
        CAPTURE.seconds.most,
      ),
    );

/** The bytes that were shown. */
export const bytesOf = ({ frame }: CapturedFrame): Uint8Array => Uint8Array.fromBase64(frame);

/** A payload that is longer is told by its length. */
const PAYLOAD_SHOWN_DIGITS = 32;
const PAYLOAD = / data ([0-9a-f]+)/;

/** The frame in words. What its sender left to the interface (a checksum) is filled in. */
export function frameText(captured: CapturedFrame): string {
  const bytes = bytesOf(captured);
  const decoded = decodeFrame(bytes);
  const text = describeFrame(decoded === undefined ? bytes : completed(bytes, decoded));
  return text.replace(PAYLOAD, (said, hex: string) =>
    hex.length > PAYLOAD_SHOWN_DIGITS ? ` length ${hex.length / 2}` : said,
  );
}

/** Seconds since the first frame. */
export class Since {
  #firstMs: number | undefined;

  text({ atMs }: CapturedFrame): string {
    this.#firstMs ??= atMs;
    return ((atMs - this.#firstMs) / 1_000).toFixed(6);
  }
}

/** Hands out frames until the end, which is answered; undefined when the caller stops first. */
export async function eachFrame(
  session: Session,
  lines: AsyncIterable<CaptureLine>,
  take: (frame: CapturedFrame) => void,
): Promise<CaptureEnd | undefined> {
  const { io } = session;
  for await (const line of lines) {
    if (line.type === 'start')
      io.err(
        `${styled(io, 'dim', 'note:')} looking at ${line.hosts.map(harmless).join(', ')}; ` +
          'interrupt to end\n',
      );
    if (line.type === 'frame') take(line);
    if (line.type === 'end') return line;
  }
  return undefined;
}

/** What was seen, and what was not. */
export function tellEnd({ io }: Session, end: CaptureEnd | undefined, frames: number): void {
  const lost = end?.lost ?? 0;
  const more = lost === 0 ? '' : `; ${lost} more were not shown: more came than a look may take`;
  io.err(`${styled(io, 'dim', 'note:')} ${count(frames, 'frame')}${more}\n`);
  for (const { host, why } of end?.missing ?? [])
    io.err(`${styled(io, 'yellow', 'note:')} without ${harmless(host)}: ${harmless(why)}\n`);
}

/** Where a run without a signal is never interrupted. */
export const never: AbortSignal = new AbortController().signal;
