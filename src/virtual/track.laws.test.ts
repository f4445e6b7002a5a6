/**
 * Law 2 for records of connections: a walk asks for one at most, and holds the tag of the key it
 * asked for; whatever is known of other keys does not alter it.
 */
import { ANY_PORTS } from './nat/any-ports.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hashOfConnection, type ConnectionKey, type ConnectionsView } from './connection.ts';
import { connectionsOf } from './connections.arbitrary.ts';
import { PORT_IDS } from './ids.arbitrary.ts';
import { packets } from './packet.arbitrary.ts';
import { simulate } from './simulate.ts';
import { MacTable } from './state/macs.ts';
import { connectionTag } from './tags.ts';
import { topologies } from './topology.arbitrary.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 6_000);
const macs = new MacTable({ perPortMax: 4, ageMs: 10 });
const neighbours = { neighbour: () => undefined, mayHear: () => true };

test('a walk asks for one record at most, and depends on that one alone', (t) => {
  const seen = { asked: 0, opened: 0 };
  const ports = fc.constantFrom(...PORT_IDS);
  fc.assert(
    fc.property(
      topologies,
      packets,
      ports,
      fc.nat(99),
      fc.nat(99),
      (topology, packet, port, a, b) => {
        const asked: ConnectionKey[] = [];
        const first = connectionsOf(a);
        const walk = (connections: ConnectionsView) => {
          const errors = { mayTell: () => true };
          const state = {
            macs,
            neighbours,
            errors,
            connections,
            publicPorts: ANY_PORTS,
            isHere: () => true,
          };
          return simulate({ topology, state, ...packet, ingress: { port } });
        };
        const outcome = walk({
          find: (zone, tuple) => {
            asked.push({ zone, tuple });
            return first.find(zone, tuple);
          },
        });
        assert.ok(asked.length <= 1);
        for (const key of asked) assert.ok(outcome.tags.includes(connectionTag(key)));
        if (asked.length > 0) seen.asked++;
        if ((outcome.connection?.opens.length ?? 0) > 0) seen.opened++;
        // Others come and go.
        const [own] = asked.map(hashOfConnection);
        const others = connectionsOf(b);
        const again = walk({
          find: (zone, tuple) =>
            (hashOfConnection({ zone, tuple }) === own ? first : others).find(zone, tuple),
        });
        assert.deepEqual(again, outcome);
      },
    ),
    { seed, numRuns },
  );
  t.diagnostic(JSON.stringify(seen));
  assert.ok(seen.asked > numRuns / 1_000 && seen.opened > 0, JSON.stringify(seen));
});
