/**
 * State that lapses: liveness and learning, in memory, in one sequence.
 *
 * Invariants: "last" is the order of the calls, never a writer's clock; a watcher starts with all
 * there is and then sees every change in that order; time in which nothing was served does not age
 * an entry. A watcher that does not read is told Compacted when LEASED_EVENTS_WAITING_MAX changes
 * wait for it.
 */
import { type Clock, ServingTime, TICK_MS } from './clock.ts';
import { Compacted, STORE_LIMITS, TooLarge } from './store.ts';
import type { Leased, LeasedEntry, LeasedEvent } from './store.ts';

/** Changes of leased entries that may wait for one watcher; more, and it starts anew. */
export const LEASED_EVENTS_WAITING_MAX = 100_000;

interface Held extends LeasedEntry {
  /** The tick of served time at whose end it lapses. */
  readonly tick: number;
}
interface Watcher {
  readonly prefix: string;
  waiting: LeasedEvent[];
  overflown: boolean;
  wake: () => void;
}

/** Leases without a store: `close` ends its watchers and its timer. `keysMax` for tests. */
export class LeasedMemory implements Leased {
  readonly #entries = new Map<string, Held>();
  readonly #byTick = new Map<number, Set<string>>();
  readonly #watchers = new Set<Watcher>();
  readonly #time: ServingTime;
  readonly #keysMax: number;
  #sweptTick = 0;
  #closed = false;

  constructor(clock: Clock, keysMax: number = STORE_LIMITS.leasedKeysMax) {
    this.#keysMax = keysMax;
    this.#time = new ServingTime(clock, () => this.#sweep());
  }

  async put(entries: readonly LeasedEntry[], ttlMs: number): Promise<void> {
    this.#sweep();
    const fresh = new Set(entries.map(({ key }) => key).filter((key) => !this.#entries.has(key)));
    if (this.#entries.size + fresh.size > this.#keysMax)
      throw new TooLarge(`more than ${this.#keysMax} leased keys`);
    const tick = Math.ceil((this.#time.now() + ttlMs) / TICK_MS);
    const events: LeasedEvent[] = [];
    for (const { key, value, owner } of entries) {
      const held = this.#entries.get(key);
      if (held !== undefined) this.#byTick.get(held.tick)?.delete(key);
      this.#entries.set(key, { key, value, owner, tick });
      let due = this.#byTick.get(tick);
      if (due === undefined) this.#byTick.set(tick, (due = new Set()));
      due.add(key);
      if (held?.value !== value || held.owner !== owner)
        events.push({ type: 'put', key, value, owner });
    }
    this.#publish(events);
  }

  async delete(owner: string, keys: readonly string[]): Promise<void> {
    this.#sweep();
    this.#publish(keys.flatMap((key) => this.#remove(key, owner)));
  }

  async list(prefix: string): Promise<readonly LeasedEntry[]> {
    this.#sweep();
    const found: LeasedEntry[] = [];
    for (const { key, value, owner } of this.#entries.values())
      if (key.startsWith(prefix)) found.push({ key, value, owner });
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  async *watch(prefix: string, signal: AbortSignal): AsyncGenerator<readonly LeasedEvent[]> {
    const watcher: Watcher = { prefix, waiting: [], overflown: false, wake: () => {} };
    const onAbort = (): void => watcher.wake();
    signal.addEventListener('abort', onAbort);
    try {
      this.#sweep();
      this.#watchers.add(watcher);
      const all: LeasedEvent[] = [];
      for (const { key, value, owner } of this.#entries.values())
        if (key.startsWith(prefix)) all.push({ type: 'put', key, value, owner });
      if (!signal.aborted && !this.#closed) yield all;
      while (!signal.aborted && !this.#closed) {
        if (watcher.overflown)
          throw new Compacted('the watcher of leased keys was too slow: watch again');
        const batch = watcher.waiting;
        watcher.waiting = [];
        if (batch.length > 0) yield batch;
        else await new Promise<void>((resolve) => (watcher.wake = resolve));
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#watchers.delete(watcher);
    }
  }

  close(): void {
    this.#closed = true;
    this.#time.stop();
    for (const watcher of this.#watchers) watcher.wake();
  }

  #remove(key: string, owner: string): LeasedEvent[] {
    const held = this.#entries.get(key);
    if (held === undefined || held.owner !== owner) return [];
    this.#entries.delete(key);
    this.#byTick.get(held.tick)?.delete(key);
    return [{ type: 'delete', key, owner }];
  }

  #sweep(): void {
    const tick = Math.floor(this.#time.now() / TICK_MS);
    const events: LeasedEvent[] = [];
    for (; this.#sweptTick < tick; this.#sweptTick++) {
      const due = this.#byTick.get(this.#sweptTick + 1) ?? [];
      this.#byTick.delete(this.#sweptTick + 1);
      for (const key of due) events.push(...this.#remove(key, this.#entries.get(key)?.owner ?? ''));
    }
    this.#publish(events);
  }

  #publish(events: readonly LeasedEvent[]): void {
    if (events.length === 0) return;
    for (const watcher of this.#watchers) {
      const seen = events.filter(({ key }) => key.startsWith(watcher.prefix));
      if (seen.length === 0 || watcher.overflown) continue;
      if (watcher.waiting.length + seen.length > LEASED_EVENTS_WAITING_MAX) {
        watcher.waiting = [];
        watcher.overflown = true;
      } else watcher.waiting.push(...seen);
      watcher.wake();
    }
  }
}
