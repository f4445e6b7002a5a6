/** Public ports of one host: what it asks for and when, what it gives back, and who waits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PublicEnds } from '#flow/public-ends.ts';
import type { DpPort } from '#flow/flow.ts';
import type { Ip4 } from '#net/ip.ts';
import type { RowChange } from '#virtual/change.ts';
import type { Translation, Zone } from '#virtual/connection.ts';
import type { HostId, RouterId } from '#virtual/ids.ts';
import { Topology } from '#virtual/topology.ts';
import { LIMITS } from './limits.ts';
import { PublicPorts } from './public-ports.ts';

const [HERE, THERE] = ['h1', 'h2'] as HostId[];
const ROUTER = 'r' as RouterId;
const ZONE = 0x800001 as Zone;
const ADDRESS = 0xc0000201 as Ip4;
const WANTED = { router: ROUTER, address: ADDRESS, first: 1_024, last: 65_535 };
const PACKET = {
  ...{ frame: new Uint8Array(60), key: new Uint8Array(8), entry: { port: 1 as DpPort } },
  ...{ timeMs: 0, gsoSize: 0 },
};

class Host {
  nowMs = 1;
  readonly ends = new PublicEnds();
  readonly topology = new Topology();
  readonly ports: PublicPorts;
  #blocks = 0;

  constructor() {
    const connections = { ends: this.ends, find: () => undefined, isLeft: () => false };
    const now = (): number => this.nowMs;
    this.ports = new PublicPorts({
      host: HERE!,
      topology: this.topology,
      connections,
      now,
      seed: 1,
    });
    const router = { id: ROUTER, name: 'r', adminStateUp: true, networkKey: ZONE, revision: 1 };
    this.change([{ kind: 'router', id: ROUTER, put: router as never }]);
  }
  change(rows: readonly RowChange[]): void {
    const before = this.ports.ids();
    this.topology.apply({ revision: this.topology.revision + 1, rows });
    this.ports.follow(rows, before);
  }
  own(first: number, last: number, host = HERE): string {
    const id = `b${++this.#blocks}`;
    const block = { id, router: ROUTER, address: '192.0.2.1', first, last, host, revision: 1 };
    this.change([{ kind: 'nat-block', id, put: block as never }]);
    return id;
  }
  use(port: number, by: 1 | -1): void {
    const end = { ip: ADDRESS, port };
    const translation: Translation = { zone: ZONE, changes: 'source', from: end, to: end };
    this.ends.count([translation], by);
  }
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= LIMITS.tickMs) {
      this.nowMs += LIMITS.tickMs;
      this.ports.tick();
    }
  }
}

test('a packet without ports waits until there are some; they are asked for once', () => {
  const host = new Host();
  assert.equal(host.ports.wait(WANTED, PACKET), true);
  assert.equal(host.ports.wait(WANTED, PACKET), true);
  assert.deepEqual(host.ports.wants(), [
    {
      ...{ router: 'r', address: '192.0.2.1', first: 1_024, last: 65_535 },
      ports: LIMITS.publicPortsFirst,
    },
  ]);
  assert.deepEqual([host.ports.takeNews(), host.ports.takeNews()], [true, false]);
  host.own(1_024, 1_279, THERE);
  assert.equal(host.ports.ready, 0, 'those are of another host');
  host.own(1_280, 1_535);
  assert.equal(host.ports.released().length, 2);
  assert.deepEqual(host.ports.wants(), []);
  assert.deepEqual(
    host.ports.owned(ROUTER, ADDRESS).map(({ first, last }) => [first, last]),
    [[1_280, 1_535]],
  );
});

test('where there are none nobody waits for a while; then it is asked again', () => {
  const host = new Host();
  host.ports.wait(WANTED, PACKET);
  host.ports.refused({ router: ROUTER, address: '192.0.2.1', first: 1_024, last: 65_535 });
  assert.equal(host.ports.released().length, 1);
  assert.equal(host.ports.wait(WANTED, PACKET), false);
  assert.deepEqual(host.ports.wants(), []);
  assert.deepEqual(
    host.ports.uses().map(({ owned, spent, short }) => [owned, spent, short]),
    [[0, true, true]],
    'the shortage is told of, though nothing is owned',
  );
  host.pass(LIMITS.publicPortsSpentMs);
  assert.deepEqual(
    host.ports.uses().map(({ spent }) => spent),
    [true],
    'as long as it is told of, it is not said that there are more',
  );
  assert.equal(host.ports.wait(WANTED, PACKET), true);
  host.pass(120_000);
  assert.deepEqual(host.ports.uses(), []);
});

test('a shortage is over when ports come', () => {
  const host = new Host();
  host.ports.wait(WANTED, PACKET);
  host.ports.refused({ router: ROUTER, address: '192.0.2.1', first: 1_024, last: 65_535 });
  host.ports.wait(WANTED, PACKET);
  host.own(1_024, 1_279);
  assert.deepEqual(
    host.ports.uses().map(({ owned, spent, short }) => [owned, spent, short]),
    [[256, false, false]],
  );
});

test('while nobody answers, a packet waits no longer than it may, and later ones not at all', () => {
  const host = new Host();
  assert.equal(host.ports.wait(WANTED, PACKET), true);
  host.pass(LIMITS.publicPortsWaitMs);
  assert.equal(host.ports.released().length, 1);
  assert.equal(host.ports.wait(WANTED, PACKET), false);
  assert.equal(host.ports.wants().length, 1, 'it is still asked for');
  host.own(1_024, 1_279);
  assert.equal(host.ports.isSpent(ROUTER, ADDRESS, WANTED), false);
});

test('when half of what is owned is in use, as many more are asked for', () => {
  const host = new Host();
  host.ports.wait(WANTED, PACKET);
  host.own(1_024, 1_535);
  for (let port = 1_024; port < 1_279; port++) host.use(port, 1);
  host.pass(LIMITS.tickMs);
  assert.deepEqual(host.ports.wants(), []);
  host.use(1_279, 1);
  host.pass(LIMITS.tickMs);
  assert.deepEqual(
    host.ports.wants().map(({ ports }) => ports),
    [512],
  );
});

test('what nobody uses is chosen no more, given back, and one block is kept', () => {
  const host = new Host();
  const [small, large] = [host.own(1_024, 1_087), host.own(1_088, 1_343)];
  host.use(1_030, 1);
  host.pass(LIMITS.publicPortsIdleMs / 2);
  assert.deepEqual(host.ports.returns(), []);
  host.pass(LIMITS.publicPortsIdleMs);
  assert.deepEqual(host.ports.returns(), [large]);
  assert.deepEqual(
    host.ports.owned(ROUTER, ADDRESS).map(({ first }) => first),
    [1_024],
  );
  host.use(1_030, -1);
  host.change([{ kind: 'nat-block', id: large }]);
  assert.deepEqual(host.ports.returns(), []);
  host.pass(2 * LIMITS.publicPortsIdleMs);
  assert.deepEqual(host.ports.returns(), [], `${small} is the last one`);
});
