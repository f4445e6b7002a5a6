/** What every act of the demo is given, and what several of them need. */
import type { AgentCounters } from '#client/types.ts';
import { monotonicMs } from '#os/clock.ts';
import { countersOf, namespaceOf, type Lab } from '../lab.ts';
import { machineOf, netnsOf, UNDERLAY_PART } from '../names.ts';
import { PacketSocket } from '../packet-socket.ts';
import { until } from '../processes.ts';
import type { Cast } from '../stage.ts';
import { ipBatch, WORKLOAD_INTERFACE } from '../wires.ts';
import type { Report } from './report.ts';

export interface Act {
  readonly lab: Lab;
  readonly cast: Cast;
  readonly report: Report;
}

/** Kinds of marks that acts use beside the probes' own. */
export const KIND = {
  ping4: 230,
  ping6: 231,
  fresh: 232,
  forged: 233,
  allowed: 234,
  traced: 235,
} as const;

export function hostOf(lab: Lab, workload: string): string {
  const found = lab.recipe.workloads[workload];
  if (found === undefined) throw new Error(`there is no workload ${workload}`);
  return found.host;
}

/** A tap on the cable of a machine, at the underlay's end: `outgoing` is towards the machine. */
export const tapCable = (lab: Lab, part: string): PacketSocket =>
  new PacketSocket({
    namespace: netnsOf(lab.name, UNDERLAY_PART),
    interface: machineOf(lab.recipe, part).cable,
  });

/**
 * Tells the kernels of all workloads for good where their friends are, so that they stop asking by
 * ARP and neighbour discovery: what is counted afterwards is what the act itself sends.
 */
export async function knowNeighbours({ lab, cast }: Act): Promise<void> {
  await Promise.all(
    cast.stations.map(({ name }, a) => {
      const friends = cast.stations.filter((_, b) => cast.areFriends(a, b));
      const lines = friends.flatMap(({ ip4, ip6, mac }) =>
        [ip4, ip6].map(
          (ip) => `neighbour replace ${ip} lladdr ${mac} dev ${WORKLOAD_INTERFACE} nud permanent`,
        ),
      );
      return ipBatch(lines, namespaceOf(lab, name));
    }),
  );
}

const QUIET_MS = 2_200;
const SETTLE_MS = 20_000;

/** Waits until no host has had an upcall for two reports; answers the counters by host. */
export async function settled(lab: Lab): Promise<Map<string, AgentCounters>> {
  const read = async (): Promise<Map<string, AgentCounters>> =>
    new Map(
      await Promise.all(lab.recipe.hosts.map(async (h) => [h, await countersOf(lab, h)] as const)),
    );
  const sum = (all: Map<string, AgentCounters>): number =>
    all.values().reduce((total, { upcalls }) => total + upcalls, 0);
  let last = await read();
  let since = monotonicMs();
  await until('upcalls cease', SETTLE_MS, async () => {
    const now = await read();
    if (sum(now) !== sum(last)) since = monotonicMs();
    last = now;
    return monotonicMs() - since > QUIET_MS;
  });
  return last;
}
