/**
 * The pages of objects and of the API: what the API says of itself at /openapi.json, asked from
 * one that runs in this process.
 */
import type { z } from 'zod';
import { createApi } from '#api/app.ts';
import { openSqlite } from '#store/sqlite.ts';
import { KIND_NAMES, type Kind } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { code, page, table, type PrintedPage } from './table.ts';

interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly format?: string;
  readonly items?: Schema;
  readonly $ref?: string;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}
interface Operation {
  readonly summary: string;
  readonly parameters: readonly { name: string; in: string; description: string }[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
  readonly 'x-roles': readonly string[] | string;
}
type Content = Readonly<Record<string, { readonly schema: { readonly $ref: string } }>>;

export interface Described {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly schemas: Readonly<Record<string, Schema>>;
}

/** What an API that was just started says of itself. */
export async function describedApi(): Promise<Described> {
  await using store = openSqlite(':memory:');
  const clock = { now: () => 0, after: () => () => {} };
  const onBug = (bug: unknown): void => {
    throw bug;
  };
  const api = createApi({ store, clock, version: 'any', onBug });
  try {
    const ask = (path: string): Promise<Response> => api.operator(new Request(`http://api${path}`));
    const document = (await (await ask('/openapi.json')).json()) as {
      readonly paths: Described['paths'];
      readonly components: { readonly schemas: Described['schemas'] };
    };
    return { paths: document.paths, schemas: document.components.schemas };
  } finally {
    await api.close();
  }
}

const range = ({ minimum, maximum }: Schema): string => {
  const big = (n: number | undefined): boolean => n === undefined || Math.abs(n) >= 2 ** 53 - 1;
  if (big(minimum) && big(maximum)) return '';
  return big(maximum) ? `, from ${minimum}` : ` from ${minimum} to ${maximum}`;
};

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return code(schema.$ref.split('/').at(-1) ?? '');
  if (schema.oneOf !== undefined) return schema.oneOf.map(typeOf).join(' or ');
  const [first] = schema.anyOf ?? [];
  if (first !== undefined && schema.type === undefined) return typeOf(first);
  if (schema.enum !== undefined)
    return schema.enum.map((value) => code(String(value))).join(' or ');
  if (schema.const !== undefined) return code(JSON.stringify(schema.const));
  if (schema.type === 'array') {
    const most = schema.maxItems === undefined ? '' : ` (at most ${schema.maxItems})`;
    return `list of ${plural(schema.items ?? {})}${most}`;
  }
  if (schema.type === 'object') return 'object';
  if (schema.type === 'integer' || schema.type === 'number') return `number${range(schema)}`;
  if (schema.type === 'boolean') return 'true or false';
  return schema.format === 'uuid' ? 'id' : 'text';
}
const plural = (items: Schema): string => {
  if (items.properties !== undefined) return Object.keys(items.properties).map(code).join(', ');
  return items.$ref === undefined && items.oneOf === undefined && items.enum === undefined
    ? `${typeOf(items)}s`
    : typeOf(items);
};

const shownDefault = (value: unknown): string =>
  value === undefined ? '' : code(JSON.stringify(value));

const WHO = {
  operator: 'An operator writes it.',
  tenant: 'A tenant writes its own, and an operator any.',
  host: 'The agent of the host writes it; nobody else does.',
} as const;

const ON_DELETE = {
  cascade: 'is deleted with it',
  clear: 'loses the field when it is deleted',
  refuse: 'stands in the way of its deletion',
} as const;

/** Of a field that is a list. */
const LOSES_ELEMENT = 'loses it from the list when it is deleted';

const GIVEN = 'Given by the server';

/** What takes an empty list is one. */
const isListOf = ({ schema }: Kind, field: string): boolean =>
  (schema.shape[field] as z.ZodType | undefined)?.safeParse([]).success === true;

/** What the row of the kind says of a field, besides its schema. */
function notesOf(kind: Kind, field: string, about: string): string[] {
  const variant = Object.entries(kind.variants?.of ?? {}).find(([, own]) => own.includes(field));
  const reference = Object.entries(kind.references).find(([path]) => path.split('.')[0] === field);
  const of = reference?.[1];
  const article = /^[aeiou]/.test(of?.kind ?? '') ? 'an' : 'a';
  const isList = isListOf(kind, field);
  const onDelete =
    of && (isList && of.onDelete === 'clear' ? LOSES_ELEMENT : ON_DELETE[of.onDelete]);
  return [
    variant && `Only of a ${kind.name} of a ${variant[0]}.`,
    of && `Names ${article} [${of.kind}](#${of.kind}); the ${kind.name} ${onDelete}.`,
    kind.assigned.includes(field) && !about.includes(GIVEN) && `${GIVEN}.`,
    kind.immutable.includes(field) && 'Cannot be changed.',
    kind.operatorFields.includes(field) && 'Set by operators only.',
  ].filter((note) => typeof note === 'string');
}

