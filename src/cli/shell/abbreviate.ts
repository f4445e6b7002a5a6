/**
 * `br li` for `bridge list`: in a shell, and only there, the beginning of a command stands for it
 * when there is no other, or none but longer words of it (`po` is `port`, not `port-group`).
 * Scripts outlive commands that are added, so one-shot lines are never abbreviated.
 */
import type { Command } from 'commander';
import { subcommands } from '../complete.ts';
import { UsageError } from '../io.ts';

/** Whether a command is another one, or that and more words behind a hyphen. */
const isLonger = (command: Command, stem: Command): boolean =>
  command === stem || command.name().startsWith(`${stem.name()}-`);

/** Where the words of commands end: behind the last, arguments and flags are as they were typed. */
export function expand(program: Command, words: readonly string[]): string[] {
  const expanded = [...words];
  let command = program;
  for (const [i, word] of words.entries()) {
    const children = subcommands(command);
    if (children.length === 0 || word.startsWith('-')) break;
    const exact = children.find((child) => child.name() === word);
    const alike = children.filter((child) => child.name().startsWith(word));
    const stem = exact ?? alike.find((one) => alike.every((other) => isLonger(other, one)));
    const near = stem === undefined ? alike : [stem];
    const [only, ...more] = near;
    if (word === '' || only === undefined) break;
    if (more.length > 0) {
      const names = near.map((child) => child.name());
      throw new UsageError(`'${word}' may be ${names.join(', ')}`, 'Type some more of it');
    }
    expanded[i] = only.name();
    command = only;
  }
  return expanded;
}
