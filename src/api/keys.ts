/**
 * The keys of the store, in one place.
 *
 * `/topology/head` changes with every change of the topology: whoever compares with it lands on
 * exactly the state that was validated. Counters only grow, in the same transactions, so a key is
 * never given twice.
 */
import { KIND_NAMES, type KindName } from '#virtual/kind.ts';

export const HEAD_KEY = '/topology/head';
export const TOPOLOGY_PREFIX = '/topology/';
export const COUNTER_PREFIX = '/counters/';
export const TOKEN_PREFIX = '/tokens/';
export const LEARNED_PREFIX = '/learned/';
export const MACS_PREFIX = `${LEARNED_PREFIX}macs/`;
export const NEIGHBOURS_PREFIX = `${LEARNED_PREFIX}neighbours/`;
export const ALIVE_PREFIX = '/alive/';

/** Outside `/`, which every node follows: the history is read only when somebody asks for it. */
export const HISTORY_PREFIX = 'history/';
/** Sorts behind every key of the history. */
export const HISTORY_END = 'history0';
/** How far back the history is kept: among the keys that nodes follow. */
export const FLOOR_KEY = '/history-floor';

/** Outside `/` too: what keys between hosts are made of is nothing to follow. */
export const RECORD_SECRET_KEY = 'secret/records';

const REVISION_DIGITS = 16;
/**
 * Where the change of the topology is kept that came after the state of `revision`: such a state
 * has one next, because every change compares the head, so keys are in the order of changes.
 */
export const historyKey = (revision: number): string =>
  HISTORY_PREFIX + String(revision).padStart(REVISION_DIGITS, '0');
export const revisionOfHistoryKey = (key: string): number =>
  Number(key.slice(HISTORY_PREFIX.length));

export const objectKey = (kind: KindName, id: string): string => `${TOPOLOGY_PREFIX}${kind}/${id}`;
export const tokenKey = (id: string): string => `${TOKEN_PREFIX}${id}`;
export const FLOOD_COUNTER = `${COUNTER_PREFIX}flood`;
export const tunnelCounter = (host: string): string => `${COUNTER_PREFIX}tunnel/${host}`;
export const aliveKey = (host: string): string => `${ALIVE_PREFIX}${host}`;

/** `undefined` for keys that hold no object. Throws on a kind that this version does not know. */
export function parseObjectKey(key: string): { kind: KindName; id: string } | undefined {
  if (!key.startsWith(TOPOLOGY_PREFIX) || key === HEAD_KEY) return undefined;
  const [kind = '', id = ''] = key.slice(TOPOLOGY_PREFIX.length).split('/');
  if (!(KIND_NAMES as readonly string[]).includes(kind) || id === '')
    throw new Error(`the store holds ${key}, which this version does not know`);
  return { kind: kind as KindName, id };
}
