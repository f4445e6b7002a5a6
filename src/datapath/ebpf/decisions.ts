/**
 * For tests: what the programs say they decided, frame by frame. `decide.h` writes it, in a variant
 * of the programs that only tests load; the object that is committed has nothing of it.
 *
 * Invariant: what belongs to one frame is together, whatever runs on other CPUs meanwhile: a frame
 * is served by one CPU from its entry on, copies that go through the private veth too.
 */
import { createMap, MAP_TYPE } from '#os/bpf.ts';
import { closeFd } from '#os/libc.ts';
import { Ring } from '#os/ring.ts';
import { compileObject, hasCompiler } from './build.ts';
import type { ProgramVariant } from './programs.ts';

const RING_BYTES = 1 << 22;
const RECORDS_MAX = 1 << 20;
/** As in `decide.h`. */
const WHAT = { enter: 1, hit: 2, up: 3, drop: 4, out: 5 } as const;
const INJECT = 3;

/** What became of a frame, in words that are sorted and compared. */
export type Decision = string[];

export const outText = (ifindex: number, key: number, remote: number): string =>
  ifindex === 0 ? `out tunnel ${key} ${remote}` : `out ${ifindex}`;

interface Running {
  id: number;
  /** The next entry is that of a copy, sent through the private veth. */
  nested: boolean;
}

export class Decisions implements Disposable {
  readonly variant: ProgramVariant;
  readonly #fd: number;
  readonly #ring: Ring;
  readonly #running = new Map<number, Running>();

  /** Undefined without the compiler: then only frames, keys and counters can be compared. */
  static open(): Decisions | undefined {
    return hasCompiler() ? new Decisions() : undefined;
  }

  constructor() {
    this.#fd = createMap({
      name: 'decisions',
      type: MAP_TYPE.ringbuf,
      keySize: 0,
      valueSize: 0,
      entries: RING_BYTES,
    });
    this.#ring = new Ring(this.#fd, RING_BYTES);
    this.variant = { object: compileObject(['DECISIONS']), maps: { decisions: this.#fd } };
  }

  /**
   * Adds what was decided since the last call, by the low four bytes of the source MAC with which a
   * frame entered. `slots`: those of flows; that others served a frame is not told.
   */
  drain(into: Map<number, Decision>, slots: number, inject: number): void {
    const { view } = this.#ring;
    this.#ring.drain((at) => {
      const head = view.getUint32(at, true);
      const [a, b, c] = [4, 8, 12].map((offset) => view.getUint32(at + offset, true));
      const cpu = head >>> 8;
      let run = this.#running.get(cpu);
      if (run === undefined) this.#running.set(cpu, (run = { id: 0, nested: false }));
      this.#take(into, run, { what: head & 0xff, a: a!, b: b!, c: c! }, { slots, inject });
    }, RECORDS_MAX);
  }

  #take(
    into: Map<number, Decision>,
    run: Running,
    { what, a, b, c }: { what: number; a: number; b: number; c: number },
    { slots, inject }: { slots: number; inject: number },
  ): void {
    if (what === WHAT.enter) {
      if (!(run.nested && a === INJECT)) {
        run.id = swap(b);
        if (!into.has(run.id)) into.set(run.id, []);
      }
      run.nested = false;
      return;
    }
    const words = into.get(run.id);
    if (words === undefined) throw new Error('a decision about no frame');
    if (what === WHAT.out && a === inject) run.nested = true;
    else if (what === WHAT.out) words.push(outText(a, b, c));
    else if (what === WHAT.drop) words.push(`drop ${a}`);
    else if (what === WHAT.up) words.push(`up ${a}`);
    else if (a < slots) words.push(`hit ${a}`);
  }

  [Symbol.dispose](): void {
    this.#ring.close();
    closeFd(this.#fd);
  }
}

/** From the order of the network to this machine's. */
const swap = (word: number): number =>
  ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
