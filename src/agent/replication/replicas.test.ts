/** Hosts that tell each other of connections, over a network that loses, doubles and delays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CONNECTION_BYTES, TCP_FLAG } from '#flow/connection-layout.ts';
import { Connections } from '#flow/connections.ts';
import type { Ip } from '#net/ip.ts';
import { reversed, type ConnectionRef, type Tuple, type Zone } from '#virtual/connection.ts';
import { HOST_IDS } from '#virtual/topology.arbitrary.ts';
import { PORT_IDS } from '#virtual/ids.arbitrary.ts';
import type { HostId, PortId } from '#virtual/ids.ts';
import type { RecordKeys } from './replicas.ts';
import { Replicas } from './replicas.ts';
import type { Concern } from './recipients.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 200);
const ZONE = 1 as Zone;
const RECORDS = 512;
const HOSTS = 3;
const addressOf = (i: number): Ip => (0x0a000001 + i) as Ip;
const tuple = (n: number): Tuple => ({
  protocol: 6,
  src: 0x0a010001 as Ip,
  dst: 0x0a010002 as Ip,
  srcPort: 1000 + n,
  dstPort: 80,
});

interface Net {
  now: number;
  readonly wire: { readonly from: number; readonly to: Ip; readonly bytes: Uint8Array }[];
  /** Where each port is. */
  readonly at: Map<PortId, number>;
  /** And was. */
  readonly former: Map<PortId, Set<HostId>>;
  /** Hosts that no zone of tunnels joins with the others yet. */
  readonly apart: Set<number>;
}
class Host {
  readonly number: number;
  readonly memory = { slots: RECORDS, bytes: new Uint8Array(RECORDS * CONNECTION_BYTES) };
  readonly net: Net;
  readonly inbox: { readonly from: Ip; readonly bytes: Uint8Array }[] = [];
  boot = 1;
  /** Whether the devices of all connections are in its topology. */
  sees = true;
  connections!: Connections;
  replicas!: Replicas;
  changed = 0;

  constructor(number: number, net: Net) {
    this.number = number;
    this.net = net;
    this.start();
  }
  /** As a process is started anew: what is in memory is kept, or not. */
  start(keep = true): void {
    const { net, number } = this;
    if (!keep) this.memory.bytes.fill(0);
    this.boot += 1;
    this.connections = new Connections(this.memory, { seed: 3 });
    const idOf = (i: number): HostId => HOST_IDS[i]!;
    const of = ({ inPort, outPort }: Concern): Set<HostId> => {
      const hosts = [inPort, outPort].flatMap((port) => (port ? [net.at.get(port)] : []));
      return new Set(hosts.filter((i) => i !== undefined).map(idOf));
    };
    const others = [0, 1, 2].filter((i) => i !== number);
    this.replicas = new Replicas({
      connections: this.connections,
      recipients: {
        of: (concern) => new Set([...of(concern)].filter((id) => id !== idOf(number))),
        owns: (host, { inPort }) => idOf(net.at.get(inPort!)!) === host,
        mayAsk: (host, concern) => of(concern).has(host),
        maySpeak: (host, concern) =>
          of(concern).has(host) ||
          [concern.inPort, concern.outPort].some((port) => net.former.get(port!)?.has(host)),
        hosts: () =>
          others.filter((i) => ![i, number].some((each) => net.apart.has(each))).map(idOf),
        addressOf: (host) => addressOf(HOST_IDS.indexOf(host)),
        hostAt: (address) => others.filter((i) => addressOf(i) === address).map(idOf)[0],
        before: () => {},
        follow: () => [...net.at.keys()],
      },
      transport: {
        fd: undefined,
        send: (to, bytes) => void net.wire.push({ from: number, to, bytes }),
        receive: (take, max) => {
          const come = this.inbox.splice(0, max);
          for (const { from, bytes } of come) take(from, bytes);
          return come.length;
        },
      },
      isZone: (zone) => this.sees && zone === ZONE,
      now: () => net.now,
      boot: this.boot * 10 + number,
    });
    const keys = new Map(others.map((i) => [idOf(i), keyOf(number, i)] as const));
    this.replicas.setKeys([{ epoch: 1, keys } satisfies RecordKeys]);
  }
  commit(n: number, from: PortId, to: PortId): void {
    const committed = this.connections.commit({
      forward: { zone: ZONE, tuple: tuple(n) },
      returns: { zone: ZONE, tuple: reversed(tuple(n)) },
      inPort: from,
      outPort: to,
      createdMs: this.net.now,
      translations: [],
    });
    if (committed?.fresh === true) this.replicas.opened(committed.ref);
    this.replicas.flush();
  }
  has(n: number): boolean {
    return this.connections.find(ZONE, tuple(n)) !== undefined;
  }
  step(): void {
    this.changed += this.replicas.receive().length;
    this.replicas.tick();
  }
}
const keyOf = (a: number, b: number): Uint8Array =>
  new Uint8Array(32).fill(10 * Math.min(a, b) + Math.max(a, b));

