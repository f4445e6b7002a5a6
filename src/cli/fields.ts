/**
 * The flags of a kind, read from its schema: the row in the table of kinds is the only description,
 * so a new field has its flag, its help and its completion without a line here.
 *
 * Flags are the field's name in kebab case. Text is passed on as typed (the API validates it and
 * resolves names); only what JSON tells apart (numbers, true and false, lists) is converted here.
 */
import { z } from 'zod';
import type { Kind, KindName, StoredObject } from '#virtual/kind.ts';
import { UsageError } from './io.ts';
import { didYouMean } from './suggest.ts';

export interface FieldSpec {
  /** As in the schema: `adminStateUp`. */
  readonly name: string;
  /** As typed: `admin-state-up`. */
  readonly flag: string;
  readonly about: string;
  readonly type: 'text' | 'number' | 'boolean' | 'objects' | 'texts';
  /** Not needed to create one. */
  readonly optional: boolean;
  /** The values there are, when they are few. */
  readonly choices: readonly string[];
  /** Of `objects`: the fields of an element. */
  readonly element: readonly FieldSpec[];
  /** The kind that the field names an object of. */
  readonly refersTo: KindName | undefined;
  readonly schema: z.ZodType;
}

export const kebab = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** The schema behind optional, default and transform. */
function bare(schema: z.ZodType): z.ZodType {
  let inner = schema;
  for (;;)
    if (
      inner instanceof z.ZodOptional ||
      inner instanceof z.ZodDefault ||
      inner instanceof z.ZodNullable
    )
      inner = inner.unwrap() as z.ZodType;
    else if (inner instanceof z.ZodPipe) inner = inner.in as z.ZodType;
    else return inner;
}

function typeOf(schema: z.ZodType): FieldSpec['type'] {
  if (schema instanceof z.ZodBoolean) return 'boolean';
  if (schema instanceof z.ZodNumber) return 'number';
  if (!(schema instanceof z.ZodArray)) return 'text';
  return bare(schema.element as z.ZodType) instanceof z.ZodObject ? 'objects' : 'texts';
}

function choicesOf(schema: z.ZodType): readonly string[] {
  if (schema instanceof z.ZodBoolean) return ['true', 'false'];
  if (schema instanceof z.ZodEnum) return schema.options.map(String);
  if (schema instanceof z.ZodLiteral) return [...schema.values].map(String);
  return [];
}

function specsOf(shape: Readonly<Record<string, unknown>>, kind: Kind, path: string): FieldSpec[] {
  return Object.entries(shape).map(([name, value]) => {
    const schema = value as z.ZodType;
    const inner = bare(schema);
    const element = inner instanceof z.ZodArray ? bare(inner.element as z.ZodType) : undefined;
    const at = `${path}${name}`;
    return {
      name,
      flag: kebab(name),
      about: schema.description ?? '',
      type: typeOf(inner),
      optional: schema.safeParse(undefined).success,
      choices: choicesOf(inner),
      element: element instanceof z.ZodObject ? specsOf(element.shape, kind, `${at}.`) : [],
      refersTo: kind.references[at]?.kind,
      schema,
    };
  });
}

/** Every field of a kind, in the schema's order. */
export const fieldsOf = (kind: Kind): FieldSpec[] => specsOf(kind.schema.shape, kind, '');

/** The fields a caller may give when it creates one. */
export const settableFields = (kind: Kind): FieldSpec[] =>
  fieldsOf(kind).filter((field) => field.name !== 'id' && !kind.assigned.includes(field.name));

/** The one variant of a kind that has a field; undefined: all have it. */
export const variantOf = ({ variants }: Kind, field: FieldSpec): string | undefined =>
  Object.keys(variants?.of ?? {}).find((name) => variants?.of[name]?.includes(field.name));

/** The fields that an object of a kind can have. */
export function fieldsOfObject(kind: Kind, object: StoredObject): FieldSpec[] {
  const own = (object as unknown as Readonly<Record<string, unknown>>)[kind.variants?.field ?? ''];
  return fieldsOf(kind).filter((field) => [undefined, own].includes(variantOf(kind, field)));
}

/** By name or flag; the error lists what there is. */
export function findField(specs: readonly FieldSpec[], text: string, what: string): FieldSpec {
  const spec = specs.find((candidate) => candidate.name === text || candidate.flag === text);
  if (spec !== undefined) return spec;
  const known = specs.map((candidate) => candidate.flag);
  const guess = didYouMean(text, known);
  const list = `The fields are: ${known.join(', ')}`;
  const hint = guess === undefined ? list : `${guess} ${list}`;
  throw new UsageError(`${what}: there is no field '${text}'`, hint);
}

/** What stands behind the flag in help: `<mac=…[,ip=…]>`. */
export function placeholder(field: FieldSpec): string {
  if (field.type === 'objects') {
    const [first, ...rest] = field.element.map((part) =>
      part.optional ? `[,${part.flag}=…]` : `,${part.flag}=…`,
    );
    return `<${[first?.replace(/^(\[?),/, '$1') ?? '', ...rest].join('')}>`;
  }
  if (field.choices.length > 0) return `<${field.choices.join('|')}>`;
  if (field.refersTo !== undefined) return `<${field.refersTo}>`;
  if (field.type === 'texts') return '<text[,text…]>';
  return field.type === 'number' ? '<number>' : '<text>';
}

/**
 * One value as typed, in the type that JSON wants. Throws UsageError when it is not of that type.
 */
export function parseValue(field: FieldSpec, text: string, flag: string): unknown {
  if (field.type === 'boolean') {
    if (text !== 'true' && text !== 'false')
      throw new UsageError(`${flag}: must be true or false, not '${text}'`);
    return text === 'true';
  }
  if (field.type === 'number') {
    if (!/^-?\d{1,15}$/.test(text))
      throw new UsageError(`${flag}: must be a whole number, not '${text}'`);
    return Number(text);
  }
  return text;
}

/**
 * `mac=02:00:00:00:00:01,ip=10.0.0.1` as an object; which fields must be there is the API's to say.
 */
export function parseElement(
  field: FieldSpec,
  text: string,
  flag: string,
): Readonly<Record<string, unknown>> {
  const object: Record<string, unknown> = {};
  for (const part of text.split(',')) {
    const at = part.indexOf('=');
    if (at < 1) {
      const form = placeholder(field).slice(1, -1);
      throw new UsageError(`${flag}: '${part}' is not of the form ${form}`);
    }
    const spec = findField(field.element, part.slice(0, at), flag);
    if (spec.name in object) throw new UsageError(`${flag}: ${spec.flag} is given twice`);
    object[spec.name] = parseValue(spec, part.slice(at + 1), `${flag} ${spec.flag}`);
  }
  return object;
}

/** What was given for a field's flag (a list of texts for lists), as the API takes it. */
export function parseFlag(field: FieldSpec, given: unknown): unknown {
  const flag = `--${field.flag}`;
  if (field.type === 'objects')
    return (given as readonly string[]).map((text) => parseElement(field, text, flag));
  if (field.type === 'texts') return (given as readonly string[]).flatMap(parseTexts);
  return parseValue(field, String(given), flag);
}

/** Texts of a list, with commas between: `10.0.0.1/24,fd00::1/64`. */
export const parseTexts = (text: string): string[] => text.split(',');
