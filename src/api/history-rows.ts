/**
 * What the history keeps of one change, as text in the store, and how much of it is kept.
 *
 * Invariants: an entry holds every row of its change, before and after, or the change is refused;
 * it names who wrote and never a secret. Entries of any size that a change may have fit beside its
 * rows into one transaction of the store.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Author, HistoryRow } from '#client/history.ts';
import type { Entry } from '#store/store.ts';
import type { RowChange } from '#virtual/change.ts';
import type { StoredObject } from '#virtual/kind.ts';
import type { Topology } from '#virtual/topology.ts';
import { revisionOfHistoryKey } from './keys.ts';
import { Refusal } from './problems.ts';

/** What is kept: the oldest go when either is exceeded. */
export interface HistoryLimits {
  readonly entriesMax: number;
  readonly bytesMax: number;
}
export const HISTORY_LIMITS: HistoryLimits = {
  entriesMax: 100_000,
  bytesMax: 256 * 1024 * 1024,
};
/** An entry may have so many characters in the store; a larger change is refused. */
export const HISTORY_ENTRY_CHARACTERS_MAX = 700_000;
/** Longer entries are deflated: before and after have most in common. */
const PLAIN_CHARACTERS_MAX = 4_096;
const DEFLATE_LEVEL = 3;
const DEFLATED = 'z:';

/** Who wrote, with what decides who may know it. */
export interface StoredAuthor extends Author {
  readonly tenant?: string;
}
interface Kept {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly by: StoredAuthor;
  readonly request?: string;
  readonly rows: readonly HistoryRow[];
}
export interface KeptEntry extends Kept {
  /** The revision of the change, and of the state of the topology that it changed. */
  readonly revision: number;
  readonly previous: number;
  readonly sizeBytes: number;
}

/** Entries and their bytes ever written, or ever forgotten. */
export interface Tally {
  readonly entries: number;
  readonly bytes: number;
}
export interface Floor extends Tally {
  /** The oldest state that can still be told. */
  readonly revision: number;
}
/** The request of the last change, of the value of the head. */
export const requestOf = (text: string): string | undefined =>
  text === '' ? undefined : (JSON.parse(text) as { readonly request?: string }).request;
/** Of the value of the head; a store without history counts from nothing. */
export const tallyOf = (text: string): Tally =>
  text === '' ? { entries: 0, bytes: 0 } : (JSON.parse(text) as Tally);
export const floorOf = (text: string): Floor =>
  text === '' ? { revision: 0, entries: 0, bytes: 0 } : (JSON.parse(text) as Floor);

/** Each row with what it replaces. */
export const rowsOf = (topology: Topology, rows: readonly RowChange[]): HistoryRow[] =>
  rows.map(({ kind, id, put }) => {
    const before = topology.get(kind, id);
    return { kind, id, ...(before && { before }), ...(put && { after: put }) };
  });

/** The entry as the store keeps it; throws a Refusal when it is too large. */
export function encodeEntry(entry: Kept): string {
  const plain = JSON.stringify(entry);
  const text =
    plain.length <= PLAIN_CHARACTERS_MAX
      ? plain
      : DEFLATED + deflateRawSync(plain, { level: DEFLATE_LEVEL }).toString('base64');
  if (text.length <= HISTORY_ENTRY_CHARACTERS_MAX) return text;
  const most = HISTORY_ENTRY_CHARACTERS_MAX;
  const detail = `its history has ${text.length} characters; at most ${most}: do it in smaller steps`;
  throw new Refusal(413, { detail });
}

export function decodeEntry({ key, value, modified }: Entry): KeptEntry {
  const plain = value.startsWith(DEFLATED)
    ? inflateRawSync(Buffer.from(value.slice(DEFLATED.length), 'base64')).toString()
    : value;
  const { at, by, request, rows } = JSON.parse(plain) as Kept;
  const asOf = (object: StoredObject, revision: number): StoredObject =>
    Object.freeze({ ...object, revision });
  return {
    revision: modified,
    previous: revisionOfHistoryKey(key),
    sizeBytes: sizeOfEntry({ key, value }),
    at,
    by,
    ...(request !== undefined && { request }),
    rows: rows.map(({ kind, id, before, after }) => ({
      kind,
      id,
      ...(before && { before: asOf(before, before.revision) }),
      ...(after && { after: asOf(after, modified) }),
    })),
  };
}

/** What an entry counts towards the limit of bytes. */
export const sizeOfEntry = ({ key, value }: Pick<Entry, 'key' | 'value'>): number =>
  key.length + Buffer.byteLength(value);
