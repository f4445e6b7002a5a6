/**
 * Frames that several hosts see, as one stream in the order in which they were seen.
 *
 * Invariants: a line is told once, in the order of time among what arrived within HOLD_MS; hosts
 * that fail are named at the end, and the others go on; everything ends with `signal`, with the
 * count, or when no host has more, and then no host is looked at any more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AskOf, PartOf } from '#client/asks.ts';
import type { CapturedFrame, CaptureLine } from '#client/sight.ts';
import { AskFailed, type Asks } from './asks.ts';
import { Refusal } from './problems.ts';

/** How long frames of several hosts are held back, so that they come in the order of time. */
export const HOLD_MS = 250;

export interface Watched {
  readonly host: string;
  readonly title: string;
  readonly ask: AskOf<'sight'>;
}
export interface MergeOptions {
  readonly asks: Asks;
  readonly watched: readonly Watched[];
  /** Hosts that are not asked, and why. */
  readonly left: readonly { readonly host: string; readonly why: string }[];
  readonly caller: string | undefined;
  readonly signal: AbortSignal;
  readonly seconds: number;
  readonly frames: number;
  /** The frame for whoever looks; undefined: it is none of its business. */
  readonly keep: (
    host: string,
    part: Extract<PartOf<'sight'>, { type: 'frame' }>,
  ) => CapturedFrame | undefined;
}

interface Held {
  readonly frame: CapturedFrame;
  readonly arrivedMs: number;
}

export class Merge {
  readonly #options: MergeOptions;
  readonly #stop = new AbortController();
  readonly #lost = new Map<string, number>();
  readonly #missing: { host: string; why: string }[];
  /** In the order of time. */
  readonly #held: Held[] = [];
  readonly #begun = new Set<string>();
  /** A mistake of ours: told to whoever reads, for nobody waits for what follows a host. */
  #bug: { readonly error: unknown } | undefined;
  #running = 0;
  #alive = false;
  #bell = Promise.withResolvers<void>();

  constructor(options: MergeOptions) {
    this.#options = options;
    this.#missing = [...options.left];
  }

  /** First what hosts are looked at; throws a Refusal when none is. */
  async *lines(): AsyncGenerator<CaptureLine> {
    const { watched, signal } = this.#options;
    const either = AbortSignal.any([signal, this.#stop.signal]);
    either.addEventListener('abort', () => this.#bell.resolve(), { once: true });
    try {
      for (const one of watched) void this.#follow(one, either);
      while (!either.aborted && this.#begun.size < watched.length) await this.#rung();
      if (this.#bug !== undefined) throw this.#bug.error;
      const begun = watched.filter(({ title }) => !this.#missing.some((m) => m.host === title));
      if (begun.length === 0) throw this.#refusal();
      yield { type: 'start', hosts: begun.map(({ title }) => title) };
      yield* this.#frames(either);
    } finally {
      this.#stop.abort();
    }
  }

  #refusal(): Refusal {
    const why = this.#missing.map(({ host, why: reason }) => `${host}: ${reason}`).join('; ');
    return new Refusal(503, { detail: why === '' ? 'no host carries it' : why });
  }

  async *#frames(either: AbortSignal): AsyncGenerator<CaptureLine> {
    let frames = 0;
    while (!either.aborted) {
      if (this.#bug !== undefined) throw this.#bug.error;
      for (const frame of this.#due()) {
        yield frame;
        frames += 1;
        if (frames >= this.#options.frames) break;
      }
      if (frames >= this.#options.frames || (this.#running === 0 && this.#held.length === 0)) break;
      if (this.#alive) {
        this.#alive = false;
        yield { type: 'alive' };
      }
      await (this.#held.length === 0
        ? this.#rung()
        : sleep(HOLD_MS / 5, undefined, { signal: either }).catch(() => undefined));
    }
    const lost = [...this.#lost.values()].reduce((sum, n) => sum + n, 0);
    yield { type: 'end', frames, lost, missing: this.#missing };
  }

  async #rung(): Promise<void> {
    await this.#bell.promise;
    this.#bell = Promise.withResolvers<void>();
  }

  /** What need not be held back any longer. */
  *#due(): Generator<CapturedFrame> {
    const now = performance.now();
    const alone = this.#options.watched.length === 1 || this.#running === 0;
    for (;;) {
      const first = this.#held[0];
      if (first === undefined || (!alone && now - first.arrivedMs < HOLD_MS)) return;
      this.#held.shift();
      yield first.frame;
    }
  }

  #hold(frame: CapturedFrame): void {
    const at = this.#held.findLastIndex((one) => one.frame.atMs <= frame.atMs) + 1;
    this.#held.splice(at, 0, { frame, arrivedMs: performance.now() });
  }

  async #follow({ host, title, ask }: Watched, signal: AbortSignal): Promise<void> {
    const { asks, caller, seconds, keep } = this.#options;
    this.#running += 1;
    try {
      const options = { signal, caller, timeoutMs: seconds * 1_000 };
      for await (const part of asks.stream(host, ask, options)) {
        if (part.type === 'count') {
          this.#lost.set(host, part.lost);
          this.#begun.add(title);
          this.#alive = true;
        } else {
          const frame = keep(host, part);
          if (frame !== undefined) this.#hold(frame);
        }
        this.#bell.resolve();
      }
    } catch (error) {
      if (error instanceof AskFailed) this.#missing.push({ host: title, why: error.message });
      else this.#bug ??= { error };
    } finally {
      this.#running -= 1;
      this.#begun.add(title);
      this.#bell.resolve();
    }
  }
}
