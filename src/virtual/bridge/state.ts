/**
 * A bridge as the topology keeps it: its row, its ports, its seeds; read by the walk as a
 * `BridgeView`.
 */
import type { Ip, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { BridgeId, PortId } from '../ids.ts';
import type { ObjectOf } from '../kinds.ts';
import type { BridgeView } from '../view.ts';
import { SeedTable, type Owner } from './seeds.ts';

/** A bridge with its ports; it also stands for ports whose bridge is not known (yet). */
export class BridgeState implements BridgeView {
  readonly id: BridgeId;
  row: ObjectOf<'bridge'> | undefined;
  readonly ports = new Set<PortId>();
  readonly seeds = new SeedTable();
  portsUp = 0;

  constructor(id: BridgeId) {
    this.id = id;
  }
  get name(): string {
    return this.row?.name ?? '';
  }
  get adminStateUp(): boolean {
    return this.row?.adminStateUp ?? false;
  }
  get floodKey(): number {
    return this.row?.floodKey ?? 0;
  }
  seededPort(mac: Mac): PortId | undefined {
    return this.seeds.port(mac);
  }
  seededAddress(ip: Ip): Owner | undefined {
    return this.seeds.owner(ip);
  }
  hasSolicited(group: Ip6): boolean {
    return this.seeds.hasSolicited(group);
  }
  hasSeeds(family: 4 | 6): boolean {
    return this.seeds.has(family);
  }
}
