/** Following leased keys for as long as a signal lasts; a mirror that was too slow starts again. */
import { Compacted } from '#store/store.ts';
import type { Leased, LeasedEvent } from '#store/store.ts';

export interface MirrorOptions {
  readonly prefix: string;
  readonly signal: AbortSignal;
  /** `all`: the events are all there is, whatever was known before. */
  take(events: readonly LeasedEvent[], all: boolean): void;
}

export async function mirror(
  leased: Leased,
  { prefix, signal, take }: MirrorOptions,
): Promise<void> {
  while (!signal.aborted) {
    try {
      let all = true;
      for await (const events of leased.watch(prefix, signal)) {
        take(events, all);
        all = false;
      }
      return;
    } catch (error) {
      if (!(error instanceof Compacted)) throw error;
    }
  }
}
