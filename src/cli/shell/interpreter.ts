/** What a shell does with words: the same commands as one-shot, or another grammar over them. */
import type { Candidate } from '../complete.ts';
import type { CliIo } from '../io.ts';

export interface Interpreter {
  /** Runs one line's words; answers an exit code. Errors are told on `io`. */
  run(words: readonly string[], io: CliIo): Promise<number>;
  /** What may stand in place of the last word. */
  complete(words: readonly string[]): Promise<readonly Candidate[]>;
  /** The same for a person: also what cannot be listed. */
  explain(words: readonly string[]): Promise<readonly Candidate[]>;
}
