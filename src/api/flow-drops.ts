/**
 * What was dropped of a port beside the flows that are installed: by the kernel before anybody
 * decided, by the agent, and by flows that are gone.
 *
 * Invariant: what live flows dropped is not among it: those are told with their causes.
 */
import type { DropCount } from '#client/flows.ts';
import { DROPS, type DropReason } from '#virtual/drop.ts';
import { AskFailed } from './asks.ts';
import { titleOf } from './flow-rows.ts';
import type { Node } from './node.ts';
import type { Call } from './route.ts';

/** None of a host whose agent does not tell; it is told of missing where flows are asked for. */
export async function dropsBeside(
  node: Node,
  { request, caller }: Call,
  { host, port }: { readonly host: string; readonly port: string },
): Promise<DropCount[]> {
  const options = { signal: request.signal, caller: caller.id };
  try {
    const parts = await node.asks.one(host, { kind: 'drops' }, options);
    return parts
      .filter((part) => part.port === port && part.reason in DROPS)
      .map(({ reason, packets, rules }) => ({
        port: titleOf(node.replica.topology, 'port', port),
        reason,
        about: DROPS[reason as DropReason].about,
        frames: packets - rules.reduce((sum, rule) => sum + rule.packets, 0),
      }))
      .filter(({ frames }) => frames > 0);
  } catch (error) {
    if (error instanceof AskFailed) return [];
    throw error;
  }
}
