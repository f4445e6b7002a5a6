/** `mn explain`: a kind or a field of it, from the table of kinds and its schemas. */
import type { Command } from 'commander';
import { z } from 'zod';
import { KIND_NAMES, type Kind, type KindName } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { referencesTo } from '#virtual/references.ts';
import { fieldsOf, type FieldSpec, findField, kebab, variantOf } from '../fields.ts';
import { pairs, print } from '../format.ts';
import { UsageError } from '../io.ts';
import { action, formatOf, outputOption, type Session } from '../session.ts';

/** The longest pattern that says more to a reader than "a text". */
const PATTERN_LENGTH_MAX = 40;

const DELETED: Readonly<Record<string, string>> = {
  cascade: 'goes too',
  clear: 'loses this field, or the element of the list that names it',
  refuse: 'stands in the way: the deletion is refused',
};
const WRITERS: Readonly<Record<Kind['writer'], string>> = {
  operator: 'operators',
  tenant: 'operators, and tenants their own',
  host: 'the host that carries it; nobody else',
};

type JsonSchema = Readonly<Record<string, unknown>>;

/** What a field's schema says in the words of JSON Schema, which has the limits ready. */
const jsonSchemaOf = ({ schema }: FieldSpec): JsonSchema =>
  z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;

/** What the field has when nobody gives it. */
function defaultOf({ schema }: FieldSpec): unknown {
  const parsed = schema.safeParse(undefined);
  return parsed.success ? parsed.data : undefined;
}

const text = (value: unknown): string => JSON.stringify(value);

/** Lengths, counts and ranges. */
function limitsOf(json: JsonSchema): string[] {
  const said: string[] = [];
  const range = (least: unknown, most: unknown, unit: string): void => {
    if (least !== undefined && most !== undefined)
      said.push(`${text(least)} to ${text(most)}${unit}`);
    else if (most !== undefined) said.push(`at most ${text(most)}${unit}`);
    else if (least !== undefined) said.push(`at least ${text(least)}${unit}`);
  };
  range(json['minLength'], json['maxLength'], ' characters');
  range(json['minItems'], json['maxItems'], ' elements');
  range(json['minimum'], json['maximum'], '');
  const { pattern, format } = json;
  if (typeof pattern === 'string' && pattern.length <= PATTERN_LENGTH_MAX && format === undefined)
    said.push(`matching ${pattern}`);
  return said;
}

/** `a list of { mac, ip }`, `one of "bridge", "router"`, `a bridge, by name or id`. */
function typeOf(field: FieldSpec): string {
  if (field.refersTo !== undefined) return `a ${field.refersTo}, by name or id`;
  if (field.type === 'objects')
    return `a list of { ${field.element.map(({ name }) => name).join(', ')} }`;
  if (field.type === 'texts') return 'a list of texts';
  if (field.type === 'boolean') return 'true or false';
  if (field.choices.length > 0) return `one of ${field.choices.map(text).join(', ')}`;
  if (field.type === 'number') return 'a whole number';
  return field.name === 'id' ? 'an id (UUID)' : 'a text';
}

/** A value of the field as it may stand in a document. */
function exampleOf(kind: KindName, field: FieldSpec): unknown {
  const spoken: Readonly<Record<string, unknown>> = {
    name: `${kind === 'tunnel-zone' ? 'zone' : kind}1`,
    tenant: 'acme',
    mac: '02:00:00:00:00:01',
    ip: '10.0.0.1',
    address: '192.0.2.1',
    gateway: '10.0.0.254',
    destination: '10.1.0.0/16',
    source: '10.0.0.0/24',
    interface: 'tap0',
    networks: ['10.0.0.254/24', 'fd00::fe/64'],
    labels: ['app=web'],
  };
  if (field.type === 'objects')
    return [Object.fromEntries(field.element.map((part) => [part.name, exampleOf(kind, part)]))];
  if (field.refersTo !== undefined)
    return field.refersTo === 'port' ? 'port2' : `${field.refersTo}1`;
  const example = spoken[field.name] ?? field.choices.at(-1);
  if (example !== undefined) return field.type === 'boolean' ? example === 'true' : example;
  return defaultOf(field) ?? jsonSchemaOf(field)['minimum'] ?? 'text';
}

