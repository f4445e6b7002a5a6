/**
 * "Did you mean" for names of objects: when the API says that no object is named so, those are
 * looked at that are there. Never in the way of the error itself: who may not look, or finds the
 * API gone, is told no guess.
 */
import type { ApiError } from '#client/errors.ts';
import type { Client } from '#client/types.ts';
import { KIND_NAMES, type KindName } from '#virtual/kind.ts';
import { didYouMean } from './suggest.ts';

/** Names looked at; among more of them a guess may miss the right one. */
const NAMES_MAX = 1_000;

const NOT_NAMED = /^no ([a-z ]+?) is named "(.+)"$/;

/** The kind and the name that the API says there is not. */
export function missingName(
  message: string,
): { readonly kind: KindName; readonly name: string } | undefined {
  const [, words, name] = NOT_NAMED.exec(message) ?? [];
  const kind = KIND_NAMES.find((each) => each.replaceAll('-', ' ') === words);
  return kind === undefined || name === undefined ? undefined : { kind, name };
}

/** `Did you mean vm1 or vm2?`; undefined when nothing is near. */
export async function guessName(client: Client, error: ApiError): Promise<string | undefined> {
  for (const { message } of error.problem.errors ?? []) {
    const missing = missingName(message);
    if (missing === undefined) continue;
    try {
      const { items } = await client.list(missing.kind, { limit: NAMES_MAX });
      const names = items.flatMap(({ name }) => (name === undefined ? [] : [name]));
      const guess = didYouMean(missing.name, names);
      if (guess !== undefined) return guess;
    } catch {
      return undefined;
    }
  }
  return undefined;
}
