/** How much of the packet worker's limits is used; their words are in `client/limits.ts`. */
import { limitOf } from '#client/limits.ts';
import type { Limit } from '#client/types.ts';
import type { Datapath } from '#datapath/datapath.ts';
import { LIMITS as LAYOUT } from '#flow/layout.ts';
import type { FlowTable } from '#flow/table.ts';
import type { MacTable } from '#virtual/state/macs.ts';
import type { Bindings } from './bindings.ts';
import { LIMITS } from './limits.ts';
import type { Neighbours } from './neighbours.ts';

export interface Used {
  readonly datapath: Datapath;
  readonly table: FlowTable;
  readonly bindings: Bindings;
  readonly macs: MacTable;
  readonly neighbours: Neighbours;
}

export function usageOf({ datapath, table, bindings, macs, neighbours }: Used): Limit[] {
  const { live, masks } = table.counters();
  const { parked, mostOfOnePort } = neighbours.usage();
  return [
    limitOf('flows', live, datapath.slots),
    limitOf('masks', masks, LAYOUT.MASKS_MAX),
    limitOf('learned-macs', macs.mostOfOnePort, LIMITS.learnedPerPortMax),
    limitOf('neighbours', mostOfOnePort, LIMITS.neighboursPerPortMax),
    limitOf('parked-frames', parked, LIMITS.parkedMax),
    limitOf('peers', datapath.peers().length, LAYOUT.PEERS_MAX),
    // Each port that is up has one.
    limitOf('port-keys', bindings.size, LAYOUT.KEYS_MAX),
  ];
}
