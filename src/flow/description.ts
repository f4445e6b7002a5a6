/**
 * A layout in words: what is stored beside pinned maps, so that every version reads the maps of
 * every other by the names of fields, older and newer alike.
 *
 * Invariant: whatever decides what stored bytes mean is in the description: structs, the names of
 * flags and codes, which map holds which struct, and RULES for what has no bytes of its own. What a
 * reader does not find in its own description it does not understand, and leaves out.
 */
import { DROPS } from '#virtual/drop.ts';
import {
  ACTION,
  COUNTER,
  LAYOUT_VERSION,
  KEY_FLAG,
  LIMITS,
  MARK_SENT,
  MARK_SLOT_BITS,
  NETWORK_NO_PORT,
  PEER_FAMILY,
  SIZE,
  STRUCTS,
  VLAN,
} from './layout.ts';
import type { FieldRow } from './layout.ts';

export type FieldType = FieldRow['type'];
/** A field: where it is, its type, how many of it. */
export type FieldAt = readonly [at: number, type: FieldType, count: number];
export interface StructText {
  readonly size: number;
  readonly fields: Readonly<Record<string, FieldAt>>;
}
/**
 * What a field is besides a number. `bits`: flags of that table; below `low` bits it is a number.
 * `code`: one of that table, or 0.
 */
export type Meaning = { readonly bits: string; readonly low?: number } | { readonly code: string };
/** What a map's keys and values are: names of structs, or `u32`. */
export interface MapText {
  readonly key?: string;
  readonly value?: string;
}

export interface Description {
  readonly version: number;
  readonly structs: Readonly<Record<string, StructText>>;
  /** Named numbers, by table. */
  readonly tables: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** By struct and field; the others are plain numbers, or bytes of a frame. */
  readonly meanings: Readonly<Record<string, Readonly<Record<string, Meaning>>>>;
  readonly maps: Readonly<Record<string, MapText>>;
  /** By struct: raised when its fields come to mean something else; 1 where not said. */
  readonly rules: Readonly<Record<string, number>>;
}

/** Longest description that is written or read. */
export const DESCRIPTION_BYTES_MAX = 65_536;

const MEANINGS = {
  action: {
    flags: { bits: 'ACTION' },
    vlan: { bits: 'VLAN', low: 12 },
    drop_code: { code: 'DROP' },
  },
  member: { vlan: { bits: 'VLAN', low: 12 } },
  key_target: { network: { bits: 'NETWORK', low: 31 }, flags: { bits: 'KEY_FLAG' } },
  peer: { family: { code: 'PEER_FAMILY' } },
} as const;

/**
 * `flow_key`: the parser's rules (`parse.ts`): which bytes of a frame a key is made of. `action`:
 * the order of looking, rewriting and sending. `entry`: what a bucket's number says,
 * and which class and which drop code each place stands for.
 */
const RULES = { flow_key: 1, action: 1, entry: 1 } as const;

function structText(rows: readonly FieldRow[]): StructText {
  const fields: Record<string, FieldAt> = {};
  let size = 0;
  for (const { name, type, count = 1 } of rows) {
    fields[name] = [size, type, count];
    size += SIZE[type] * count;
  }
  return { size, fields };
}

/** The layout of this version. `maps`: what the datapath keeps in which map. */
export function describeLayout(maps: Readonly<Record<string, MapText>>): Description {
  const structs = Object.entries(STRUCTS).map(([name, rows]) => [name, structText(rows)] as const);
  const drops = Object.entries(DROPS).map(([reason, { code }]) => [reason, code] as const);
  return {
    version: LAYOUT_VERSION,
    structs: Object.fromEntries(structs),
    tables: {
      ACTION,
      VLAN,
      KEY_FLAG,
      PEER_FAMILY,
      NETWORK: { NO_PORT: NETWORK_NO_PORT },
      DROP: Object.fromEntries(drops),
      COUNTER,
      MARK: { SENT: MARK_SENT, SLOT_BITS: MARK_SLOT_BITS },
      LIMITS,
    },
    meanings: MEANINGS,
    maps,
    rules: RULES,
  };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isField(value: unknown): value is FieldAt {
  if (!Array.isArray(value) || value.length !== 3) return false;
  const [at, type, count] = value as unknown[];
  const whole = (n: unknown): boolean => Number.isInteger(n) && (n as number) >= 0;
  return whole(at) && whole(count) && typeof type === 'string' && Object.hasOwn(SIZE, type);
}

/** Whether every field lies inside its struct. */
function isStruct(value: unknown): value is StructText {
  if (!isRecord(value) || !Number.isInteger(value['size']) || !isRecord(value['fields']))
    return false;
  const size = value['size'] as number;
  return Object.values(value['fields']).every(
    (field) => isField(field) && field[0] + SIZE[field[1]] * field[2] <= size,
  );
}

/** The description of another version; undefined when the text is none that can be read here. */
export function parseDescription(text: string): Description | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(json) || !Number.isInteger(json['version'])) return undefined;
  const parts = ['structs', 'tables', 'meanings', 'maps', 'rules'];
  if (!parts.every((part) => isRecord(json[part]))) return undefined;
  const { structs, tables, meanings, maps } = json;
  const rows = [tables, meanings, maps].flatMap((each) => Object.values(each as object));
  const good = Object.values(structs as object).every(isStruct) && rows.every(isRecord);
  return good ? (json as unknown as Description) : undefined;
}
