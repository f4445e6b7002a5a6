/** How much of the packet worker's limits is used; their words are in `client/limits.ts`. */
import { limitOf } from '#client/limits.ts';
import type { Limit } from '#client/types.ts';
import type { Datapath } from '#datapath/datapath.ts';
import { LIMITS as LAYOUT } from '#flow/layout.ts';
import type { ConnectionCounters } from '#flow/connection-answers.ts';
import { HALF_OPEN_SHARE, type Connections } from '#flow/connections.ts';
import type { FlowTable } from '#flow/table.ts';
import type { MacTable } from '#virtual/state/macs.ts';
import type { Bindings } from './bindings.ts';
import { LIMITS } from './limits.ts';
import type { RecordCounts } from './messages.ts';
import type { PublicPorts } from './public-ports.ts';
import type { ReplicaCounters } from './replication/replicas.ts';
import type { Neighbours } from './neighbours.ts';

export interface Used {
  readonly datapath: Datapath;
  readonly table: FlowTable;
  readonly bindings: Bindings;
  readonly macs: MacTable;
  readonly neighbours: Neighbours;
  readonly connections: Connections;
  readonly publicPorts: PublicPorts;
}

export function usageOf(used: Used): Limit[] {
  const { datapath, table, bindings, macs, neighbours, connections, publicPorts } = used;
  const { live, masks } = table.counters();
  const { parked, mostOfOnePort } = neighbours.usage();
  return [
    limitOf('flows', live, datapath.slots),
    limitOf('masks', masks, LAYOUT.MASKS_MAX),
    limitOf('connections', connections.counters().live, connections.slots - 1),
    limitOf(
      'half-open-connections',
      connections.largest().halfOpen,
      Math.ceil(connections.slots * HALF_OPEN_SHARE),
    ),
    ...publicPortsOf(publicPorts),
    limitOf('learned-macs', macs.mostOfOnePort, LIMITS.learnedPerPortMax),
    limitOf('neighbours', mostOfOnePort, LIMITS.neighboursPerPortMax),
    limitOf('parked-frames', parked, LIMITS.parkedMax),
    limitOf('peers', datapath.peers().length, LAYOUT.PEERS_MAX),
    // Each port that is up has one.
    limitOf('port-keys', bindings.size, LAYOUT.KEYS_MAX),
  ];
}

/** Of the address that has least left; nothing while there is none. */
function publicPortsOf(publicPorts: PublicPorts): Limit[] {
  const all = publicPorts.uses().map(({ owned, used, short }) => {
    // More connections than ports is no shortage: they are with different peers.
    return {
      owned: Math.max(owned, 1),
      used: short ? Math.max(owned, 1) : Math.min(used, owned - 1),
    };
  });
  const [least] = all.sort((a, b) => b.used / b.owned - a.used / a.owned);
  return least === undefined ? [] : [limitOf('public-ports', Math.max(0, least.used), least.owned)];
}

/** What is counted of connections: in notes for whoever reads the pinned maps, and in metrics. */
export const notesOf = (
  connections: ConnectionCounters,
  replicas: ReplicaCounters,
  asking: { readonly refused: number },
): RecordCounts => ({
  connectionsOpened: connections.opened,
  connectionsEvicted:
    connections.evictedFull + connections.evictedShare + connections.evictedHalfOpen,
  recordsSent: replicas.sent,
  recordsSentAgain: replicas.retransmitted,
  recordsTaken: replicas.received,
  recordsRefused: replicas.refused + replicas.unseen + replicas.unplaced,
  questionsAsked: replicas.asked,
  questionsRefused: asking.refused,
  datagramsRefused: replicas.unknown + replicas.unkeyed + replicas.broken + replicas.repeated,
});
