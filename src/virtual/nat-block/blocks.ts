/** Who owns which public ports; a part of the topology. */
import { parseIp, type Ip } from '#net/ip.ts';
import type { HostId, RouterId } from '../ids.ts';
import type { ObjectOf } from '../kinds.ts';
import { publicPortsTag, type Tag } from '../tags.ts';

type NatBlockRow = ObjectOf<'nat-block'>;

/** A block, as numbers. */
export interface OwnedPorts {
  readonly id: string;
  readonly host: HostId;
  readonly first: number;
  readonly last: number;
}
const NONE: readonly OwnedPorts[] = [];

const keyOf = (router: string, address: Ip): string => `${router}/${address}`;
const addressOf = ({ address }: NatBlockRow): Ip => {
  const ip = parseIp(address);
  if (ip === undefined) throw new Error(`nat block: ${address} is stored but not valid`);
  return ip;
};

export class NatBlocks {
  readonly #byAddress = new Map<string, readonly OwnedPorts[]>();

  /** The blocks of an address at a router, by their first port. */
  of(router: RouterId, address: Ip): readonly OwnedPorts[] {
    return this.#byAddress.get(keyOf(router, address)) ?? NONE;
  }
  /** Who owns a port of it. */
  owner(router: RouterId, address: Ip, port: number): HostId | undefined {
    return this.of(router, address).find(({ first, last }) => first <= port && port <= last)?.host;
  }

  change(before: NatBlockRow | undefined, after: NatBlockRow | undefined, tags: Set<Tag>): void {
    for (const row of [before, after]) {
      if (row === undefined) continue;
      const address = addressOf(row);
      const key = keyOf(row.router, address);
      const others = this.#of(key).filter(({ id }) => id !== row.id);
      const { id, first, last } = row;
      if (row === after) others.push({ id, first, last, host: row.host as HostId });
      if (others.length === 0) this.#byAddress.delete(key);
      else
        this.#byAddress.set(
          key,
          others.sort((a, b) => a.first - b.first || (a.id < b.id ? -1 : 1)),
        );
      tags.add(publicPortsTag(row.router as RouterId, address));
    }
  }
  #of(key: string): readonly OwnedPorts[] {
    return this.#byAddress.get(key) ?? NONE;
  }
}
