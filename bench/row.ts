/**
 * A row of the bench: something to measure, with what it needs. A row answers lines; a row that
 * cannot be had on this machine says why and is skipped, and never makes a figure up.
 */
import type { Line } from './line.ts';
import type { SideName, Stage } from './stage.ts';

export interface Bench {
  readonly stage: Stage;
  /** A smaller case and fewer, shorter runs: whether it works, not how fast it is. */
  readonly quick: boolean;
  /** Whether the row was asked for by name. */
  readonly asked: boolean;
  /** Runs of each side. */
  readonly runs: number;
  /** Seconds that one run of a stream, of packets or of questions lasts. */
  readonly seconds: number;
  /** Says what is being done, for whoever waits. */
  tell(what: string): void;
}

export interface Measured {
  readonly lines: readonly Line[];
  /** What helps to read the lines: where the time goes, what a side had to be set to. */
  readonly notes?: readonly string[];
}

export interface Row {
  /** For `--only`. */
  readonly name: string;
  /** One line for `--list`. */
  readonly what: string;
  /** Commands that it runs (`tools.ts` knows their packages). */
  readonly tools: readonly string[];
  /** Whether it makes namespaces and loads programs. */
  readonly root: boolean;
  /** What is to be up; everything else is taken down before, so that it costs nothing. */
  readonly sides: readonly SideName[];
  measure(bench: Bench): Promise<Measured>;
}

/** The row cannot be measured here, for a reason that is not an error. */
export class Skip extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'Skip';
  }
}

/**
 * Runs all sides in turn, `runs` times, every other time in reverse order: what drifts meanwhile
 * is not on one side's account.
 */
export async function inTurn<Name extends string, T>(
  runs: number,
  sides: Readonly<Record<Name, () => Promise<T> | T>>,
): Promise<Record<Name, T[]>> {
  const names = Object.keys(sides) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<Name, T[]>;
  for (let i = 0; i < runs; i++)
    for (const name of i % 2 === 0 ? names : names.toReversed())
      results[name].push(await sides[name]());
  return results;
}
