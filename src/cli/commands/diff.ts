/**
 * `mn diff`: what `mn apply` of the same documents would change. Writes nothing; its exit code says
 * whether there is any difference, so that scripts need not read it.
 */
import type { Command } from 'commander';
import { differencesOf, differenceText, lookupOf } from '../documents/difference.ts';
import { print } from '../format.ts';
import { EXIT } from '../io.ts';
import { action, formatOf, outputOption, type Session } from '../session.ts';
import { compareGiven, documentOptions, summaryOf } from './apply.ts';

export function addDiff(session: Session, program: Command): void {
  const command = program
    .command('diff')
    .description('show what applying documents would change')
    .helpGroup('The virtual network:')
    .addOption(outputOption())
    .addHelpText(
      'after',
      `
Exit code: ${EXIT.ok} nothing would change, ${EXIT.different} something would.

Examples:
  mn diff -f network.yaml
  mn diff -f network.yaml --prune -l app=web
`,
    );
  documentOptions(command).action(
    action(session, async (_args, options) => {
      const { io } = session;
      const { stand, steps, rehearsal } = await compareGiven(session, options);
      const name = lookupOf(stand, steps);
      const found = steps.aims
        .filter(({ deed }) => deed !== 'none')
        .map((aim) => ({
          aim,
          differences: differencesOf(aim, rehearsal.after(aim.kind, aim.id)),
        }));
      print(io, formatOf(options), {
        value: found.map(({ aim, differences }) => ({
          kind: aim.kind,
          ...(aim.before !== undefined && { id: aim.before.id }),
          name: aim.document?.fields['name'] ?? aim.before?.name,
          would: aim.deed,
          fields: differences,
        })),
        text: () =>
          found.map(({ aim, differences }) => differenceText(io, aim, differences, name)).join('') +
          `${summaryOf(steps.aims)}\n`,
      });
      return found.length === 0 ? EXIT.ok : EXIT.different;
    }),
  );
}
