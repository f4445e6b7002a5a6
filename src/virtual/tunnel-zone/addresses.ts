/**
 * The addresses by which hosts reach each other, as tunnel zones say them; a part of the topology.
 *
 * Invariant: what is answered depends on the rows that are here, not on the order in which they
 * came.
 */
import { isIp6, parseIp, type Ip } from '#net/ip.ts';
import type { HostId, TunnelZoneId } from '../ids.ts';
import type { ObjectOf } from '../kinds.ts';
import { hostTag, type Tag } from '../tags.ts';

type ZoneRow = ObjectOf<'tunnel-zone'>;

/** Of an address in text; undefined without one. */
const familyOf = (address: string | undefined): 4 | 6 | undefined =>
  address === undefined ? undefined : address.includes(':') ? 6 : 4;

export class TunnelAddresses {
  readonly #zonesOf = new Map<HostId, Map<TunnelZoneId, Ip>>();

  /** The address of `to` in the zone with the lowest id in which both have one of one family. */
  address(from: HostId, to: HostId): Ip | undefined {
    const there = this.#zonesOf.get(to);
    let best: TunnelZoneId | undefined;
    for (const [zone, own] of this.#zonesOf.get(from) ?? []) {
      const other = there?.get(zone);
      if (other === undefined || isIp6(other) !== isIp6(own)) continue;
      if (best === undefined || zone < best) best = zone;
    }
    return best === undefined ? undefined : there?.get(best);
  }

  /**
   * A host that joins, leaves or changes the family of its address changes its own reachability
   * and, seen from it, that of every other member; so whoever asked for an address needs to name
   * only the host it asked for.
   */
  change(before: ZoneRow | undefined, after: ZoneRow | undefined, tags: Set<Tag>): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    const was = new Map(before?.members.map(({ host, address }) => [host, address]));
    const is = new Map(after?.members.map(({ host, address }) => [host, address]));
    const hosts = new Set([...was.keys(), ...is.keys()]);
    let joined = false;
    for (const host of hosts) {
      if (was.get(host) === is.get(host)) continue;
      tags.add(hostTag(host));
      if (familyOf(was.get(host)) !== familyOf(is.get(host))) joined = true;
      const zones = this.#zonesOf.get(host) ?? new Map<TunnelZoneId, Ip>();
      const address = parseIp(is.get(host) ?? '');
      if (address === undefined) zones.delete(id);
      else zones.set(id, address);
      if (zones.size === 0) this.#zonesOf.delete(host);
      else this.#zonesOf.set(host, zones);
    }
    if (joined) for (const host of hosts) tags.add(hostTag(host));
  }
}