function network(apart: readonly number[] = []): { net: Net; hosts: Host[] } {
  const at = new Map([
    [PORT_IDS[0]!, 0],
    [PORT_IDS[1]!, 1],
    [PORT_IDS[2]!, 2],
  ]);
  const net: Net = { now: 1_000, wire: [], at, former: new Map(), apart: new Set(apart) };
  return { net, hosts: Array.from({ length: HOSTS }, (_, i) => new Host(i, net)) };
}
/** Whatever is on the way arrives, by what `fate` says of it: lost, once, or twice. */
function deliver(net: Net, hosts: readonly Host[], fate: () => number = () => 1): void {
  for (const { from, to, bytes } of net.wire.splice(0))
    for (let copies = fate(); copies > 0; copies--)
      for (const host of hosts)
        if (addressOf(host.number) === to) host.inbox.push({ from: addressOf(from), bytes });
}
function settle(net: Net, hosts: readonly Host[]): void {
  for (let round = 0; round < 60; round++) {
    net.now += 500;
    deliver(net, hosts);
    for (const host of hosts) host.step();
  }
}

test('a host that answers enter at knows of a connection with the datagram before the packet', () => {
  const { net, hosts } = network();
  settle(net, hosts);
  const [a, b, c] = hosts as [Host, Host, Host];
  a.commit(1, PORT_IDS[0]!, PORT_IDS[1]!);
  assert.equal(net.wire.length, 1, 'one datagram');
  deliver(net, hosts);
  const tags = b.replicas.receive();
  assert.ok(tags.length > 0, 'what was decided without it is decided anew');
  assert.ok(b.has(1));
  assert.equal(c.has(1), false, 'it does not concern the third');
  assert.equal(b.connections.find(ZONE, reversed(tuple(1)))?.direction, 'return');
});

test('whoever joins is greeted at once, and told of what is opened from then on', () => {
  const { net, hosts } = network([2]);
  const [a, , c] = hosts as [Host, Host, Host];
  settle(net, hosts);
  net.wire.length = 0;
  net.apart.clear();
  a.replicas.follow([]);
  assert.deepEqual(
    net.wire.map(({ to }) => to),
    [addressOf(2)],
    'in the tick in which it joins',
  );
  for (let round = 0; round < 3; round++) {
    deliver(net, hosts);
    for (const host of hosts) host.replicas.receive();
  }
  a.commit(1, PORT_IDS[0]!, PORT_IDS[2]!);
  deliver(net, hosts);
  c.replicas.receive();
  assert.ok(c.has(1), 'no time has passed');
});

