/** When agents have come to rest: what they report, and where ports are by the store's word. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client } from '#client/types.ts';
import { whatIsToCome } from './settled.ts';

interface Told {
  /** What h2 reported last: the revision that is in force there, and the ports that are up. */
  readonly revision?: number;
  readonly up?: readonly string[];
  /** Where the store has the port p. */
  readonly place?: { readonly host: string; readonly interface: string };
}

/** A port that was bound to vm of h2 at revision 7. */
const clientOf = ({ revision = 7, up = ['p'], place }: Told): Client => {
  const lists: Readonly<Record<string, readonly object[]>> = {
    port: [{ id: 'p', host: 'H2', interface: 'vm' }, { id: 'unbound' }],
    location: place === undefined ? [] : [{ id: 'p', ...place }],
  };
  const hosts = [
    { host: 'H1', name: 'h1', state: 'dead' },
    { host: 'H2', name: 'h2', state: 'alive', report: { revision, portsUp: up } },
  ];
  return {
    listAll: (kind: string) => Promise.resolve(lists[kind]),
    status: () => Promise.resolve({ revision: 7, hosts }),
  } as unknown as Client;
};
const toCome = (told: Told, hosts = ['h2'], vm = 'h2'): Promise<string[]> =>
  whatIsToCome(clientOf(told), { hosts: new Set(hosts), interfaces: new Map([['vm', vm]]) });

const HERE = { host: 'H2', interface: 'vm' };

test('agents rest when the newest revision is in force, and every port has its place', async () => {
  assert.deepEqual(await toCome({ place: HERE }), []);
  assert.deepEqual(await toCome({ place: HERE, revision: 6 }), ['h2 is at 6, not 7']);
});

test('a change that is in force everywhere is not all: where its port is comes later', async () => {
  const untold = ['h2 has not told where p is'];
  assert.deepEqual(await toCome({}), untold);
  assert.deepEqual(await toCome({ place: { ...HERE, host: 'H1' } }), untold, 'where it was');
  assert.deepEqual(await toCome({ place: { ...HERE, interface: 'vm9' } }), untold);
});

test('a port whose interface is there is to be taken up', async () => {
  assert.deepEqual(await toCome({ up: [] }), ['h2 has not taken up p']);
  assert.deepEqual(await toCome({ up: [] }, ['h2'], 'h1'), [], 'it is elsewhere');
});

test('of a host without an agent nothing comes; one that should have an agent is waited for', async () => {
  assert.deepEqual(await toCome({}, []), []);
  assert.deepEqual(await toCome({ place: HERE }, ['h1', 'h2']), ['h1 has not reported']);
});
