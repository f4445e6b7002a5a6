/**
 * `mn rollback`: objects as they were at a revision; all that the caller may write, or some of a
 * kind. Look first with `--dry-run`; `mn history` shows the revisions.
 */
import type { Command } from 'commander';
import type { RollbackRequest } from '#client/history.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import { count } from '../format.ts';
import { UsageError } from '../io.ts';
import {
  action,
  finishWrite,
  numberOption,
  type Options,
  type Session,
  writeOptions,
} from '../session.ts';

function requestOf(args: readonly string[], options: Options): RollbackRequest {
  const [first = '', ...names] = args;
  const to = options['to'] as number | undefined;
  const kind = KIND_NAMES.find((name) => name === first);
  if (kind === undefined) {
    if (!/^\d{1,15}$/.test(first) || names.length > 0)
      throw new UsageError(
        `'${first}' is neither a revision nor a kind`,
        'mn rollback REVISION, or: mn rollback KIND NAME --to REVISION',
      );
    if (to !== undefined) throw new UsageError('--to: the revision is given already');
    return { to: Number(first) };
  }
  if (names.length === 0) throw new UsageError(`name the ${kind}: mn rollback ${kind} NAME`);
  if (to === undefined) throw new UsageError('--to: name the revision to go back to');
  return { to, objects: names.map((id) => ({ kind, id })) };
}

export function addRollback(session: Session, program: Command): void {
  const rollback = program
    .command('rollback')
    .description('put objects back as they were at a revision: all, or those named')
    .helpGroup('Operating:')
    .argument('<revision-or-kind>', 'the revision; or the kind of the objects that follow')
    .argument('[objects...]', 'names they have or had, or ids')
    .addOption(numberOption('--to <revision>', 'the revision, when objects are named'));
  writeOptions(rollback).action(
    action(session, async (args, options) => {
      const request = requestOf(args, options);
      const done = await session.io.client.rollback(request);
      const { revision, dryRun, changes = [] } = done;
      return finishWrite(session, options, {
        written: { revision, ...(dryRun && { dryRun, changes }) },
        value: done,
        line:
          done.objects === 0
            ? `nothing differs from revision ${done.to}`
            : `rolled back to revision ${done.to}: ${count(done.objects, 'object')} put back`,
      });
    }),
  );
  rollback.addHelpText(
    'after',
    `
Examples:
  mn rollback 20 --dry-run
  mn rollback port vm1 vm2 --to 20 --dry-run
  mn rollback 20 --wait
`,
  );
}