test('who is told by somebody else than its port refuses it', () => {
  const { net, hosts } = network();
  settle(net, hosts);
  const [, b, c] = hosts as [Host, Host, Host];
  // The third host speaks of a port of the first.
  const before = net.at.get(PORT_IDS[0]!);
  net.at.set(PORT_IDS[0]!, 2);
  c.commit(2, PORT_IDS[0]!, PORT_IDS[1]!);
  net.at.set(PORT_IDS[0]!, before!);
  deliver(net, hosts);
  b.replicas.receive();
  assert.equal(b.has(2), false);
  assert.equal(b.replicas.counters().refused, 1);
});

test('what was sent before cannot be sent again by somebody who heard it', () => {
  const { net, hosts } = network();
  settle(net, hosts);
  const [a, b] = hosts as [Host, Host, Host];
  a.commit(3, PORT_IDS[0]!, PORT_IDS[1]!);
  const heard = [...net.wire];
  settle(net, hosts);
  assert.ok(b.has(3));
  const found = b.connections.find(ZONE, tuple(3))!;
  b.connections.remove([found.ref]);
  // To the process that was meant, and to the one after it.
  for (const restart of [false, true]) {
    if (restart) b.start();
    if (restart) settle(net, [hosts[0]!, b]);
    if (restart) b.connections.remove(b.connections.refs());
    for (const { bytes } of heard) b.inbox.push({ from: addressOf(0), bytes });
    b.replicas.receive();
    assert.equal(b.has(3), false, restart ? 'the next process' : 'the same process');
  }
  assert.ok(b.replicas.counters().repeated > 0);
});

test('an end is told, and both hosts let the record go together', () => {
  const { net, hosts } = network();
  settle(net, hosts);
  const [a, b] = hosts as [Host, Host, Host];
  a.commit(4, PORT_IDS[0]!, PORT_IDS[1]!);
  settle(net, hosts);
  const there = b.connections.find(ZONE, tuple(4))!.ref;
  b.connections.touch(there, 1, { seenMs: net.now, tcp: TCP_FLAG.RST });
  b.replicas.wentOn(there);
  settle(net, hosts);
  const here = a.connections.find(ZONE, tuple(4))!.ref;
  assert.equal(a.connections.record(here)!.halves[1].tcp & TCP_FLAG.RST, TCP_FLAG.RST);
});

test('what a host is told before it sees the devices, it asks for once it does', () => {
  const { net, hosts } = network();
  settle(net, hosts);
  const [a, b] = hosts as [Host, Host, Host];
  b.sees = false;
  a.commit(5, PORT_IDS[0]!, PORT_IDS[1]!);
  settle(net, hosts);
  assert.equal(b.has(5), false);
  b.sees = true;
  b.replicas.follow([]);
  // The first question is lost.
  net.wire.length = 0;
  settle(net, hosts);
  assert.ok(b.has(5));
});

test('the same ends begin anew: what was seen of the connection before them is forgotten', () => {
  const { net, hosts } = network();
  settle(net, hosts);
  const [a, b] = hosts as [Host, Host, Host];
  // A third host that never answers keeps nothing from being told rightly.
  a.commit(7, PORT_IDS[0]!, PORT_IDS[2]!);
  a.commit(6, PORT_IDS[0]!, PORT_IDS[1]!);
  settle(net, [a, b]);
  const [here, there] = [a, b].map((host) => host.connections.find(ZONE, tuple(6))!.ref) as [
    ConnectionRef,
    ConnectionRef,
  ];
  const { ACK, FIN } = TCP_FLAG;
  a.connections.touch(here, 0, { seenMs: net.now, tcp: ACK | FIN });
  b.connections.touch(there, 1, { seenMs: net.now, tcp: ACK | FIN });
  for (const [host, ref] of [
    [a, here],
    [b, there],
  ] as const)
    host.replicas.wentOn(ref);
  settle(net, [a, b]);
  a.connections.reopen(here, net.now);
  a.replicas.wentOn(here);
  // What the other host tells meanwhile is of the one before.
  b.replicas.wentOn(there);
  settle(net, [a, b]);
  const tcp = (host: Host, ref: ConnectionRef) =>
    host.connections.record(ref)!.halves.map((half) => half.tcp);
  assert.deepEqual(tcp(a, here), [0, 0]);
  assert.deepEqual(tcp(b, there), [0, 0]);
  b.connections.touch(there, 1, { seenMs: net.now, tcp: ACK });
  a.replicas.wentOn(here);
  settle(net, [a, b]);
  assert.deepEqual(tcp(b, there), [0, ACK], 'told again, it is the same one');
  // Its record ended here and is made anew: that is another connection, too.
  a.connections.remove([here]);
  b.connections.touch(there, 1, { seenMs: net.now, tcp: FIN });
  a.commit(6, PORT_IDS[0]!, PORT_IDS[1]!);
  settle(net, [a, b]);
  assert.deepEqual(tcp(b, there), [0, 0]);
});

