/**
 * What one list has that another has not. Made for long lists of which little changes: the parts at
 * both ends that are alike are only compared, so that a member that comes or goes costs no set of
 * all the others.
 */
export interface ListDifference {
  readonly gone: readonly string[];
  readonly come: readonly string[];
}

/** Neither list has an element twice; order does not matter to the answer. */
export function listDifference(
  before: readonly string[],
  after: readonly string[],
): ListDifference {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < shorter - head && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  const was = before.slice(head, before.length - tail);
  const is = after.slice(head, after.length - tail);
  if (was.length === 0 || is.length === 0) return { gone: was, come: is };
  const old = new Set(was);
  const now = new Set(is);
  return { gone: was.filter((each) => !now.has(each)), come: is.filter((each) => !old.has(each)) };
}
