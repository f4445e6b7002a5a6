/**
 * The files that commands of a scenario name: what its file blocks hold, and what commands write.
 * They are in a folder of their own for the time of one run; a command is given where they really
 * are, and what it prints is shown with the names of the page.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A name of the page, and nothing that leads out of the folder. */
const FILE_NAME = /^\w[\w-]*(\.[\w-]+)*$/;
/** The word behind one of these is a file that the command may make. */
const WRITES = new Set(['-w', '--write']);

export class ScenarioFiles implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'midonet-scenario-'));

  #pathOf(name: string): string {
    if (!FILE_NAME.test(name)) throw new Error(`scenario: ${name} is no name of a file`);
    return join(this.#folder, name);
  }

  write(name: string, text: string): void {
    writeFileSync(this.#pathOf(name), text);
  }

  /** Throws when neither the page nor a command made it. */
  read(name: string): string {
    return readFileSync(this.#pathOf(name), 'utf8');
  }

  /** The words as a command needs them: where a file is instead of its name. */
  arguments(words: readonly string[]): string[] {
    return words.map((word, i) => {
      if (!FILE_NAME.test(word)) return word;
      const path = this.#pathOf(word);
      return WRITES.has(words[i - 1] ?? '') || existsSync(path) ? path : word;
    });
  }

  /** What a command printed, without where the files are. */
  shown(text: string): string {
    return text.replaceAll(`${this.#folder}/`, '');
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
