/** Deleting one object, and what the table of kinds says of those that refer to it. */
import type { KindName, StoredObject, View } from '../kind.ts';
import { isServicePort } from '../member-health/service-port.ts';
import { referencesTo, withoutTarget, type ReferencePath } from '../references.ts';
import { findTarget, visibleTo, wordsOf, type DeleteOperation, type Work } from './work.ts';

export interface Doomed {
  readonly kind: KindName;
  readonly id: string;
}
interface Referrer extends Doomed {
  readonly path: ReferencePath;
  readonly target: string;
}

/**
 * Deletes from the draft: refused when a reference says so, or when more than `rowsMax` would go.
 */
export function removeObject(work: Work, operation: DeleteOperation, rowsMax: number): void {
  const target = findTarget(work, operation);
  if (target !== undefined) removeFound(work, { kind: operation.kind, id: target.id }, rowsMax);
}

/** The same, whoever may delete it. */
export function removeFound(work: Work, first: Doomed, rowsMax: number): void {
  const { doomed, others } = cascade(work.draft, first, rowsMax);
  if (doomed.size > rowsMax) {
    const message = `cannot be deleted in one step: more than ${rowsMax} objects go with it`;
    work.faults.add(413, '', `${message}; delete them in parts first`);
    return;
  }
  const kept = others.filter(({ kind, id }) => !doomed.has(`${kind}/${id}`));
  const refusing = kept.filter(({ path }) => path.reference.onDelete === 'refuse');
  if (refusing.length > 0) {
    work.faults.add(409, '', refusalText(work, refusing));
    return;
  }
  for (const { kind, id, path, target: gone } of kept) {
    const holder = work.draft.get(kind, id);
    if (holder !== undefined)
      work.draft.put(kind, withoutTarget(holder, path, gone), work.faults.operation);
  }
  for (const { kind, id } of doomed.values()) work.draft.remove(kind, id, work.faults.operation);
}

/**
 * All that goes with an object, itself included, and the references to those that do not cascade.
 */
export function cascade(view: View, first: Doomed, rowsMax: number) {
  const doomed = new Map<string, Doomed>([[`${first.kind}/${first.id}`, first]]);
  const others: Referrer[] = [];
  // A map is walked in order of insertion, and what is added meanwhile is walked too.
  for (const target of doomed.values())
    for (const path of referencesTo(target.kind))
      for (const id of view.referrers(path.holder, path.path, target.id)) {
        const holder = { kind: path.holder, id };
        if (path.reference.onDelete !== 'cascade' && !goesWithHost(view, path, id))
          others.push({ ...holder, path, target: target.id });
        else if (doomed.size <= rowsMax) doomed.set(`${holder.kind}/${id}`, holder);
      }
  return { doomed, others };
}

/** Service ports go with their host, which nobody has bound them to. */
const goesWithHost = (view: View, { holder, path }: ReferencePath, id: string): boolean =>
  holder === 'port' && path === 'host' && isServicePort(view.get('port', id));

function refusalText({ draft, context }: Work, refusing: readonly Referrer[]): string {
  const [first] = refusing;
  if (first === undefined) return '';
  const holder: StoredObject | undefined = draft.get(first.kind, first.id);
  const more = refusing.length > 1 ? ` and of ${refusing.length - 1} more` : '';
  const isForeign = holder !== undefined && !visibleTo(context.caller, holder);
  const who = isForeign
    ? `a ${wordsOf(first.kind)} of another tenant`
    : [wordsOf(first.kind), holder?.name, `(${first.id})`].filter((word) => word).join(' ');
  return `cannot be deleted: it is the ${first.path.path} of ${who}${more}`;
}
