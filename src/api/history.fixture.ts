/** For tests: a node with random edits behind it, and what its topology was at every revision. */
import type { Client } from '#client/types.ts';
import { KIND_NAMES, type StoredObject } from '#virtual/kind.ts';
import type { Topology } from '#virtual/topology.ts';
import { basics, type Edit, HOSTS, operationsOf } from './edits.fixture.ts';
import type { Fixture } from './fixture.ts';

/** Every object, in one order, revisions included. */
export const textOf = (objects: Iterable<{ kind: string; object: StoredObject }>): string[] =>
  [...objects]
    .map(({ kind, object }) => `${kind} ${JSON.stringify(object, keysOf(object))}`)
    .sort();

/** All names of fields that a value holds, sorted, so that one object is one text. */
function keysOf(value: unknown, into = new Set<string>()): string[] {
  if (typeof value === 'object' && value !== null)
    for (const [key, inner] of Object.entries(value)) {
      if (!Array.isArray(value)) into.add(key);
      keysOf(inner, into);
    }
  return [...into].sort();
}

/** As the API shows it. */
export async function shownBy(client: Client, at?: number): Promise<string[]> {
  const all = await Promise.all(
    KIND_NAMES.map(async (kind) =>
      (await client.listAll(kind, {}, at)).map((object) => ({ kind, object })),
    ),
  );
  return textOf(all.flat());
}

export interface Past {
  /** By revision, what there was; the revisions of the changes only. */
  readonly states: Map<number, string[]>;
  readonly hosts: ReadonlyMap<string, Client>;
}

/** A network with three hosts whose agents speak for themselves. */
export async function begin(node: Fixture): Promise<Past> {
  const states = new Map<number, string[]>();
  const hosts = new Map<string, Client>();
  for (const name of HOSTS) {
    await node.operator.create('host', { name });
    hosts.set(name, await node.as({ role: 'host', name, host: name }));
  }
  await node.operator.transact(basics);
  return { states, hosts };
}

/** Tries every edit, as the operator or as the host that it is about; notes each state. */
export async function play(node: Fixture, past: Past, edits: readonly Edit[], first = 0) {
  let n = first;
  for (const edit of edits) {
    n += 1;
    try {
      if (edit.what === 'locate') await locate(node, past, edit);
      else await node.operator.transact(operationsOf(edit, n));
    } catch {
      // Refused, as many edits are: nothing changed.
    }
    const { revision } = await node.operator.status();
    past.states.set(revision, await shownBy(node.operator));
  }
}

async function locate({ operator }: Fixture, { hosts }: Past, { a }: Edit): Promise<void> {
  const port = (await operator.get('port', `p${a}`)) as StoredObject & {
    readonly host?: string;
    readonly interface?: string;
  };
  if (port.host === undefined || port.interface === undefined) return;
  const { name = '' } = await operator.get('host', port.host);
  await hosts.get(name)?.locate(port.id, { interface: port.interface });
}

/** What must never be: one number for two networks. */
export function doubleKeys(topology: Pick<Topology, 'list'>): string[] {
  const holders = new Map<number, string>();
  const doubles: string[] = [];
  for (const kind of ['bridge', 'router'] as const)
    for (const object of topology.list(kind)) {
      const { floodKey, networkKey } = object as { floodKey?: number; networkKey?: number };
      const key = floodKey ?? networkKey ?? 0;
      if (holders.has(key)) doubles.push(`${key}: ${holders.get(key)} and ${object.id}`);
      holders.set(key, object.id);
    }
  return doubles;
}
