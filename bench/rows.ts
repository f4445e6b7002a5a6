/** All rows, in the order that lets networks stay up from one to the next. */
import type { Row } from './row.ts';
import { latency, tcpAcross } from './rows/across.ts';
import { balance } from './rows/balance.ts';
import { costByMembers, costByVips } from './rows/balance-cost.ts';
import { change } from './rows/change.ts';
import { costByFlows, costByMasks, costByPorts } from './rows/curves.ts';
import { firewall } from './rows/firewall.ts';
import { firstPacket } from './rows/first-packet.ts';
import { guest } from './rows/guest.ts';
import { memory } from './rows/memory.ts';
import { nat } from './rows/nat.ts';
import { packets } from './rows/packets.ts';
import { setUps } from './rows/set-ups.ts';
import { simulation } from './rows/simulation.ts';
import { tcpHost } from './rows/tcp-host.ts';

export const ROWS: readonly Row[] = [
  tcpHost,
  firstPacket,
  tcpAcross,
  latency,
  packets,
  firewall,
  nat,
  balance,
  setUps,
  memory,
  simulation,
  change,
  costByFlows,
  costByMasks,
  costByPorts,
  costByMembers,
  costByVips,
  guest,
];
