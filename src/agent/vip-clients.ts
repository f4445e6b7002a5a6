/**
 * The clients of VIPs that keep their members: who had which, and when it was seen last.
 *
 * Invariants: there is room for a bounded number; a VIP that has more than its share of that makes
 * room by its own clients, seen longest ago first, so one tenant's clients, however many addresses
 * they come from, cannot push out those of another.
 */
import type { Ip } from '#net/ip.ts';
import type { PoolMemberId, VipId } from '#virtual/ids.ts';

export interface VipClient {
  readonly member: PoolMemberId;
  /** Monotonic milliseconds. */
  readonly seenMs: number;
}

export class VipClients {
  readonly #max: number;
  /** Of each VIP, in the order in which they were seen. */
  readonly #vips = new Map<VipId, Map<Ip, VipClient>>();
  #size = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** How many there are, of all VIPs. */
  get size(): number {
    return this.#size;
  }
  of(vip: VipId, client: Ip): VipClient | undefined {
    return this.#vips.get(vip)?.get(client);
  }

  remember(vip: VipId, client: Ip, seen: VipClient): void {
    const own = this.#vips.getOrInsertComputed(vip, () => new Map<Ip, VipClient>());
    if (own.delete(client)) this.#size -= 1;
    own.set(client, seen);
    this.#size += 1;
    if (this.#size > this.#max) this.#makeRoom(own);
  }
  /** Whoever is below its share takes from the VIP that has most: that is looked for seldom. */
  #makeRoom(own: Map<Ip, VipClient>): void {
    let from = own;
    if (own.size <= this.#max / this.#vips.size)
      for (const each of this.#vips.values()) if (each.size > from.size) from = each;
    const [oldest] = from.keys();
    if (oldest !== undefined && from.delete(oldest)) this.#size -= 1;
  }

  /** VIPs that are not any more. */
  keepVips(isThere: (vip: VipId) => boolean): void {
    for (const [vip, { size }] of this.#vips)
      if (!isThere(vip)) {
        this.#vips.delete(vip);
        this.#size -= size;
      }
  }
}
