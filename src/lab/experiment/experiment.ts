/**
 * `./midonet experiment NAME`: long runs that answer a question about the whole, on a lab of their
 * own. They print what they find; they are no part of the tests. An experiment is a row here.
 */
import { restarts } from './restarts.ts';

/** Answers whether it went as it should. */
type Experiment = (args: readonly string[]) => Promise<boolean>;

const EXPERIMENTS: Readonly<Record<string, { readonly about: string; readonly run: Experiment }>> =
  {
    restarts: {
      about:
        'kills and upgrades agents under load: --kills N --upgrades N --rate PACKETS --pairs N --seed N',
      run: restarts,
    },
  };

export async function runExperiment(name: string, args: readonly string[]): Promise<void> {
  const found = EXPERIMENTS[name];
  if (found === undefined) {
    const rows = Object.entries(EXPERIMENTS).map(([each, { about }]) => `  ${each}  ${about}`);
    throw new Error(`there is no experiment ${name}; there are:\n${rows.join('\n')}`);
  }
  if (!(await found.run(args))) process.exitCode = 1;
}
