/**
 * `mn KIND list|show|create|update|delete`, for every row of the table of kinds. Nothing here knows
 * a kind; verbs beyond these five have files of their own.
 */
import { type Command, Option } from 'commander';
import type { StoredObject } from '#virtual/kind.ts';
import type { Kind } from '#virtual/kind.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { changesOf } from '../edits.ts';
import {
  fieldsOfObject,
  type FieldSpec,
  parseFlag,
  placeholder,
  settableFields,
  variantOf,
} from '../fields.ts';
import { examples, firstExamples, KIND_EXAMPLES, type Verb } from '../examples.ts';
import { pairs, print } from '../format.ts';
import { UsageError } from '../io.ts';
import { columnsOf, kindList } from '../kind-list.ts';
import { checkList, conditionsOf, listingOptions, orderOf, showList } from '../listing.ts';
import { cellOf, isId, type Lookup } from '../names.ts';
import {
  action,
  atOption,
  finishWrite,
  formatOf,
  ifRevisionOption,
  isWide,
  type Options,
  outputOption,
  repeated,
  type Session,
  writeOptions,
} from '../session.ts';

const valueOf = (object: StoredObject, field: string): unknown =>
  (object as unknown as Readonly<Record<string, unknown>>)[field];

function listVerb(session: Session, parent: Command, kind: Kind): void {
  const list = parent.command('list').description(`list every ${kind.name} you may see`);
  listingOptions(list)
    .addOption(atOption())
    .action(
      action(session, async (_args, options) => {
        const conditions = conditionsOf(options);
        checkList(
          columnsOf(kind, (_kind, id) => id),
          options,
        );
        const request = {
          conditions,
          order: orderOf(options),
          wide: isWide(options),
          forPeople: formatOf(options) === 'table',
        };
        await showList(session, options, await kindList(session, kind, request));
      }),
    );
}

function showVerb(session: Session, parent: Command, kind: Kind): void {
  parent
    .command('show')
    .description(`show one ${kind.name}, every field`)
    .argument(`<${kind.name}>`, 'its name or id')
    .addOption(atOption())
    .addOption(outputOption())
    .action(
      action(session, async ([target = ''], options) => {
        const object = await session.io.client.get(kind.name, target);
        const name: Lookup =
          formatOf(options) === 'table'
            ? await session.names.forKind(kind.name)
            : (_kind, id) => id;
        const rows = fieldsOfObject(kind, object).map(
          (field) => [field.flag, cellOf(field, valueOf(object, field.name), name, '\n')] as const,
        );
        print(session.io, formatOf(options), {
          value: object,
          text: () => pairs([...rows, ['revision', String(object.revision)]]),
        });
      }),
    );
}

/**
 * Adds a field's flag. Those an object cannot change once it exists stay out of the help of
 * `update`.
 */
function fieldFlag(command: Command, kind: Kind, field: FieldSpec): void {
  const option = new Option(`--${field.flag} ${placeholder(field)}`, field.about);
  const isList = field.type === 'objects' || field.type === 'texts';
  if (isList) option.argParser(repeated);
  if (isList) option.description += ' Repeatable.';
  const variant = variantOf(kind, field);
  if (variant !== undefined && field.refersTo === undefined)
    option.description += ` Only of type ${variant}.`;
  const hidden = command.name() === 'update' && kind.immutable.includes(field.name);
  command.addOption(option.hideHelp(hidden));
}

const givenFields = (fields: readonly FieldSpec[], options: Options): Record<string, unknown> => {
  const body: Record<string, unknown> = {};
  for (const field of fields)
    if (options[field.name] !== undefined) body[field.name] = parseFlag(field, options[field.name]);
  return body;
};

/** What people call what was written; `typed` when the API does not say. */
const titleFor = async (
  { names }: Session,
  { name }: Kind,
  object: StoredObject | undefined,
  typed = '',
): Promise<string> => (object === undefined ? typed : names.title(name, object));

