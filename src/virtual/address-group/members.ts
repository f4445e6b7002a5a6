/**
 * The members of an address group as the walk asks for them: by length of prefix, so that an answer
 * costs one look for each length there is, however many members.
 *
 * Invariant: holds exactly the members that came and did not go.
 */
import { parseIp, type Ip } from '#net/ip.ts';
import { bitsOf, networkOf, parsePrefix, type Prefix } from '#net/prefix.ts';

/** An address is the prefix that holds nothing else. */
export function memberPrefix(text: string): Prefix {
  const address = parseIp(text);
  const prefix = address === undefined ? parsePrefix(text) : { address, length: bitsOf(address) };
  if (prefix === undefined) throw new Error(`address group: ${text} is stored but not valid`);
  return prefix;
}

export class AddressMembers {
  /** Networks by family and length of their prefix. */
  readonly #byLength = { 32: new Map<number, Set<Ip>>(), 128: new Map<number, Set<Ip>>() };

  add({ address, length }: Prefix): void {
    this.#lengths(address)
      .getOrInsertComputed(length, () => new Set())
      .add(address);
  }
  remove({ address, length }: Prefix): void {
    const lengths = this.#lengths(address);
    const networks = lengths.get(length);
    networks?.delete(address);
    if (networks?.size === 0) lengths.delete(length);
  }
  has(ip: Ip): boolean {
    for (const [length, networks] of this.#lengths(ip))
      if (networks.has(networkOf(ip, length))) return true;
    return false;
  }

  #lengths(ip: Ip): Map<number, Set<Ip>> {
    return this.#byLength[bitsOf(ip) as 32 | 128];
  }
}
