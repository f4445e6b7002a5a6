/**
 * One server-sent event stream: what waits for a reader, bounded.
 *
 * Invariant: everything pushed arrives in order or the stream ends. A reader for whom more than
 * STREAM_BYTES_WAITING_MAX wait is cut off; it comes back and resumes. What waits leaves in one
 * write.
 */
import type { WatchEvent } from '#client/types.ts';

/** What may wait for a slow reader of a stream before it is cut off; it resumes. */
export const STREAM_BYTES_WAITING_MAX = 16 * 1024 * 1024;
const encoder = new TextEncoder();

/** HTML Living Standard §9.2.6: `data` holds no line break, because JSON text has none. */
export function encodeEvent(event: WatchEvent, id?: number): Uint8Array {
  const head = id === undefined ? '' : `id: ${id}\n`;
  return encoder.encode(`${head}event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
}
export const RESET = encoder.encode('event: reset\ndata: {}\n\n');
const KEEP_ALIVE = encoder.encode(': keep-alive\n\n');

export interface StreamOptions {
  /** Asked before each write: what must close the batch, if anything. */
  last(): Uint8Array | undefined;
  /** The reader went away, or was cut off. */
  ended(why: 'gone' | 'slow' | 'closed'): void;
}

export class EventStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #options: StreamOptions;
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  #bytesMax = STREAM_BYTES_WAITING_MAX;
  #over = false;
  #wake: () => void = () => {};

  constructor(options: StreamOptions) {
    this.#options = options;
    this.body = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => this.#pull(controller),
        cancel: () => this.#end('gone'),
      },
      { highWaterMark: 0 },
    );
  }

  get over(): boolean {
    return this.#over;
  }

  /** What a stream starts with is not held against its reader. */
  start(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) this.#bytesMax += chunk.length;
    this.push(...chunks);
  }

  push(...chunks: readonly Uint8Array[]): void {
    if (this.#over) return;
    for (const chunk of chunks) {
      this.#waiting.push(chunk);
      this.#bytes += chunk.length;
    }
    if (this.#bytes > this.#bytesMax) this.#end('slow');
    this.#wake();
  }
  /** Something may be due although nothing was pushed. */
  nudge(): void {
    this.#wake();
  }
  keepAlive(): void {
    if (this.#waiting.length === 0) this.push(KEEP_ALIVE);
  }
  close(): void {
    this.#end('closed');
    this.#wake();
  }

  #end(why: 'gone' | 'slow' | 'closed'): void {
    if (this.#over) return;
    this.#over = true;
    if (why !== 'closed') this.#waiting = [];
    this.#options.ended(why);
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    for (;;) {
      const last = this.#over ? undefined : this.#options.last();
      if (last !== undefined) this.#waiting.push(last);
      if (this.#waiting.length > 0) {
        const [only] = this.#waiting;
        const batch = this.#waiting.length === 1 ? only : Buffer.concat(this.#waiting);
        this.#waiting = [];
        this.#bytes = 0;
        this.#bytesMax = STREAM_BYTES_WAITING_MAX;
        if (batch !== undefined) controller.enqueue(batch);
        return;
      }
      if (this.#over) return controller.close();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
