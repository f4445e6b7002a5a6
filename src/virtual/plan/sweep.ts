/**
 * Deleting what is too large for one transaction: first what goes with it, in parts, the innermost
 * first; then, when the rest fits, the object itself.
 *
 * Invariants: nothing is swept while something refuses the deletion; each part is a transaction
 * that leaves a valid topology, so an interrupted sweep leaves the object with less, and the same
 * deletion goes on from there.
 */
import type { KindName, View } from '../kind.ts';
import { kindOf } from '../kinds.ts';
import { isServicePort } from '../member-health/service-port.ts';
import { cascade, type Doomed } from './removal.ts';
import type { DeleteOperation } from './work.ts';

/** Objects that one deletion may sweep; a larger one is refused. */
export const SWEPT_MAX = 250_000;

/**
 * Rows that deleting an object of a kind changes at most: its location goes, its peer is cleared.
 */
const ROWS: { readonly [K in KindName]?: number } = { port: 3 };

/** The object and all that goes with it, children behind parents. */
const doomedBy = (view: View, target: Doomed) => cascade(view, target, SWEPT_MAX);

/**
 * The transactions that come before the deletion itself. None: it fits into one (`rowsMax` rows),
 * is refused, or is too large to be swept; the deletion itself says so then.
 */
export function sweepParts(view: View, target: Doomed, rowsMax: number): DeleteOperation[][] {
  const { doomed, others } = doomedBy(view, target);
  if (doomed.size <= rowsMax || doomed.size > SWEPT_MAX) return [];
  const refused = others.some(
    ({ kind, id, path }) => path.reference.onDelete === 'refuse' && !doomed.has(`${kind}/${id}`),
  );
  if (refused) return [];
  const parts: DeleteOperation[][] = [];
  let rows = rowsMax;
  for (const { kind, id } of [...doomed.values()].reverse()) {
    // What hosts write goes with what they wrote it about.
    if (kindOf(kind).writer === 'host' || id === target.id) continue;
    // So do ports that only the server removes.
    if (kind === 'port' && isServicePort(view.get(kind, id))) continue;
    const more = ROWS[kind] ?? 1;
    if (rows + more > rowsMax) {
      parts.push([]);
      rows = 0;
    }
    rows += more;
    parts.at(-1)?.push({ op: 'delete', kind, id });
  }
  return parts;
}
