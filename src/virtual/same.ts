/** Whether two stored values are one: what did not change makes no row, no tag and no revision. */
import type { StoredObject } from './kind.ts';

/** Equal as JSON: stored objects hold nothing else. */
export function sameObject(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b))
    return (
      Array.isArray(a) &&
      Array.isArray(b) &&
      a.length === b.length &&
      a.every((element, i) => sameObject(element, b[i]))
    );
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  for (const key of Object.keys(left)) if (!sameObject(left[key], right[key])) return false;
  for (const key of Object.keys(right))
    if (!Object.hasOwn(left, key) && right[key] !== undefined) return false;
  return true;
}

/** Whether nothing that a walk could read has changed. */
export function differInLabelsOnly(a: StoredObject, b: StoredObject): boolean {
  const bare = ({ labels: _labels, revision: _revision, ...rest }: StoredObject): unknown => rest;
  return sameObject(bare(a), bare(b));
}
