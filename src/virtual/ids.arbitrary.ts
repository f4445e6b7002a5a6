/** Ids of the small worlds that laws are tried in: few, so that references meet. */
import type { BridgeId, PortId, RouterId } from './ids.ts';

/** `kind`: a digit that tells ids of one kind from those of others. */
export const ids = <Id extends string>(kind: number, count: number): readonly Id[] =>
  Array.from(
    { length: count },
    (_, i) => `0000000${kind.toString(16)}-0000-4000-8000-${String(i + 1).padStart(12, '0')}` as Id,
  );

export const BRIDGE_IDS = ids<BridgeId>(1, 2);
export const PORT_IDS = ids<PortId>(2, 10);
export const ROUTER_IDS = ids<RouterId>(5, 2);
