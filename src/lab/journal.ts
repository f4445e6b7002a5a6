/**
 * What a lab is about to create, written before the first of it is created: whoever finds the
 * journal can remove everything, whenever the writer died. Replaced as a whole (rename), so it is
 * never half.
 */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { LABS_DIR, labDir, namespacesOf } from './names.ts';
import { parseRecipe, type Recipe } from './recipe.ts';

export interface Journal {
  readonly lab: string;
  readonly recipe: Recipe;
  /** The namespaces that are this lab's own. */
  readonly namespaces: readonly string[];
}

const path = (lab: string): string => `${labDir(lab)}/lab.json`;

export function writeJournal(lab: string, recipe: Recipe): Journal {
  const journal = { lab, recipe, namespaces: namespacesOf(lab, recipe) };
  mkdirSync(labDir(lab), { recursive: true, mode: 0o700 });
  writeFileSync(`${path(lab)}.new`, JSON.stringify(journal, undefined, 1));
  renameSync(`${path(lab)}.new`, path(lab));
  return journal;
}

/** Undefined when there is no such lab. */
export function readJournal(lab: string): Journal | undefined {
  let text;
  try {
    text = readFileSync(path(lab), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const { recipe } = JSON.parse(text) as { recipe: unknown };
  const checked = parseRecipe(JSON.stringify(recipe));
  return { lab, recipe: checked, namespaces: namespacesOf(lab, checked) };
}

/** Every lab that has left something here, whole or not. */
export function labNames(): string[] {
  try {
    return readdirSync(LABS_DIR, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
      .toSorted();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Removes the directories of all labs when the last lab has gone. */
export function removeEmptyDirs(): void {
  for (const dir of [LABS_DIR, dirname(LABS_DIR)]) {
    try {
      rmdirSync(dir);
    } catch {
      return; // Others keep something there.
    }
  }
}
