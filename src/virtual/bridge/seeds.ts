/**
 * The seeded addresses of one bridge: which port a MAC is at, and who owns an IP address.
 *
 * Invariant: what it answers depends on the set of seeds only, never on the order in which they
 * came, so that every agent decides alike, also halfway through a change or where two ports claim
 * one address (validation refuses that; if it happens, the port with the lower id has it).
 */
import { isIp6, parseIp, solicitedNode, type Ip, type Ip6 } from '#net/ip.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import type { BridgeId, PortId } from '../ids.ts';
import { seededIpTag, seededMacTag, type Tag } from '../tags.ts';

export interface Owner {
  readonly mac: Mac;
  readonly port: PortId;
}
/** A seed as stored: canonical text. */
export interface SeedText {
  readonly mac: string;
  readonly ip?: string | undefined;
}

const compareOwners = (a: Owner, b: Owner): number =>
  a.port === b.port ? a.mac - b.mac : a.port < b.port ? -1 : 1;

/** Owners by key, best first; nearly always there is one. */
type Owners<Key> = Map<Key, readonly Owner[]>;

function claim<Key>(owners: Owners<Key>, key: Key, owner: Owner): void {
  const now = owners.get(key);
  owners.set(key, now === undefined ? [owner] : [...now, owner].sort(compareOwners));
}

function release<Key>(owners: Owners<Key>, key: Key, owner: Owner): void {
  const now = owners.get(key) ?? [];
  const at = now.findIndex((other) => compareOwners(other, owner) === 0);
  if (at < 0) throw new Error(`seeds: port ${owner.port} does not hold ${String(key)}`);
  if (now.length === 1) owners.delete(key);
  else owners.set(key, now.toSpliced(at, 1));
}

function parseSeed({ mac: macText, ip: ipText }: SeedText): { mac: Mac; ip: Ip | undefined } {
  const mac = parseMac(macText);
  const ip = ipText === undefined ? undefined : parseIp(ipText);
  if (mac === undefined || (ipText !== undefined && ip === undefined))
    throw new Error(`seeds: ${macText} ${ipText ?? ''} is stored but not valid`);
  return { mac, ip };
}

export class SeedTable {
  readonly #macs: Owners<Mac> = new Map();
  readonly #ips: Owners<Ip> = new Map();
  /** How many seeds hold an address of a solicited-node group. */
  readonly #solicited = new Map<Ip6, number>();
  #ip4Seeds = 0;
  #ip6Seeds = 0;

  add(port: PortId, seeds: readonly SeedText[]): void {
    for (const seed of seeds) {
      const { mac, ip } = parseSeed(seed);
      claim(this.#macs, mac, { mac, port });
      if (ip === undefined) continue;
      claim(this.#ips, ip, { mac, port });
      this.#count(ip, 1);
    }
  }

  /** Exactly what was added for the port before. */
  remove(port: PortId, seeds: readonly SeedText[]): void {
    for (const seed of seeds) {
      const { mac, ip } = parseSeed(seed);
      release(this.#macs, mac, { mac, port });
      if (ip === undefined) continue;
      release(this.#ips, ip, { mac, port });
      this.#count(ip, -1);
    }
  }

  #count(ip: Ip, by: 1 | -1): void {
    if (!isIp6(ip)) {
      this.#ip4Seeds += by;
      return;
    }
    this.#ip6Seeds += by;
    const group = solicitedNode(ip);
    const count = (this.#solicited.get(group) ?? 0) + by;
    if (count === 0) this.#solicited.delete(group);
    else this.#solicited.set(group, count);
  }

  port(mac: Mac): PortId | undefined {
    return this.#macs.get(mac)?.[0]?.port;
  }
  owner(ip: Ip): Owner | undefined {
    return this.#ips.get(ip)?.[0];
  }
  hasSolicited(group: Ip6): boolean {
    return this.#solicited.has(group);
  }
  has(family: 4 | 6): boolean {
    return (family === 4 ? this.#ip4Seeds : this.#ip6Seeds) > 0;
  }
}

/** The tags of what differs between two lists of seeds of one port. */
export function seedChangeTags(
  bridge: BridgeId,
  before: readonly SeedText[],
  after: readonly SeedText[],
): Tag[] {
  const macs = new Set<string>();
  for (const { mac } of before) if (!after.some((s) => s.mac === mac)) macs.add(mac);
  for (const { mac } of after) if (!before.some((s) => s.mac === mac)) macs.add(mac);
  const has = (list: readonly SeedText[], seed: SeedText): boolean =>
    list.some((other) => other.mac === seed.mac && other.ip === seed.ip);
  const changed = [
    ...before.filter((s) => !has(after, s)),
    ...after.filter((s) => !has(before, s)),
  ];
  const tags = new Set<Tag>();
  for (const mac of macs) tags.add(seededMacTag(bridge, parseSeed({ mac }).mac));
  for (const seed of changed) {
    const { ip } = parseSeed(seed);
    if (ip === undefined) continue;
    tags.add(seededIpTag(bridge, ip));
    if (isIp6(ip)) tags.add(seededIpTag(bridge, solicitedNode(ip)));
  }
  return [...tags];
}
