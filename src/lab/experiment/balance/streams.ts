/** One iperf3 stream after another through a VIP, for as long as it is wanted. */
import { run } from '#os/run.ts';
import { isListening } from '../../demo/iperf.ts';
import type { Lab } from '../../lab.ts';
import { inside, start, until } from '../../processes.ts';
import { STREAMS, VIPS, type ClientName } from './network.ts';

const LISTEN_MS = 10_000;
const SECONDS = 6;
const MBIT = 100;
const SLACK_MS = 60_000;
/** A run has opened all of its connections by then, and goes on for as long at least. */
const SETTLED_MS = 1_500;

export async function serveStreams(lab: Lab): Promise<void> {
  const { port } = VIPS.stream;
  for (const part of STREAMS) {
    const command = ['iperf3', '--server', '--port', `${port}`];
    const server = start({ lab: lab.name, part, name: `iperf3-${part}`, command });
    await until(`iperf3 in ${part} listens`, LISTEN_MS, () => isListening(server, port));
  }
}

export class Streams {
  readonly #lab: Lab;
  readonly #from: ClientName;
  #ending = false;
  #sinceMs = 0;
  #loop: Promise<void> | undefined;
  runs = 0;
  bytes = 0;
  /** What runs complained of. */
  readonly failures: string[] = [];

  constructor(lab: Lab, from: ClientName) {
    this.#lab = lab;
    this.#from = from;
  }

  begin(): void {
    this.#loop = this.#repeat();
    this.#loop.catch(() => {}); // Awaited by `end`.
  }
  /** After the run that is under way. */
  async end(): Promise<void> {
    this.#ending = true;
    await this.#loop;
  }
  /** Comes when a run has all of its connections, and time left. */
  async amidst(): Promise<void> {
    await until('a stream is under way', SLACK_MS, () => {
      const age = Date.now() - this.#sinceMs;
      return age > SETTLED_MS && age < SECONDS * 1_000 - SETTLED_MS;
    });
  }

  async #repeat(): Promise<void> {
    const { address, port } = VIPS.stream;
    const command = ['iperf3', '--client', address, '--port', `${port}`, '--json'];
    const how = ['--time', `${SECONDS}`, '--bitrate', `${MBIT}M`];
    const [program = '', ...args] = inside(this.#lab.name, this.#from, [...command, ...how]);
    while (!this.#ending) {
      this.#sinceMs = Date.now();
      const { stdout } = await run(program, args, { deadlineMs: SECONDS * 1_000 + SLACK_MS });
      const { error, bytes } = readIperf(stdout);
      this.runs += 1;
      this.bytes += bytes;
      if (error !== undefined) this.failures.push(error);
    }
  }
}

/** Bytes that arrived, and what iperf3 complained of. */
export function readIperf(text: string): { error: string | undefined; bytes: number } {
  try {
    const said = JSON.parse(text) as {
      readonly error?: string;
      readonly end?: { readonly sum_received?: { readonly bytes?: number } };
    };
    const bytes = said.end?.sum_received?.bytes ?? 0;
    return { error: said.error ?? (bytes === 0 ? 'nothing arrived' : undefined), bytes };
  } catch {
    return { error: 'no answer', bytes: 0 };
  }
}