function createVerb(session: Session, parent: Command, kind: Kind): void {
  const fields = settableFields(kind);
  const required = fields.filter((field) => !field.optional).map((field) => `--${field.flag}`);
  const either = fields.filter((field) => variantOf(kind, field) && field.refersTo !== undefined);
  if (either.length > 0)
    required.push(`and ${either.map((field) => `--${field.flag}`).join(' or ')}`);
  const create = parent
    .command('create')
    .description(`create a ${kind.name}; needs ${required.join(', ')}`)
    .argument('[name]', 'the same as --name');
  for (const field of fields) fieldFlag(create, kind, field);
  writeOptions(create).action(
    action(session, async ([name], options) => {
      const body = givenFields(fields, options);
      if (name !== undefined && body['name'] !== undefined)
        throw new UsageError(`the name is given twice: '${name}' and --name`);
      if (name !== undefined) body['name'] = name;
      session.about = { command: session.about.command, target: undefined };
      const written = await session.io.client.create(kind.name, body);
      return finishWrite(session, options, {
        written,
        line: `created ${kind.name} ${await titleFor(session, kind, written.objects[0])}`.trimEnd(),
      });
    }),
  );
}

function updateVerb(session: Session, parent: Command, kind: Kind): void {
  const fields = settableFields(kind);
  const update = parent
    .command('update')
    .description(`change fields of a ${kind.name}; what is not named stays`)
    .argument(`<${kind.name}>`, 'its name or id');
  for (const field of fields) {
    fieldFlag(update, kind, field);
    if (field.type !== 'objects' && field.type !== 'texts') continue;
    const form = placeholder(field);
    update
      .option(`--add-${field.flag} ${form}`, `add one to ${field.flag}; repeatable`, repeated)
      .option(`--remove-${field.flag} ${form}`, 'remove those that match; repeatable', repeated);
  }
  update
    .option('--unset <field>', 'clear a field, or set it back to its default; repeatable', repeated)
    .addOption(ifRevisionOption());
  writeOptions(update).action(
    action(session, async ([target = ''], options) => {
      const written = await changesOf(session, kind, {
        target,
        options,
        body: givenFields(fields, options),
      });
      return finishWrite(session, options, {
        written,
        line: `updated ${kind.name} ${await titleFor(session, kind, written.objects[0], target)}`,
      });
    }),
  );
}

function deleteVerb(session: Session, parent: Command, kind: Kind): void {
  const remove = parent
    .command('delete')
    .description(`delete one or several, all or none`)
    .argument(`<${kind.name}...>`, 'names or ids')
    .addOption(ifRevisionOption());
  writeOptions(remove).action(
    action(session, async (targets, options) => {
      const ifRevision = options['ifRevision'] as number | undefined;
      const [only = '', ...more] = targets;
      const named: string[] = [];
      for (const target of targets)
        named.push(isId(target) ? await session.names.one(kind.name, target) : target);
      if (more.length > 0 && ifRevision !== undefined)
        throw new UsageError('--if-revision: name one object only');
      const written =
        more.length === 0
          ? await session.io.client.remove(kind.name, only, ifRevision)
          : await session.io.client.transact(
              targets.map((id) => ({ op: 'delete', kind: kind.name, id })),
            );
      const line = `deleted ${kind.name} ${named.join(', ')}`;
      return finishWrite(session, options, { written, line });
    }),
  );
}

/**
 * One command per kind, in the table's order; answers them by name so that others can add verbs.
 */
export function addResources(session: Session, program: Command): Map<string, Command> {
  const commands = new Map<string, Command>();
  for (const kindName of KIND_NAMES) {
    const kind = kindOf(kindName);
    const command = program
      .command(kind.name)
      .description(kind.about)
      .helpGroup('The virtual network:');
    examples(command, firstExamples(kind.name));
    listVerb(session, command, kind);
    showVerb(session, command, kind);
    if (kind.writer !== 'host') {
      createVerb(session, command, kind);
      updateVerb(session, command, kind);
      deleteVerb(session, command, kind);
    }
    for (const verb of command.commands) {
      const lines = KIND_EXAMPLES[kind.name][verb.name() as Verb];
      if (lines !== undefined) examples(verb, lines);
    }
    commands.set(kind.name, command);
  }
  return commands;
}
