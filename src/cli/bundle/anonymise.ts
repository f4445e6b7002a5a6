/**
 * Names, addresses and MACs replaced by others, the same by the same everywhere: who reads a bundle
 * can follow a port through all of it and learns nothing of whose it is. Ids stay: they were made
 * at random.
 *
 * Invariants: what was replaced once is replaced alike from then on; two that differ stay
 * different; lengths of prefixes, groups and broadcast stay what they are.
 */
const MAC = /\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b/gi;
const IP4 = /(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\.\d)/g;
/** With at least two colons, and not a MAC: what is one already has been replaced. */
const IP6 = /(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])/gi;
/** Said by everybody, and of nobody. */
const KEPT_MAC = /^(?:ff:ff:ff:ff:ff:ff|00:00:00:00:00:00|33:33:|01:00:5e|01:80:c2)/i;
const KEPT_IP4 = /^(?:0\.0\.0\.0|255\.255\.255\.255|127\.|22[4-9]\.|23\d\.)/;
const KEPT_IP6 = /^(?:::1?$|ff|:+$)/i;
/** Values that are words of the product, and never a name even if something is called so. */
const WORDS = new Set(['', 'true', 'false', 'null', 'bridge', 'router', 'port', 'host', 'api']);

/** What replaces the `n`-th of its sort. RFC 2544 and RFC 3849 keep these for no network. */
const mac = (n: number): string => {
  const bytes = [0x02, 0, (n >> 24) & 0xff, (n >> 16) & 0xff, (n >> 8) & 0xff, n & 0xff];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
};
const ip4 = (n: number): string => `198.${18 + ((n >> 16) & 1)}.${(n >> 8) & 0xff}.${n & 0xff}`;
const ip6 = (n: number): string =>
  `2001:db8::${(n >> 16).toString(16)}:${(n & 0xffff).toString(16)}`;

export class Anonymous {
  readonly #replaced = new Map<string, string>();
  readonly #counts = new Map<string, number>();
  /** Names that were announced, longest first, as one expression. */
  #names: RegExp | undefined;

  /** Announces a name: it is replaced wherever it stands as a word of its own. */
  name(sort: string, name: string | undefined): void {
    if (name === undefined || WORDS.has(name) || this.#replaced.has(name)) return;
    this.#replaced.set(name, `${sort}-${this.#next(sort)}`);
    this.#names = undefined;
  }

  /** The text with everything replaced; of a text that was replaced already it makes another. */
  text(text: string): string {
    this.#names ??= expressionOf([...this.#replaced.keys()]);
    const known = (found: string): string => this.#replaced.get(found) ?? found;
    return this.#named(text, known)
      .replace(MAC, (found) => this.#address(found.toLowerCase(), 'mac', KEPT_MAC, mac))
      .replace(IP4, (found) => this.#address(found, 'ip4', KEPT_IP4, ip4))
      .replace(IP6, (found) =>
        // Times of day, and MACs, have two colons too.
        /^\d\d:\d\d:\d\d$/.test(found) || /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i.test(found)
          ? found
          : this.#address(found.toLowerCase(), 'ip6', KEPT_IP6, ip6),
      );
  }
  #named(text: string, known: (found: string) => string): string {
    return this.#names === undefined ? text : text.replace(this.#names, known);
  }

  #address(found: string, sort: string, kept: RegExp, make: (n: number) => string): string {
    if (kept.test(found)) return found;
    const key = `${sort} ${found}`;
    const known = this.#replaced.get(key);
    if (known !== undefined) return known;
    const made = make(this.#next(sort));
    this.#replaced.set(key, made);
    return made;
  }

  #next(sort: string): number {
    const n = (this.#counts.get(sort) ?? 0) + 1;
    this.#counts.set(sort, n);
    return n;
  }
}

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
function expressionOf(names: readonly string[]): RegExp | undefined {
  const words = names.filter((name) => !/^(?:mac|ip4|ip6) /.test(name));
  if (words.length === 0) return undefined;
  const longest = words.toSorted((a, b) => b.length - a.length).map(escaped);
  // A name is no part of a longer word, and no field of JSON: those are the product's own.
  return new RegExp(`(?<![\\w.-])(?:${longest.join('|')})(?![\\w.-]*\\w)(?!"\\s*:)`, 'g');
}
