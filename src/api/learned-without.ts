/** What was learned, without some of it: for walks through a topology that is not there yet. */
import { formatIp } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import type { LearnedView, NeighbourView } from '#virtual/view.ts';
import { keyOf } from './learned-rows.ts';

/** `without`: keys of rows that are not there. */
export function learnedWithout(
  known: LearnedView & NeighbourView,
  without: ReadonlySet<string>,
): LearnedView & NeighbourView {
  return {
    port: (bridge, vlan, mac) =>
      without.has(keyOf({ bridge, vlan, mac: formatMac(mac), port: '' }))
        ? undefined
        : known.port(bridge, vlan, mac),
    mayLearn: (port) => known.mayLearn(port),
    neighbour: (of, ip) =>
      without.has(keyOf({ of, ip: formatIp(ip), mac: '', port: '' }))
        ? undefined
        : known.neighbour(of, ip),
    mayHear: (port, by) => known.mayHear(port, by),
  };
}
