/**
 * What the maps hold, a row each: which structs, and how they become the maps of another layout.
 *
 * A new map is a row here. Rows are in the order of carrying: what others refer to comes first.
 */
import type { Description, MapText } from '#flow/description.ts';
import { describeLayout } from '#flow/description.ts';
import type { StructName } from '#flow/layout.ts';
import type { MapName } from './maps.ts';

/**
 * `anew`: made anew, for what holds nothing that is worth keeping. `fields`: the fields that both
 * know, whatever the others hold. `records`: every record, in its place or under its key; those
 * that are not understood are left out. The rest is `migrate.ts`, by name.
 */
export type Carry =
  | 'anew'
  | 'fields'
  | 'records'
  | 'counters'
  | 'groups'
  | 'masks'
  | 'flows'
  | 'with flows';

export interface Row extends MapText {
  readonly key?: StructName | 'u32';
  readonly value?: StructName | 'u32';
  readonly carry: Carry;
  /**
   * Fields (of the key or the value) that are places in another array of `records`, 0 for none: a
   * record is carried only when what it refers to is.
   */
  readonly refers?: Readonly<Record<string, MapName>>;
  /** A record of zeros is one like others, and what refers to it is carried. */
  readonly blanks?: boolean;
  /** Fields of the value that are marks of action slots, 0 for none: these are carried along. */
  readonly marks?: readonly string[];
  /** Fields of the value that are zero afterwards, whatever they were: what belonged to `anew`. */
  readonly forgets?: readonly string[];
}

export const ROWS = {
  config: { value: 'config', carry: 'fields' },
  counters: { carry: 'counters' },
  peers: { value: 'peer', carry: 'records' },
  keys: { key: 'u32', value: 'key_target', carry: 'records' },
  senders: { key: 'sender', value: 'u32', carry: 'records' },
  entries: { value: 'entry', carry: 'records', blanks: true, forgets: ['queued', 'drained'] },
  entry_refs: {
    key: 'entry_key',
    value: 'entry_ref',
    carry: 'records',
    refers: { source: 'peers', number: 'entries' },
  },
  members: { value: 'member', carry: 'records', refers: { peer: 'peers' }, marks: ['rewrite'] },
  groups: { value: 'group', carry: 'groups' },
  masks: { value: 'flow_key', carry: 'masks' },
  connections: { value: 'connection', carry: 'records' },
  actions: {
    value: 'action',
    carry: 'with flows',
    refers: { peer: 'peers', connection: 'connections' },
  },
  stats: { value: 'flow_stats', carry: 'with flows' },
  flows: { key: 'flow_key', value: 'flow_value', carry: 'flows', refers: { tun_src: 'peers' } },
  hints: { carry: 'anew' },
  upcalls: { carry: 'anew' },
  tails: { carry: 'anew' },
  work: { carry: 'anew' },
  notes: { carry: 'anew' },
  sights: { value: 'sight', carry: 'anew' },
  sightings: { carry: 'anew' },
} as const satisfies Readonly<Record<MapName, Row>>;

/** The maps in the order of carrying. */
export const rows = (): readonly (readonly [MapName, Row])[] =>
  Object.entries(ROWS) as [MapName, Row][];

const mapTexts = (): Record<string, MapText> =>
  Object.fromEntries(
    rows().map(([name, { key, value }]) => [
      name,
      { ...(key === undefined ? {} : { key }), ...(value === undefined ? {} : { value }) },
    ]),
  );

/** The layout of this version. */
export const OWN_LAYOUT: Description = describeLayout(mapTexts());
