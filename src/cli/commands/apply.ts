/**
 * `mn apply`: makes the network what documents say it is to be. What they do not speak of stays,
 * unless it has the labels that `--prune` names.
 */
import type { Command } from 'commander';
import type { KindName } from '#virtual/kind.ts';
import { arrange, changesOf, type Batch, type Rehearsal } from '../documents/batches.ts';
import { DOCUMENT_KINDS, type Document } from '../documents/document.ts';
import { documentsRefused, readDocuments } from '../documents/read.ts';
import { Interrupted, runBatches } from '../documents/run.ts';
import { loadStand, type Stand } from '../documents/stand.ts';
import { planSteps, type Aim, type Deed, type Prune, type Steps } from '../documents/steps.ts';
import { styled } from '../format.ts';
import { EXIT, type ExitCode, UsageError } from '../io.ts';
import {
  action,
  finishWrite,
  formatOf,
  type Options,
  repeated,
  type Session,
  writeOptions,
} from '../session.ts';

const SAID: Readonly<Record<Deed, string>> = {
  create: 'created',
  update: 'updated',
  delete: 'deleted',
  prune: 'pruned',
  none: 'unchanged',
};
const DEEDS = Object.keys(SAID) as Deed[];

/** Adds the options by which documents are given. */
export const documentOptions = (command: Command): Command =>
  command
    .requiredOption('-f, --file <file>', 'a file, a directory, or - (standard input)', repeated)
    .option('--prune', 'also delete what has the labels of -l and is in no document')
    .option('-l, --label <key=value>', 'for --prune; repeatable: all must hold', repeated);

function pruneOf(options: Options): Prune | undefined {
  const labels = (options['label'] as readonly string[] | undefined)?.flatMap((text) =>
    text.split(','),
  );
  if (options['prune'] !== true) {
    if (labels !== undefined) throw new UsageError('-l has a meaning only with --prune');
    return undefined;
  }
  if (labels === undefined)
    throw new UsageError(
      '--prune needs a label: without, it would delete all that is in no document',
      "Say which objects are these documents' own: --prune -l app=web",
    );
  for (const label of labels)
    if (!/^[^=\s]+=\S*$/.test(label))
      throw new UsageError(`-l: '${label}' is not of the form key=value`);
  return { labels };
}

export interface Compared {
  readonly stand: Stand;
  readonly steps: Steps;
  readonly batches: readonly Batch[];
  readonly rehearsal: Rehearsal;
}

/**
 * What documents want, beside what there is: read, checked and rehearsed, and nothing changed yet.
 */
export async function compare(
  session: Session,
  documents: readonly Document[],
  prune?: Prune,
): Promise<Compared> {
  const kinds = new Set<KindName>(documents.map(({ kind }) => kind));
  const removed = documents.filter(({ remove }) => remove).map(({ kind }) => kind);
  const removing = prune === undefined ? removed : DOCUMENT_KINDS;
  const stand = await loadStand(session.io.client, kinds, removing);
  const steps = planSteps(stand, documents, prune);
  if (!('aims' in steps)) throw documentsRefused(steps);
  const { batches, rehearsal } = arrange(stand, steps);
  if (rehearsal.faults.length > 0) throw documentsRefused(rehearsal.faults);
  return { stand, steps, batches, rehearsal };
}

/** The same from the options of a command. */
export async function compareGiven(session: Session, options: Options): Promise<Compared> {
  const prune = pruneOf(options);
  return compare(session, await readDocuments(session.io, options['file'] as string[]), prune);
}

const lineOf = ({ deed, title, changes }: Aim): string =>
  `${SAID[deed]} ${title}${deed === 'update' ? `: ${Object.keys(changes).join(', ')}` : ''}\n`;

/** `3 created, 1 unchanged`; what there is nothing of is left out. */
export function summaryOf(aims: readonly Aim[]): string {
  const counts = DEEDS.map(
    (deed) => [deed, aims.filter((aim) => aim.deed === deed).length] as const,
  );
  const told = counts.filter(([, n]) => n > 0).map(([deed, n]) => `${n} ${SAID[deed]}`);
  return told.join(', ');
}

/**
 * What would change. What fits into one transaction the API decides; of more, the first, because
 * the others build on it: they are decided here, by the same rules.
 */
async function dryRun(session: Session, options: Options, compared: Compared): Promise<ExitCode> {
  const { io } = session;
  const { stand, steps, batches, rehearsal } = compared;
  const [first, ...others] = batches;
  const result = await runBatches(first === undefined ? [] : [first], {
    client: io.client,
    signal: io.signal,
    done: () => {},
  });
  const { written } = result;
  const one = { changes: [], ...written, objects: written?.objects ?? [], dryRun: true } as const;
  const whole = { ...one, objects: [], changes: changesOf(stand, steps, rehearsal) };
  const revision = written?.revision ?? (await io.client.status()).revision;
  if (others.length > 0)
    io.err(
      `${styled(io, 'yellow', 'note:')} this takes ${batches.length} transactions: the API has ` +
        'decided the first; the others build on it, and were decided here by the same rules, on ' +
        'what you may see\n',
    );
  return finishWrite(session, options, {
    written: { ...(others.length === 0 ? one : whole), revision },
    line: '',
  });
}

async function apply(session: Session, options: Options): Promise<ExitCode> {
  const { io } = session;
  const forPeople = formatOf(options) === 'table';
  const compared = await compareGiven(session, options);
  if (options['dryRun'] === true) return dryRun(session, options, compared);
  const { steps, batches } = compared;
  const { aims } = steps;
  const tell = (some: readonly Aim[]): void => {
    if (forPeople && some.length > 0) io.out(some.map(lineOf).join(''));
  };
  tell(aims.filter(({ deed }) => deed === 'none'));
  let result;
  try {
    result = await runBatches(batches, { client: io.client, signal: io.signal, done: tell });
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    io.err(`${styled(io, 'yellow', 'interrupted:')} ${error.message}; apply again to go on\n`);
    return EXIT.interrupted;
  }
  const revision = result.written?.revision ?? (await io.client.status()).revision;
  const applied = aims.map(({ kind, deed, id, before, document, changes: fields }) => ({
    kind,
    id: result.ids.get(id) ?? id,
    name: document?.fields['name'] ?? before?.name,
    did: SAID[deed],
    fields: Object.keys(fields),
  }));
  const objects = aims.map(({ id, before }) => result.objects.get(id) ?? before);
  const written = { revision, objects, applied };
  return finishWrite(session, options, { written, line: summaryOf(aims) });
}

export function addApply(session: Session, program: Command): void {
  const command = program
    .command('apply')
    .description('make the network what documents say: create, update, and with --prune delete')
    .helpGroup('The virtual network:')
    .addHelpText(
      'after',
      `
A document is one object: its kind, then its fields. A field that is left out keeps its
value; null clears it. What is applied twice changes nothing the second time, and what was
interrupted is finished by the same command.

Examples:
  mn apply -f network.yaml
  mn apply -f network/ --dry-run
  mn apply -f network.yaml --prune -l app=web --wait
`,
    );
  writeOptions(documentOptions(command)).action(
    action(session, (_args, options) => apply(session, options)),
  );
}
