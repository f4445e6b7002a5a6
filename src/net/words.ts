/**
 * Reading a line word by word. The first complaint is kept, with the place of the word that it is
 * about; everything after it reads dummies: a parser reads straight on and looks once, at the end,
 * whether its result counts.
 */
import { parseIp, UNSPECIFIED4, UNSPECIFIED6, isIp6, type Ip, type Ip6 } from './ip.ts';
import { parseMac, ZERO_MAC, type Mac } from './mac.ts';

/** Characters in a line; more is refused unread. */
export const LINE_LENGTH_MAX = 1024;

const DECIMAL = /^(?:0|[1-9][0-9]{0,9})$/;
const HEX16 = /^0x[0-9a-fA-F]{4}$/;
const HEX_BYTES = /^(?:[0-9a-fA-F]{2})+$/;

/** What is wrong with a line, and where. */
export interface LineFault {
  /** Names the word, and the rule that it breaks. */
  readonly error: string;
  /** The characters that it is about, from 0; both the line's length: something is missing. */
  readonly start: number;
  readonly end: number;
  /** What may stand there, where the rule does not say it. */
  readonly may?: string;
}

export interface FaultPlace {
  readonly place?: number | undefined;
  readonly may?: string;
}

interface Word {
  readonly text: string;
  readonly start: number;
}

export class Words {
  readonly #words: readonly Word[];
  readonly #length: number;
  #at = 0;
  #fault: LineFault | undefined;

  constructor(line: string) {
    const fits = line.length <= LINE_LENGTH_MAX;
    this.#length = line.trimEnd().length;
    this.#words = fits
      ? Array.from(line.matchAll(/\S+/g), ({ 0: text, index: start }) => ({ text, start }))
      : [];
    if (!fits) this.fail(`the line: must have at most ${LINE_LENGTH_MAX} characters`);
  }

  /** The first complaint. */
  get fault(): LineFault | undefined {
    return this.#fault;
  }

  /** How many words were read: the place of the next one. */
  get place(): number {
    return this.#at;
  }

  /** `place`: of the word that it is about; without, the one read last. */
  fail(message: string, { place = Math.max(this.#at - 1, 0), may }: FaultPlace = {}): void {
    if (this.#fault !== undefined) return;
    const word = this.#words[place];
    const start = word?.start ?? this.#length;
    const end = start + (word?.text.length ?? 0);
    this.#fault = { error: message, start, end, ...(may !== undefined && { may }) };
  }

  /** The next word, left in place; '' at the end. */
  peek(): string {
    return this.#words[this.#at]?.text ?? '';
  }

  /** The next word; a complaint and '' at the end. `what`: what should stand here. */
  next(what: string): string {
    const word = this.peek();
    if (word === '') this.fail(`${what}: missing at the end of the line`, { place: this.#at });
    else this.#at++;
    return word;
  }

  /** Passes `word` if it is the next one. */
  take(word: string): boolean {
    if (this.peek() !== word) return false;
    this.#at++;
    return true;
  }

  expect(word: string): void {
    if (this.take(word)) return;
    const found = this.peek();
    this.fail(
      found === ''
        ? `'${word}': missing at the end of the line`
        : `'${word}': must stand where '${found}' does`,
      { place: this.#at },
    );
  }

  mac(what: string): Mac {
    const word = this.next(what);
    const mac = parseMac(word);
    if (mac === undefined) this.fail(`${what}: must be a MAC address, not '${word}'`);
    return mac ?? ZERO_MAC;
  }

  ip(what: string): Ip {
    const word = this.next(what);
    const ip = parseIp(word);
    if (ip === undefined) this.fail(`${what}: must be an IP address, not '${word}'`);
    return ip ?? UNSPECIFIED4;
  }

  ip6(what: string): Ip6 {
    const ip = this.ip(what);
    if (isIp6(ip)) return ip;
    this.fail(`${what}: must be an IPv6 address`);
    return UNSPECIFIED6;
  }

  /** A decimal number from 0 to `max`. */
  number(what: string, max: number): number {
    return this.#bounded(what, this.next(what), max);
  }

  /** `0x` and four digits. */
  hex16(what: string): number {
    const word = this.next(what);
    if (!HEX16.test(word)) this.fail(`${what}: must be 0x and four digits, not '${word}'`);
    return Number.parseInt(word, 16) || 0;
  }

  /** Pairs of hexadecimal digits, at most `max` bytes. */
  bytes(what: string, max: number): Uint8Array {
    const word = this.next(what);
    if (!HEX_BYTES.test(word)) {
      this.fail(`${what}: must be pairs of hexadecimal digits, not '${word}'`);
      return new Uint8Array(0);
    }
    if (word.length > max * 2) this.fail(`${what}: must be at most ${max} bytes`);
    return Uint8Array.from(word.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  }

  /** `10.0.0.1:53` or `[fd00::1]:53`. */
  endpoint(what: string): { readonly ip: Ip; readonly port: number } {
    const word = this.next(what);
    const colon = word.lastIndexOf(':');
    const host = word.slice(0, Math.max(colon, 0));
    const bracketed = host.startsWith('[') && host.endsWith(']');
    const ip = parseIp(bracketed ? host.slice(1, -1) : host);
    if (ip === undefined || isIp6(ip) !== bracketed) {
      this.fail(`${what}: must be IP:PORT or [IP6]:PORT, not '${word}'`);
      return { ip: UNSPECIFIED4, port: 0 };
    }
    return { ip, port: this.#bounded(`${what} port`, word.slice(colon + 1), 0xffff) };
  }

  #bounded(what: string, word: string, max: number): number {
    const value = DECIMAL.test(word) ? Number(word) : -1;
    if (value >= 0 && value <= max) return value;
    this.fail(`${what}: must be a number from 0 to ${max}, not '${word}'`);
    return 0;
  }
}
