/**
 * What every plan ends with, whatever it was made of: both ends of links, locations that end with
 * their binding, the size of the whole, and the rules across objects on the final state.
 */
import type { View } from '../kind.ts';
import { kindOf, type ObjectOf } from '../kinds.ts';
import type { Topology } from '../topology.ts';
import { joinLinks } from './links.ts';
import type { Work } from './work.ts';

/**
 * Rows that one transaction may change, cascades included; a larger one is refused whole. The store
 * takes 128 at once, and with the rows go the head, a counter and the entry of the history.
 */
export const TRANSACTION_ROWS_MAX = 125;

/** Completes the draft, and finds what is wrong with it. */
export function finish(work: Work, base: Topology): void {
  joinLinks(work, base);
  endLocations(work);
  checkSize(work);
  if (work.faults.refusal === undefined) checkFinal(work);
}

export const rowsMaxOf = ({ context }: Work): number => context.rowsMax ?? TRANSACTION_ROWS_MAX;

export function checkSize(work: Work): void {
  const rowsMax = rowsMaxOf(work);
  const { draft, faults } = work;
  if (draft.size <= rowsMax) return;
  const message = `changes more than ${rowsMax} objects; do it in parts`;
  faults.add(413, '', message);
}

/** A location lasts until its port is bound elsewhere, or nowhere. */
function endLocations({ draft }: Work): void {
  for (const { kind, object, operation } of Array.from(draft.touched())) {
    if (kind !== 'port' || object === undefined) continue;
    const location = draft.get('location', object.id) as ObjectOf<'location'> | undefined;
    if (location !== undefined && location.host !== (object as ObjectOf<'port'>).host)
      draft.remove('location', location.id, operation);
  }
}

const NOTHING: View = { get: () => undefined, list: () => [], referrers: () => [] };

/**
 * A rule that an object breaks by itself is bad input; one it breaks beside others is a conflict.
 */
function checkFinal({ draft, faults }: Work): void {
  for (const { kind, object, operation } of draft.touched()) {
    if (object === undefined) continue;
    const row = kindOf(kind);
    const alone = row.check?.(object, NOTHING) ?? [];
    faults.operation = operation;
    for (const { path, message } of row.check?.(object, draft) ?? []) {
      const itself = alone.some((fault) => fault.path === path && fault.message === message);
      faults.add(itself ? 400 : 409, path, message);
    }
  }
}
