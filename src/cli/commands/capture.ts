/**
 * `mn capture`: frames that enter and leave by a port, from the datapath of the host that carries
 * it, with what became of each; as lines, or as a pcapng file whose comments say it.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { CAPTURE, type CapturedFrame } from '#client/sight.ts';
import { pcapngFrame, pcapngHeader } from '#net/pcapng.ts';
import {
  boundOptions,
  bytesOf,
  eachFrame,
  FILTER_GRAMMAR,
  frameText,
  never,
  Since,
  tellEnd,
} from '../captured.ts';
import { examples } from '../examples.ts';
import { harmless, styled } from '../format.ts';
import { UsageError } from '../io.ts';
import { action, numberOption, type Session } from '../session.ts';

const STDOUT = '/dev/stdout';
const encoder = new TextEncoder();

/** A file that frames are appended to, each as it comes. */
class CaptureFile {
  readonly #fd: number;

  /** Throws UsageError when it cannot be made. */
  constructor(path: string, header: Uint8Array) {
    try {
      this.#fd = openSync(path === '-' ? STDOUT : path, 'w');
    } catch (error) {
      throw new UsageError(`--write: ${(error as Error).message}`);
    }
    this.append(header);
  }
  append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at);
  }
  close(): void {
    closeSync(this.#fd);
  }
}

const directionOf = ({ where }: CapturedFrame): 'in' | 'out' => (where === 'out' ? 'out' : 'in');

/** `0.000120 in  icmp 10.0.1.2 > 10.0.2.2 …  flow h1:17.1 → tunnel to h2` */
function line({ io }: Session, since: Since, frame: CapturedFrame): string {
  const verdict = harmless(frame.verdict.replace(/^(in|out)(, )?/, ''));
  const shown = frame.fate === 'dropped' ? styled(io, 'red', verdict) : verdict;
  const head = `${since.text(frame)} ${directionOf(frame).padEnd(3)}  ${frameText(frame)}`;
  return `${verdict === '' ? head : `${head}  ${shown}`}\n`;
}

export function addCapture(session: Session, program: Command): void {
  const command = program
    .command('capture')
    .description('frames that enter and leave by a port, and what became of each')
    .helpGroup('Looking:')
    .argument('<port>', 'name or id of the port')
    .option('-w, --write <file>', 'to a pcapng file instead of lines; - is standard output')
    .option('--filter <filter>', 'only these packets')
    .addOption(
      numberOption(
        '--snaplen <bytes>',
        `so many bytes of each frame; default ${CAPTURE.snapBytes.unless}`,
        CAPTURE.snapBytes.most,
      ),
    )
    .addOption(
      new Option('-o, --output <format>', 'lines for people, or one JSON object a line')
        .choices(['table', 'json'])
        .default('table'),
    );
  boundOptions(command).addHelpText('after', FILTER_GRAMMAR);
  examples(command, [
    'mn capture vm1 --seconds 1',
    'mn capture vm1 --seconds 1 -w vm1.pcapng',
    'mn capture vm1 --seconds 1 --filter "tcp 10.0.1.2 <> 10.0.2.2:80"',
    'mn capture vm1 --seconds 1 --filter arp --count 5 -o json',
    'mn capture vm9 --seconds 1   # exit 1: there is no such port',
  ]);
  command.action(
    action(session, async ([port = ''], options) => {
      const { io } = session;
      const given = (name: string): number | undefined => options[name] as number | undefined;
      const snaplen = given('snaplen');
      const path = options['write'] as string | undefined;
      const query = {
        filter: options['filter'] as string | undefined,
        count: given('count'),
        seconds: given('seconds'),
        snaplen,
      };
      const snapLength = snaplen ?? CAPTURE.snapBytes.unless;
      const application = encoder.encode(`mn ${io.version ?? ''}`.trim());
      const header = pcapngHeader({ application, name: encoder.encode(port), snapLength });
      const since = new Since();
      let file: CaptureFile | undefined;
      let frames = 0;
      const take = (frame: CapturedFrame): void => {
        frames += 1;
        if (file !== undefined) file.append(recordOf(frame));
        else if (options['output'] === 'json') io.out(`${JSON.stringify(frame)}\n`);
        else io.out(line(session, since, frame));
      };
      try {
        if (path !== undefined) file = new CaptureFile(path, header);
        const lines = io.client.capture(port, query, io.signal ?? never);
        const end = await eachFrame(session, lines, take);
        tellEnd(session, end, frames);
      } finally {
        file?.close();
      }
    }),
  );
}

const recordOf = (frame: CapturedFrame): Uint8Array =>
  pcapngFrame({
    atMs: frame.atMs,
    frame: bytesOf(frame),
    originalLength: frame.length,
    comment: encoder.encode(frame.verdict),
    direction: directionOf(frame),
  });
