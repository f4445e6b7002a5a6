/**
 * The keys by which agents know each other's words about connections: one for each pair of hosts
 * and epoch, made of one secret that only the store holds.
 *
 * Invariants: a host is told the keys of its own pairs and no others; the secret is made once, is
 * neither logged nor kept in the history, and never leaves the API.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { RecordKeysTold } from '#client/record-keys.ts';
import type { Store } from '#store/store.ts';
import { RECORD_SECRET_KEY } from './keys.ts';
import type { Node } from './node.ts';
import { json, onlyQuery, type Route } from './route.ts';

/**
 * A key is sent with for so long. The ones before and after it are told as well, so hosts that hear
 * nothing of the API understand each other for at least as long after they were told last.
 */
export const KEY_EPOCH_MS = 7 * 86_400_000;
const SECRET_BYTES = 32;

/** The secret as it is, or made now; whoever comes first makes it. */
async function secretOf(store: Store): Promise<string> {
  for (;;) {
    const { entries } = await store.range({
      from: RECORD_SECRET_KEY,
      to: `${RECORD_SECRET_KEY}\0`,
      limit: 1,
    });
    if (entries[0] !== undefined) return entries[0].value;
    const value = randomBytes(SECRET_BYTES).toString('hex');
    const absent = { key: RECORD_SECRET_KEY, modified: 0 };
    const { ok } = await store.transact([absent], [{ put: RECORD_SECRET_KEY, value }]);
    if (ok) return value;
  }
}

/** Both hosts of a pair get the same, whichever asks. */
function pairKey(secret: string, epoch: number, a: string, b: string): string {
  const pair = [a, b].toSorted().join(' ');
  const hmac = createHmac('sha256', Buffer.from(secret, 'hex'));
  return hmac.update(`connection records ${epoch} ${pair}`).digest('hex');
}

export const recordKeyRoutes = ({ store, replica, wall }: Node): Route[] => {
  let secret: Promise<string> | undefined;
  return [
    {
      method: 'GET',
      path: '/v1/record-keys',
      operationId: 'get-record-keys',
      about:
        'The keys with which the calling host and each other host tell each other of connections: of this epoch, the next and the last.',
      who: ['host'],
      output: 'RecordKeys',
      handle: async ({ caller, query }) => {
        onlyQuery(query, []);
        if (caller.token.role !== 'host') throw new Error('only hosts get here');
        const own = caller.token.host;
        secret ??= secretOf(store);
        const known = await secret.catch((error: unknown) => {
          secret = undefined;
          throw error;
        });
        const now = Math.floor(wall() / KEY_EPOCH_MS);
        const others = [...replica.topology.list('host')].filter(({ id }) => id !== own);
        const told: RecordKeysTold = {
          epochs: [now, now + 1, now - 1].map((epoch) => ({
            epoch,
            keys: others.map(({ id }) => ({ host: id, key: pairKey(known, epoch, own, id) })),
          })),
        };
        return json(told);
      },
    },
  ];
};
