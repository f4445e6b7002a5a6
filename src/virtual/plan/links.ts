/**
 * A link is one fact with two ends: whoever sets or clears `peer` at one end has set or cleared it
 * at the other, in the same transaction. What does not fit (the other end is linked elsewhere, or
 * bound) is left for the rules of ports to refuse.
 */
import type { ObjectOf } from '../kinds.ts';
import type { Topology } from '../topology.ts';
import type { Work } from './work.ts';

type Port = ObjectOf<'port'>;

export function joinLinks({ draft }: Work, base: Topology): void {
  const touched = Array.from(draft.touched()).filter(({ kind }) => kind === 'port');
  for (const { id, object, operation } of touched) {
    const before = (base.get('port', id) as Port | undefined)?.peer;
    const after = (object as Port | undefined)?.peer;
    if (before === after || before === undefined) continue;
    const left = draft.get('port', before) as Port | undefined;
    if (left?.peer !== id) continue;
    const { peer: _, ...rest } = left;
    draft.put('port', rest as Port, operation);
  }
  for (const { id, operation } of touched) {
    const port = draft.get('port', id) as Port | undefined;
    if (port?.peer === undefined || port.peer === id) continue;
    const other = draft.get('port', port.peer) as Port | undefined;
    if (other !== undefined && other.peer === undefined && other.host === undefined)
      draft.put('port', { ...other, peer: port.id } as Port, operation);
  }
}