type Event = readonly [what: string, n: number, port: number];
const events: fc.Arbitrary<Event[]> = fc.array(
  fc.tuple(
    fc.constantFrom('commit', 'commit', 'deliver', 'step', 'restart', 'reboot', 'move', 'time'),
    fc.nat(19),
    fc.nat(2),
  ),
  { minLength: 1, maxLength: 40 },
);

test('whatever is lost, doubled, late or restarted: in the end whoever must know it does', () => {
  fc.assert(
    fc.property(events, fc.infiniteStream(fc.constantFrom(0, 1, 1, 2)), (all, fates) => {
      const { net, hosts } = network();
      const fate = (): number => fates.next().value as number;
      for (const [what, n, place] of all) {
        const host = hosts[place]!;
        if (what === 'commit') {
          // A packet enters where its port is.
          const from = [...net.at].find(([, at]) => at === place)?.[0];
          const to = [...net.at].find(([, at]) => at !== place)?.[0];
          if (from !== undefined && to !== undefined) host.commit(n, from, to);
        } else if (what === 'deliver') deliver(net, hosts, fate);
        else if (what === 'step') host.step();
        else if (what === 'restart') host.start();
        else if (what === 'reboot') host.start(false);
        else if (what === 'move') {
          const port = PORT_IDS[n % 3]!;
          const former = net.former.getOrInsertComputed(port, () => new Set());
          former.add(HOST_IDS[net.at.get(port)!]!);
          net.at.set(port, place);
          for (const each of hosts) each.replicas.follow([]);
        } else net.now += 100 * n;
      }
      settle(net, hosts);
      for (const host of hosts)
        for (const ref of host.connections.refs()) {
          const record = host.connections.record(ref)!;
          for (const port of [record.inPort, record.outPort]) {
            const other = hosts[net.at.get(port!)!]!;
            const known = other.connections.find(ZONE, record.forward.tuple);
            assert.ok(known !== undefined, `host ${other.number} knows what ${host.number} does`);
          }
        }
      for (const { replicas } of hosts) assert.equal(replicas.counters().owed, 0);
    }),
    { seed, numRuns },
  );
});

test('a host that does not answer costs one datagram a second, and gets everything later', () => {
  const { net, hosts } = network();
  settle(net, hosts);
  const [a, b] = hosts as [Host, Host, Host];
  for (let n = 0; n < 20; n++) a.commit(n, PORT_IDS[0]!, PORT_IDS[1]!);
  for (let round = 0; round < 20; round++) {
    net.now += 500;
    net.wire.length = 0;
    a.step();
  }
  let sent = 0;
  for (let round = 0; round < 40; round++) {
    net.now += 500;
    net.wire.length = 0;
    a.step();
    sent += net.wire.filter(({ to }) => to === addressOf(1)).length;
  }
  assert.ok(sent <= 45, `${sent} datagrams in 20 s`);
  settle(net, hosts);
  for (let n = 0; n < 20; n++) assert.ok(b.has(n));
});
