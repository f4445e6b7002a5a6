/**
 * Server-sent events from bytes (HTML Living Standard §9.2.6), whatever way the bytes are cut.
 *
 * Invariant: an event is given only when its closing blank line has come; a line is bounded.
 */

export interface ServerSentEvent {
  readonly event: string;
  readonly data: string;
  readonly id?: string;
}

/** A snapshot is one line; longer ones end the stream with an error. */
export const LINE_CHARACTERS_MAX = 256 * 1024 * 1024;

/** Lines of text, ended by LF, CR or CR LF. */
export class LineSplitter {
  readonly #decoder = new TextDecoder();
  #parts: string[] = [];
  #length = 0;
  #afterCr = false;

  /** The lines that these bytes complete. Throws when a line grows beyond its limit. */
  push(bytes: Uint8Array): string[] {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === '') return [];
    if (this.#afterCr && text.startsWith('\n')) text = text.slice(1);
    this.#afterCr = text.endsWith('\r');
    const pieces = text.split(/\r\n|\n|\r/);
    const last = pieces.pop() ?? '';
    const lines = pieces.map((piece, i) => (i === 0 ? this.#take(piece) : piece));
    if (last !== '') this.#parts.push(last);
    this.#length += last.length;
    if (this.#length > LINE_CHARACTERS_MAX)
      throw new Error(`a line of the stream is longer than ${LINE_CHARACTERS_MAX} characters`);
    return lines;
  }

  #take(piece: string): string {
    const line = [...this.#parts, piece].join('');
    this.#parts = [];
    this.#length = 0;
    return line;
  }
}

/** Events from lines. */
export class EventParser {
  #event = '';
  #data: string[] = [];
  #id: string | undefined;

  /** The event that this line completes, if any. */
  line(line: string): ServerSentEvent | undefined {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') this.#event = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    return undefined;
  }

  #dispatch(): ServerSentEvent | undefined {
    const data = this.#data;
    const event = this.#event === '' ? 'message' : this.#event;
    this.#data = [];
    this.#event = '';
    if (data.length === 0) return undefined;
    return { event, data: data.join('\n'), ...(this.#id !== undefined && { id: this.#id }) };
  }
}

export interface EventsOptions {
  /** Called for whatever arrives, comments too. */
  readonly onBytes?: () => void;
  /** Ends the events, also where the body does not know of it. */
  readonly signal?: AbortSignal;
}

/** The events of a body; the body is cancelled when its reader stops. */
export async function* events(
  body: ReadableStream<Uint8Array>,
  { onBytes = () => {}, signal }: EventsOptions = {},
): AsyncGenerator<ServerSentEvent> {
  const lines = new LineSplitter();
  const parser = new EventParser();
  const reader = body.getReader();
  const cancel = (): void => void reader.cancel().catch(() => {});
  signal?.addEventListener('abort', cancel);
  if (signal?.aborted === true) cancel();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      for (const line of lines.push(value)) {
        const event = parser.line(line);
        if (event !== undefined) yield event;
      }
    }
  } finally {
    signal?.removeEventListener('abort', cancel);
    cancel();
  }
}