function kindSection(kind: Kind, schemas: Described['schemas']): string {
  const component = kind.schema.meta()?.id ?? kind.name;
  const stored = schemas[component];
  const given = schemas[`New${component}`];
  if (stored?.properties === undefined) throw new Error(`nothing describes ${component}`);
  const rows = Object.entries(stored.properties).map(([field, schema]) => {
    const needed = given?.required?.includes(field) === true ? ', needed' : '';
    const inner = Object.entries(schema.items?.properties ?? {}).map(
      ([name, { description = '' }]) => `${code(name)}: ${description}`,
    );
    const about = [
      schema.description ?? '',
      ...inner,
      ...notesOf(kind, field, schema.description ?? ''),
    ].join(' ');
    return [code(field), `${typeOf(schema)}${needed}`, shownDefault(schema.default), about];
  });
  return [
    `## ${kind.name}`,
    `${kind.about} ${WHO[kind.writer]} In the API at ${code(`/v1/${kind.path}`)}.`,
    table(['Field', 'What it takes', 'Default', 'What it says'], rows),
  ].join('\n\n');
}

export const objectsPage = ({ schemas }: Described): PrintedPage => ({
  name: 'objects.md',
  text: page('Objects and their fields', [
    'Printed from the table of kinds, `src/virtual/kinds.ts`, which is all that API and command ' +
      'line know of them. On the command line a field is a flag, in small letters with hyphens: ' +
      '`adminStateUp` is `--admin-state-up`. Wherever an object names another, a unique name does ' +
      'for the id.',
    ...KIND_NAMES.map((name) => kindSection(kindOf(name), schemas)),
  ]),
});

const nameOf = (content: Content | undefined): string =>
  Object.values(content ?? {})[0]
    ?.schema.$ref.split('/')
    .at(-1) ?? '';

const whoOf = (roles: Operation['x-roles']): string => {
  if (roles === 'anyone') return 'anyone, without a token';
  if (roles === 'local') return 'the unix socket only';
  return (roles as readonly string[]).join(', ');
};

/** Routes of one thing: the first word behind the version. */
const groupOf = (path: string): string => /^\/v1\/([^/]+)/.exec(path)?.[1] ?? 'without a version';

/** A parameter that every list has for each of its fields. */
const FILTER = /^Only those whose \S+ is this\.$/;

function operationRow([method, path, operation]: readonly [string, string, Operation]): string[] {
  const asked = operation.parameters.filter((parameter) => parameter.in === 'query');
  const filters = asked.filter(({ description }) => FILTER.test(description));
  const query = asked
    .filter((parameter) => !filters.includes(parameter))
    .map(({ name, description }) => `${code(`?${name}`)} ${description}`);
  if (filters.length > 0)
    query.push(`By the value of ${filters.map(({ name }) => code(`?${name}`)).join(', ')}.`);
  const answer = Object.entries(operation.responses).find(([status]) => status !== 'default');
  const shapes = [
    ['takes', nameOf(operation.requestBody?.content)],
    ['answers', nameOf(answer?.[1].content)],
  ].flatMap(([word, name]) => (name === '' ? [] : [`${word} ${code(name ?? '')}`]));
  return [
    code(`${method.toUpperCase()} ${path}`),
    [operation.summary, ...query].join(' '),
    shapes.join(', '),
    whoOf(operation['x-roles']),
  ];
}

/** Shapes that are not of one kind, which have a page. */
function shapesTable(schemas: Described['schemas']): string {
  const kinds = new Set(
    KIND_NAMES.flatMap((name) => {
      const component = kindOf(name).schema.meta()?.id ?? name;
      return [component, `${component}Page`, `New${component}`, `${component}Patch`];
    }),
  );
  const rows = Object.entries(schemas)
    .filter(([name]) => !kinds.has(name))
    .map(([name, { properties = {}, required = [], description = '' }]) => [
      code(name),
      Object.entries(properties)
        .map(([field, schema]) => {
          const type = typeOf(schema);
          return `${code(field)}${required.includes(field) ? '' : '?'} ${type}`;
        })
        .join('; '),
      description,
    ]);
  return table(['Shape', 'Fields; ? need not be there', 'What it is'], rows);
}

export function restPage({ paths, schemas }: Described): PrintedPage {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [method, path, operation] as const),
  );
  const groups = Map.groupBy(operations, ([, path]) => groupOf(path));
  return {
    name: 'rest.md',
    text: page('REST', [
      'Printed from what the API says of itself at `/openapi.json` (OpenAPI 3.1). Requests and ' +
        'answers are JSON. A refusal is `application/problem+json` (RFC 9457) and names field and ' +
        'rule; nothing was changed then. `If-Match` with a revision makes a write conditional. ' +
        'Over TCP each request carries `Authorization: Bearer TOKEN`; who connects to the unix ' +
        'socket is an operator.',
      'For each kind of [object](objects.md) there is the object itself, `NewX` to create one, ' +
        '`XPatch` to change it (a merge patch, RFC 7396: `null` empties a field), and `XPage`, ' +
        'a page of a list.',
      ...[...groups].map(
        ([group, rows]) =>
          `## ${group}\n\n${table(['Route', 'What it does', 'Shapes', 'Who may'], rows.map(operationRow))}`,
      ),
      `## Shapes\n\n${shapesTable(schemas)}`,
    ]),
  };
}
