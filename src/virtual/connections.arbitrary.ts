/** Records for random walks: which keys there are, and of which direction, follows from a salt. */
import fc from 'fast-check';
import {
  hashOfConnection,
  NO_CONNECTIONS,
  type ConnectionsView,
  type Translation,
} from './connection.ts';

const DIRECTIONS = ['forward', 'return', undefined] as const;

/** About a third of all keys is of each direction, and a third is not known. */
export const connectionsOf = (salt: number): ConnectionsView => ({
  find(zone, tuple) {
    const hash = Number.parseInt(hashOfConnection({ zone, tuple }).slice(-6), 36) + salt;
    const direction = DIRECTIONS[hash % 3];
    const source = { ip: tuple.dst, port: tuple.dstPort };
    const translations: Translation[] =
      hash % 2 === 0 ? [{ zone, changes: 'source', from: { ...source, port: 7 }, to: source }] : [];
    return direction && { ref: { slot: hash % 1024, generation: 1 }, direction, translations };
  },
});

export const connectionViews: fc.Arbitrary<ConnectionsView> = fc
  .option(fc.nat(1_000), { freq: 3 })
  .map((salt) => (salt === null ? NO_CONNECTIONS : connectionsOf(salt)));
