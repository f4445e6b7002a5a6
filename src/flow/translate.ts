/**
 * Records of one layout as records of another, field by field, by name.
 *
 * Invariant: a record is translated wholly or not at all. A field that the reader lacks must be
 * zero, a number must fit, and each flag and code must have a name that the reader knows: so
 * nothing is ever carried that would do less, or something else, over here.
 */
import { SIZE } from './layout.ts';
import type { Description, FieldAt, Meaning, StructText } from './description.ts';

/**
 * Writes the record at `from` over the bytes at `to`; false, with some of them written, when it is
 * not understood.
 */
export type Translate = (from: DataView, fromAt: number, to: DataView, toAt: number) => boolean;

interface Place {
  readonly at: number;
  readonly bytes: number;
}
type Step =
  | { readonly op: 'bytes'; readonly from: number; readonly to: number; bytes: number }
  | { readonly op: 'zero'; readonly from: number; readonly bytes: number }
  | { readonly op: 'number'; readonly from: Place; readonly to: Place; readonly map: NumberMap }
  | { readonly op: 'never' };
/** The number over there as one of ours; -1: not understood. */
type NumberMap = (value: number) => number;

const bytesOf = ([, type, count]: FieldAt): number => SIZE[type] * count;
const isNet = ([, type]: FieldAt): boolean => type.startsWith('net');
const isNumber = (field: FieldAt): boolean => !isNet(field) && field[2] === 1;

/** Little-endian, up to 2^53: larger ones are -1. */
function readNumber(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at, true);
  if (bytes === 4) return view.getUint32(at, true);
  const value = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  return Number.isSafeInteger(value) ? value : -1;
}
function writeNumber(view: DataView, at: number, bytes: number, value: number): void {
  if (bytes === 1) view.setUint8(at, value);
  else if (bytes === 2) view.setUint16(at, value, true);
  else view.setUint32(at, value % 2 ** 32, true);
  if (bytes === 8) view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

type Tables = Description['tables'];

/** Flags by their names; flags fit 32 bits. */
function bitsMap(theirs: Meaning, ours: Meaning, tables: readonly [Tables, Tables]): NumberMap {
  if (!('bits' in theirs) || !('bits' in ours)) return (value) => (value === 0 ? 0 : -1);
  const low = 2 ** (theirs.low ?? 0);
  const lowOfOurs = 2 ** (ours.low ?? 0);
  const known = Object.entries(tables[0][theirs.bits] ?? {}).flatMap(([name, bit]) => {
    const own = tables[1][ours.bits]?.[name];
    return own === undefined ? [] : [[bit >>> 0, own] as const];
  });
  return (value) => {
    const number = value % low;
    if (number >= lowOfOurs || value > 0xffffffff) return -1;
    let rest = value - number;
    let out = number;
    for (const [bit, own] of known)
      if ((rest & bit) >>> 0 === bit && bit !== 0) {
        rest -= bit;
        out += own;
      }
    return rest === 0 ? out : -1;
  };
}

function codeMap(theirs: Meaning, ours: Meaning, tables: readonly [Tables, Tables]): NumberMap {
  const codes = new Map([[0, 0]]);
  if ('code' in theirs && 'code' in ours)
    for (const [name, code] of Object.entries(tables[0][theirs.code] ?? {})) {
      const own = tables[1][ours.code]?.[name];
      if (own !== undefined) codes.set(code, own);
    }
  return (value) => codes.get(value) ?? -1;
}

/** Compiles the steps for one struct. Undefined: this version has none of that name and rules. */
export function translator(
  theirs: Description,
  ours: Description,
  name: string,
): Translate | undefined {
  const [from, to] = [theirs.structs[name], ours.structs[name]];
  if (from === undefined || to === undefined) return undefined;
  if ((theirs.rules[name] ?? 1) !== (ours.rules[name] ?? 1)) return undefined;
  const tables = [theirs.tables, ours.tables] as const;
  const meanings = [theirs.meanings[name] ?? {}, ours.meanings[name] ?? {}] as const;
  const steps: Step[] = [];
  for (const [field, there] of Object.entries(from.fields)) {
    const [meant, mean] = [meanings[0][field], meanings[1][field]];
    const step = stepOf(there, to.fields[field], mapOf(meant, mean, tables));
    const last = steps.at(-1);
    const joins =
      step.op === 'bytes' &&
      last?.op === 'bytes' &&
      last.from + last.bytes === step.from &&
      last.to + last.bytes === step.to;
    if (joins) last.bytes += step.bytes;
    else steps.push(step);
  }
  const parts = steps.map(compile);
  return (source, fromAt, target, toAt) => {
    for (const part of parts) if (!part(source, fromAt, target, toAt)) return false;
    return true;
  };
}

function mapOf(
  theirs: Meaning | undefined,
  ours: Meaning | undefined,
  tables: readonly [Tables, Tables],
): NumberMap | undefined {
  if (theirs === undefined && ours === undefined) return undefined;
  if (theirs === undefined || ours === undefined) return (value) => (value === 0 ? 0 : -1);
  return 'bits' in theirs ? bitsMap(theirs, ours, tables) : codeMap(theirs, ours, tables);
}

function stepOf(from: FieldAt, to: FieldAt | undefined, map: NumberMap | undefined): Step {
  const zero: Step = { op: 'zero', from: from[0], bytes: bytesOf(from) };
  if (to === undefined) return zero;
  if (isNumber(from) && isNumber(to)) {
    const places = [from, to].map((field) => ({ at: field[0], bytes: bytesOf(field) })) as [
      Place,
      Place,
    ];
    if (map !== undefined || bytesOf(from) !== bytesOf(to))
      return { op: 'number', from: places[0], to: places[1], map: map ?? ((value) => value) };
  } else if (map !== undefined) return { op: 'never' };
  const same = isNet(from) === isNet(to) && bytesOf(from) === bytesOf(to);
  const alike = isNet(from) || from[1] === to[1];
  return same && alike ? { op: 'bytes', from: from[0], to: to[0], bytes: bytesOf(from) } : zero;
}

function compile(step: Step): Translate {
  switch (step.op) {
    case 'bytes':
      return (from, fromAt, to, toAt) => {
        for (let i = 0; i < step.bytes; i++)
          to.setUint8(toAt + step.to + i, from.getUint8(fromAt + step.from + i));
        return true;
      };
    case 'zero':
      return (from, fromAt) => {
        for (let i = 0; i < step.bytes; i++)
          if (from.getUint8(fromAt + step.from + i) !== 0) return false;
        return true;
      };
    case 'number': {
      const { from: there, to: here, map } = step;
      const limit = 2 ** (8 * here.bytes);
      return (from, fromAt, to, toAt) => {
        const read = readNumber(from, fromAt + there.at, there.bytes);
        const value = read < 0 ? -1 : map(read);
        if (value < 0 || value >= limit) return false;
        writeNumber(to, toAt + here.at, here.bytes, value);
        return true;
      };
    }
    case 'never':
      return () => false;
  }
}

/** A number field of a record, of whatever width it is there; undefined: there is none. */
export function reader(
  { fields }: StructText,
  name: string,
): ((view: DataView, base: number) => number) | undefined {
  const field = fields[name];
  if (field === undefined || !isNumber(field)) return undefined;
  const [at, bytes] = [field[0], bytesOf(field)];
  return (view, base) => readNumber(view, base + at, bytes);
}