function exampleLine(kind: KindName, path: readonly string[], field: FieldSpec): string {
  const yaml = (value: unknown): string =>
    Array.isArray(value)
      ? `[${value.map(yaml).join(', ')}]`
      : typeof value === 'object' && value !== null
        ? `{ ${Object.entries(value)
            .map(([name, each]) => `${name}: ${yaml(each)}`)
            .join(', ')} }`
        : String(value);
  const [first = ''] = path;
  const value = exampleOf(kind, field);
  const whole = path.length > 1 ? [{ [field.name]: value }] : value;
  return `${first}: ${yaml(whole)}`;
}

/** Who may give the field a value, and when. */
function setBy(kind: Kind, path: readonly string[]): string {
  const [field = ''] = path;
  if (field === 'id' || kind.assigned.includes(field)) return 'the server';
  if (kind.operatorFields.includes(field)) return 'operators';
  return WRITERS[kind.writer];
}

/** One field, as rows of two columns; JSON prints the same under the same titles. */
export function explainField(
  kind: Kind,
  path: readonly string[],
  field: FieldSpec,
): [string, string][] {
  const json = jsonSchemaOf(field);
  const reference = kind.references[path.join('.')];
  const variant = path.length === 1 ? variantOf(kind, field) : undefined;
  const [first = ''] = path;
  const usual = defaultOf(field);
  const isSet = first !== 'id' && !kind.assigned.includes(first) && kind.writer !== 'host';
  const rows: [string, string | undefined][] = [
    ['field', `${kind.name}.${path.join('.')}`],
    ['about', field.about],
    ['type', typeOf(field)],
    ['limits', limitsOf(json).join('; ') || undefined],
    ['only of', variant && `a ${kind.name} of type ${variant}`],
    ['default', usual === undefined ? undefined : text(usual)],
    ['required', isSet && !field.optional ? 'yes' : undefined],
    ['set by', setBy(kind, path)],
    ['changes', kind.immutable.includes(first) ? `never, once the ${kind.name} exists` : undefined],
    [
      'reference',
      reference &&
        `when that ${reference.kind} is deleted, this ${kind.name} ${DELETED[reference.onDelete]}`,
    ],
    ['flag', isSet ? `--${kebab(first)}` : undefined],
    ['example', isSet ? exampleLine(kind.name, path, field) : undefined],
  ];
  return rows.filter((row): row is [string, string] => row[1] !== undefined);
}

/** Whether who creates one must give it. */
const isRequired = (kind: Kind, { name, optional }: FieldSpec): boolean =>
  !optional && name !== 'id' && kind.writer !== 'host' && !kind.assigned.includes(name);

/** A kind: what it is, its fields, and what names it. */
export function explainKind(kind: Kind): [string, string][] {
  const fields = fieldsOf(kind).map(
    (field) =>
      `${field.name}${isRequired(kind, field) ? ' (required)' : ''}: ${field.about || typeOf(field)}`,
  );
  const named = referencesTo(kind.name).map(({ holder, path }) => `${holder}.${path}`);
  return [
    ['kind', kind.name],
    ['about', kind.about],
    ['API', `/v1/${kind.path}`],
    ['written by', WRITERS[kind.writer]],
    ['named by', named.join(', ') || 'nothing'],
    ['fields', fields.join('\n')],
  ];
}

function explain(words: string): [string, string][] {
  const [name = '', ...path] = words.split('.');
  if (!(KIND_NAMES as readonly string[]).includes(name))
    throw new UsageError(`there is no kind '${name}'`, `The kinds are: ${KIND_NAMES.join(', ')}`);
  const kind = kindOf(name as KindName);
  if (path.length === 0) return explainKind(kind);
  let specs: readonly FieldSpec[] = fieldsOf(kind);
  let field: FieldSpec | undefined;
  const found: string[] = [];
  for (const word of path) {
    if (field !== undefined && field.element.length === 0)
      throw new UsageError(`${name}.${found.join('.')} has no fields`);
    field = findField(specs, word, [name, ...found].join('.'));
    found.push(field.name);
    specs = field.element;
  }
  return field === undefined ? explainKind(kind) : explainField(kind, found, field);
}

export function addExplain(session: Session, program: Command): void {
  program
    .command('explain')
    .description('what a kind or a field means: type, limits, default, who may set it')
    .argument('<kind[.field]>', 'such as port, port.addresses or port.addresses.mac')
    .addOption(outputOption())
    .helpGroup('The virtual network:')
    .addHelpText(
      'after',
      `
Examples:
  mn explain port
  mn explain port.peer
  mn explain port.addresses.mac
`,
    )
    .action(
      action(session, async ([words = ''], options) => {
        const rows = explain(words);
        print(session.io, formatOf(options), {
          value: Object.fromEntries(rows),
          text: () => pairs(rows),
        });
      }),
    );
}
