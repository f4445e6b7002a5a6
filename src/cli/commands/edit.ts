/**
 * `mn edit`: one object as a document in a person's editor, and back.
 *
 * Invariant: it changes the object that was shown, or nothing: if somebody else changed it
 * meanwhile, or the text is refused, the text stays in a file whose name is told.
 */
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { ApiError, problemText, Unavailable } from '#client/errors.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { DOCUMENT_KINDS, type Document, type Fields } from '../documents/document.ts';
import { documentFor, Namesakes } from '../documents/export.ts';
import { parseDocuments, documentsRefused, type PlacedFault } from '../documents/read.ts';
import { loadStand, type Stand } from '../documents/stand.ts';
import { planSteps } from '../documents/steps.ts';
import { type ExitCode, RefusedError, UsageError } from '../io.ts';
import { action, finishWrite, type Options, type Session, writeOptions } from '../session.ts';

const headOf = (what: string): string =>
  `# ${what}. Save to change it; a field whose line is taken out is cleared.\n` +
  '# Leave the text as it is to change nothing.\n';

interface Edit {
  readonly kind: KindName;
  readonly object: StoredObject;
  readonly stand: Stand;
  readonly shown: Fields;
}

/** The fields to set. Throws RefusedError for a text that is no document of this object. */
function changesIn({ kind, object, stand, shown }: Edit, file: string, text: string): Fields {
  const faults: PlacedFault[] = [];
  const documents = parseDocuments(file, text, faults);
  if (faults.length > 0) throw documentsRefused(faults);
  const [document, ...more] = documents;
  if (document === undefined || more.length > 0)
    throw new RefusedError(`${file} must hold one document, that of the object`);
  const isSame = document.kind === kind && document.id === object.id && !document.remove;
  if (!isSame) throw new RefusedError(`${file} must be of ${kind} ${object.id}: kind and id stay`);
  const cleared = Object.keys(shown).filter(
    (field) => field !== 'kind' && field !== 'id' && !(field in document.fields),
  );
  const nulls = Object.fromEntries(cleared.map((field) => [field, null]));
  const whole: Document = { ...document, fields: { ...document.fields, ...nulls } };
  const planned = planSteps(stand, [whole]);
  if (!('aims' in planned)) throw documentsRefused(planned);
  return planned.aims[0]?.changes ?? {};
}

/** Says where the text is when it could not be used. */
function kept(error: unknown, file: string): unknown {
  const where = `Your text is in ${file}: mend it there, then mn apply -f ${file}`;
  if (error instanceof RefusedError) return new RefusedError(error.message, where);
  if (error instanceof ApiError && error.status < 500)
    return new RefusedError(problemText(error.problem), where);
  if (error instanceof ApiError || error instanceof Unavailable)
    return new Unavailable(`${error.message} (your text is in ${file})`, error);
  return error;
}

async function edit(
  session: Session,
  [kindText = '', target = '']: readonly string[],
  options: Options,
): Promise<ExitCode> {
  const { client, editor } = session.io;
  const kind = DOCUMENT_KINDS.find((name) => name === kindText);
  if (kind === undefined)
    throw new UsageError(
      `there is no kind '${kindText}' that can be edited`,
      `The kinds are: ${DOCUMENT_KINDS.join(', ')}`,
    );
  if (editor === undefined) throw new UsageError('mn edit: there is no editor here');
  const { id } = await client.get(kind, target);
  const stand = await loadStand(client, [kind]);
  const object = stand.get(kind, id) ?? (await client.get(kind, id));
  const { kind: _, ...fields } = documentFor(
    { stand, namesakes: new Namesakes(stand) },
    kind,
    object,
    true,
  );
  const shown = { kind, id, ...fields };
  const title = `${kind} ${await session.names.title(kind, object)}`;
  const before = headOf(title) + stringify(shown);
  const { file, text } = await editor.edit(
    `${kind}-${object.name ?? id}.yaml`.replaceAll(/[^\w.-]/g, '_'),
    before,
  );
  let written;
  try {
    const changes = text === before ? {} : changesIn({ kind, object, stand, shown }, file, text);
    const count = Object.keys(changes).length;
    if (count > 0) written = await client.update(kind, id, changes, object.revision);
  } catch (error) {
    throw kept(error, file);
  }
  await editor.discard(file);
  const line = `${written === undefined ? 'unchanged' : 'updated'} ${title}`;
  return finishWrite(session, options, {
    written: written ?? { revision: object.revision, objects: [object] },
    line,
  });
}

export function addEdit(session: Session, program: Command): void {
  const command = program
    .command('edit')
    .description('edit one object as a document, in $EDITOR')
    .argument('<kind>', 'the kind of object')
    .argument('<object>', 'its name or id')
    .helpGroup('The virtual network:')
    .addHelpText(
      'after',
      `
Examples:
  mn edit bridge b1
  mn edit port vm1 --wait
`,
    );
  writeOptions(command).action(action(session, (args, options) => edit(session, args, options)));
}
