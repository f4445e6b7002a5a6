/**
 * The addresses that secured ports of one bridge may send from, by address: nobody else of the
 * bridge may. Prefixes are not among them: they allow, but keep nobody out.
 *
 * Invariant: what it answers depends on the set of ports only, never on the order in which they
 * came.
 */
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { PortId } from '../ids.ts';
import { familyOf, type AllowedSources } from '../port/allowed.ts';
import { seededIpTag, seededMacTag, type Tag } from '../tags.ts';
import type { PortView } from '../view.ts';

type Ports<Key> = Map<Key, Set<PortId>>;

function add<Key>(ports: Ports<Key>, key: Key, port: PortId): void {
  const now = ports.get(key);
  if (now === undefined) ports.set(key, new Set([port]));
  else now.add(port);
}
function remove<Key>(ports: Ports<Key>, key: Key, port: PortId): void {
  const now = ports.get(key);
  now?.delete(port);
  if (now?.size === 0) ports.delete(key);
}

export class SecuredTable {
  readonly #macs: Ports<Mac> = new Map();
  readonly #ips: Ports<Ip> = new Map();
  /** How many addresses of each family there are. */
  readonly #families = { 4: 0, 6: 0 };

  add(port: PortId, { macs, ips }: AllowedSources): void {
    for (const mac of macs) add(this.#macs, mac, port);
    for (const ip of ips) {
      add(this.#ips, ip, port);
      this.#families[familyOf(ip)]++;
    }
  }
  /** Exactly what was added for the port before. */
  remove(port: PortId, { macs, ips }: AllowedSources): void {
    for (const mac of macs) remove(this.#macs, mac, port);
    for (const ip of ips) {
      remove(this.#ips, ip, port);
      this.#families[familyOf(ip)]--;
    }
  }

  mac(mac: Mac): ReadonlySet<PortId> | undefined {
    return this.#macs.get(mac);
  }
  ip(ip: Ip): ReadonlySet<PortId> | undefined {
    return this.#ips.get(ip);
  }
  get any(): boolean {
    return this.#macs.size > 0;
  }
  has(family: 4 | 6): boolean {
    return this.#families[family] > 0;
  }
}

/** The tags of what a port secured, or secures, and not both. */
export function securedTags(before: PortView | undefined, after: PortView | undefined): Tag[] {
  const [was, is] = [securedBy(before), securedBy(after)];
  return [...new Set(was).symmetricDifference(new Set(is))];
}
function securedBy(view: PortView | undefined): Tag[] {
  if (view?.type !== 'bridge' || view.allowed === undefined) return [];
  const { bridge, allowed } = view;
  const macs = Array.from(allowed.macs, (mac) => seededMacTag(bridge, mac));
  return [...macs, ...Array.from(allowed.ips, (ip) => seededIpTag(bridge, ip))];
}
