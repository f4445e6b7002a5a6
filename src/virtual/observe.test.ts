/** Looking on changes nothing, and sees everything that the decision depended on. */
import { ANY_PORTS } from './nat/any-ports.ts';
import { NO_CONNECTIONS } from './connection.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FIELDS, fieldsOf } from './match.ts';
import { routed } from './network.fixture.ts';
import { observe, type Note } from './observe.ts';
import type { Ingress } from './outcome.ts';
import { headersOf, packets, sizeOf } from './packet.arbitrary.ts';
import { simulate } from './simulate.ts';
import { macTables, neighbourViews, PORT_IDS, topologies } from './topology.arbitrary.ts';

const seed = Number(process.env['SEED'] ?? 1);
const ingresses: fc.Arbitrary<Ingress> = fc.constantFrom(...PORT_IDS).map((port) => ({ port }));
const of = <K extends Note['kind']>(notes: readonly Note[], kind: K) =>
  notes.filter((note): note is Extract<Note, { kind: K }> => note.kind === kind);

test('an observed walk is the walk: same outcome, and every field seen is noted', () => {
  const met = { routes: 0, shared: 0, dead: 0, writes: 0, asks: 0 };
  fc.assert(
    fc.property(
      topologies,
      macTables,
      neighbourViews,
      packets,
      ingresses,
      (topology, macs, neighbours, { headers, bytes, size }, ingress) => {
        const state = {
          macs,
          neighbours,
          errors: { mayTell: () => true },
          connections: NO_CONNECTIONS,
          publicPorts: ANY_PORTS,
          isHere: () => true,
        };
        const request = { topology, state, headers, bytes, size, ingress };
        const { outcome, notes } = observe(request);
        assert.deepEqual(outcome, simulate(request));
        const read = new Set(of(notes, 'read').map(({ field }) => field));
        assert.deepEqual(
          FIELDS.filter((field) => read.has(field)),
          fieldsOf(outcome.seen),
        );
        for (const { step } of notes) assert.ok(step <= outcome.steps.length);
        for (const { step, routes } of of(notes, 'routes')) {
          const taken = routes.filter(({ choice }) => choice === 'taken');
          const next = outcome.steps[step];
          assert.equal(taken.length, next?.did === 'route' ? 1 : 0);
          if (taken[0] !== undefined)
            assert.ok(next?.detail?.startsWith(`${taken[0].destination} ${taken[0].kind}`));
          met.routes += 1;
          if (routes.some(({ choice }) => choice === 'shared')) met.shared += 1;
          if (routes.some(({ choice }) => choice === 'not-alive')) met.dead += 1;
        }
        met.writes += of(notes, 'write').length;
        met.asks += of(notes, 'ask').length;
        assert.deepEqual(JSON.parse(JSON.stringify(notes)), notes, 'plain data');
      },
    ),
    { seed, numRuns: 1_500 },
  );
  for (const [what, times] of Object.entries(met)) assert.ok(times > 0, `${what}: ${times}`);
});

test('why other routes were not taken', () => {
  const net = routed();
  const way = { port: net.port('up'), gateway: '192.0.2.254' };
  net
    .routerPort('spare', 'r0', 0x14, '198.51.100.1/24')
    .route('near', 'r0', '203.0.113.0/24', way)
    .route('heavy', 'r0', '203.0.113.0/24', { ...way, weight: 200 })
    .route('theirs', 'r0', '203.0.113.0/24', { ...way, source: '10.0.2.0/24' })
    .route('dead', 'r0', '203.0.113.0/24', { port: net.port('spare') })
    .route('else', 'r0', '203.0.114.0/24', way)
    .knows('up', '192.0.2.254', 0x44);
  const bytes = net.bytes('udp 10.0.1.10:1 > 203.0.113.9:2');
  const { topology, state } = net;
  const { outcome, notes } = observe({
    topology,
    state,
    headers: headersOf(bytes),
    bytes,
    size: sizeOf(bytes),
    ingress: { port: net.port('vm1') },
  });
  const [{ step, routes } = assert.fail('no route was looked for')] = of(notes, 'routes');
  assert.equal(outcome.steps[step]?.did, 'route');
  assert.deepEqual(
    routes.map(({ name, choice }) => [name, choice]),
    [
      ['theirs', 'source'],
      ['near', 'taken'],
      ['heavy', 'weight'],
      ['default', 'shorter'],
      ['dead', 'not-alive'],
    ],
  );
  const asked = of(notes, 'ask').map(({ about, found }) => `${about}: ${found ?? '-'}`);
  assert.ok(asked.includes('neighbour 192.0.2.254: 02:00:00:00:00:44'), asked.join('; '));
  assert.deepEqual(
    of(notes, 'write').map(({ field, before, after }) => `${field} ${before} ${after}`),
    [
      'ipTtl 64 63',
      'ethSrc 02:00:00:00:00:01 02:00:00:00:00:13',
      'ethDst 02:00:00:00:00:11 02:00:00:00:00:44',
    ],
  );
});
