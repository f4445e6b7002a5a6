/**
 * "Did you mean": the words nearest to one that is not known. A pure function over whatever there
 * is: verbs, flags, fields, live names.
 */

/** Words suggested for one that is not known. */
const SUGGESTIONS_MAX = 3;

/**
 * Letters to put in, take out, replace or swap with their neighbour to make one text of another
 * (optimal string alignment).
 */
export function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_none, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1);
      least = Math.min(least, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, (before[j - 2] ?? 0) + 1);
      row.push(least);
    }
    [before, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

/**
 * Those of `known` that `text` was likely meant to be, nearest first; none when nothing is near. A
 * word that begins with the text is near, too.
 */
export function nearest(text: string, known: Iterable<string>): string[] {
  const wrong = text.toLowerCase();
  // Of two letters, one more or less wrong says nothing.
  const far = wrong.length < 3 ? 0 : Math.max(1, Math.floor(wrong.length / 3));
  const near: { word: string; away: number }[] = [];
  for (const word of new Set(known)) {
    const right = word.toLowerCase();
    const begins = wrong.length >= 2 && right.startsWith(wrong);
    if (!begins && Math.abs(right.length - wrong.length) > far) continue;
    const away = begins ? 0 : distance(wrong, right);
    if (away <= far) near.push({ word, away });
  }
  near.sort((a, b) => a.away - b.away || (a.word < b.word ? -1 : 1));
  return near.slice(0, SUGGESTIONS_MAX).map(({ word }) => word);
}

/** `Did you mean bridge or bride?`; undefined when nothing is near. */
export function didYouMean(text: string, known: Iterable<string>): string | undefined {
  const words = nearest(text, known);
  const last = words.pop();
  if (last === undefined) return undefined;
  return `Did you mean ${words.length === 0 ? last : `${words.join(', ')} or ${last}`}?`;
}
