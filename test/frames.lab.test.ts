/**
 * Random frames, whole and broken, on real wires: what every workload gets must be, byte for byte,
 * what the simulation says. A twin of the lab in this process (the same objects, agents over the
 * reference datapath) is the oracle; the lab has real agents, eBPF and VXLAN.
 *
 * Every address is seeded, and only MACs seeded at its bridge send there, so that what is known
 * does not depend on when a frame is sent: what hosts learn from each other takes its time. The
 * workloads have no addresses of their own: only the virtual network answers.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Operation } from '#client/types.ts';
import { cleanLab } from '#lab/clean.ts';
import { announce, makeLab, namespaceOf, type Lab } from '#lab/lab.ts';
import { PacketSocket } from '#lab/packet-socket.ts';
import { inside, until } from '#lab/processes.ts';
import type { Recipe } from '#lab/recipe.ts';
import { WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { encodeFrame, type Layers } from '#net/frame.ts';
import { parseIp, parseIp4, type Ip4, type Ip6 } from '#net/ip.ts';
import { formatMac, parseMac, readMac, writeMac, type Mac } from '#net/mac.ts';
import { describeFrame } from '#net/text.ts';
import { runOk } from '#os/run.ts';
import type { HostId } from '#virtual/ids.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import { Cluster } from './cluster.ts';
import { sweepLabs, testLabName } from './labs.ts';

const LAB = testLabName('frames');
const TENANT = 'frames';
const seed = Number(process.env['SEED'] ?? 1);
const FRAMES = Number(process.env['FRAMES'] ?? 1_000);
const AGENTS_MS = 40_000;
const ARRIVE_MS = 5_000;
const QUIET_MS = 8;
/**
 * The kernel's VXLAN device takes no frame whose IP header is not whole (`skb_vlan_inet_prepare`):
 * such frames reach ports of the same host only.
 */
const CUT_MIN = 58;

interface Station {
  readonly host: 'h1' | 'h2';
  readonly bridge: string;
  readonly mac: string;
  readonly ips: readonly string[];
}
const STATIONS: Readonly<Record<string, Station>> = {
  a1: { host: 'h1', bridge: 'ba', mac: '02:00:00:00:01:01', ips: ['10.0.1.1', 'fd00:1::1'] },
  a2: { host: 'h2', bridge: 'ba', mac: '02:00:00:00:01:02', ips: ['10.0.1.2', 'fd00:1::2'] },
  b1: { host: 'h1', bridge: 'bb', mac: '02:00:00:00:02:01', ips: ['10.0.2.1', 'fd00:2::1'] },
  b2: { host: 'h2', bridge: 'bb', mac: '02:00:00:00:02:02', ips: ['10.0.2.2', 'fd00:2::2'] },
  t1: { host: 'h1', bridge: 'trunk', mac: '02:00:00:00:03:01', ips: ['10.0.3.1'] },
  v1: { host: 'h2', bridge: 'vlan5', mac: '02:00:00:00:03:02', ips: ['10.0.3.2'] },
  z1: { host: 'h1', bridge: 'alone', mac: '02:00:00:00:01:01', ips: ['10.0.1.1', 'fd00:1::1'] },
  z2: { host: 'h2', bridge: 'alone', mac: '02:00:00:00:01:02', ips: ['10.0.1.2', 'fd00:1::2'] },
};
const names = Object.keys(STATIONS);
const ROUTER_MACS = ['02:00:00:00:0f:0a', '02:00:00:00:0f:0b', '02:00:00:00:0f:0c'];

const recipe: Recipe = {
  about: 'Random frames.',
  hosts: ['h1', 'h2'],
  underlay: 'ipv4',
  outsiders: [],
  bridges: { [TENANT]: { tenant: TENANT, seeded: false } },
  routers: {},
  workloads: Object.fromEntries(
    Object.entries(STATIONS).map(([name, { host, mac, ips }]) => [
      name,
      { host, bridge: TENANT, mac, addresses: [`${ips[0]}/24`], via: [] },
    ]),
  ),
};

const create = (kind: Operation['kind'], body: Record<string, unknown>): Operation => ({
  op: 'create',
  kind,
  body,
});
const link = (a: string, b: string): Operation => ({
  op: 'update',
  kind: 'port',
  id: a,
  body: { peer: b },
});

/** Two subnets, a VLAN of a trunk, a second router with routes that refuse, and a lone bridge. */
const network: Operation[] = [
  ...['ba', 'bb', 'trunk', 'vlan5', 'alone'].map((name) => create('bridge', { name })),
  ...['r1', 'r2'].map((name) => create('router', { name })),
  ...Object.entries(STATIONS).map(([name, { host, bridge, mac, ips }]) =>
    create('port', {
      name,
      bridge,
      host,
      interface: name,
      addresses: ips.map((ip) => ({ mac, ip })),
    }),
  ),
  ...[
    ['ba', '10.0.1.254/24', 'fd00:1::fe/64'],
    ['bb', '10.0.2.254/24', 'fd00:2::fe/64'],
    ['vlan5', '10.0.3.254/24'],
  ].flatMap(([bridge = '', ...networks], i) => [
    create('port', { name: `${bridge}-r`, bridge }),
    create('port', {
      name: `r-${bridge}`,
      router: 'r1',
      mac: ROUTER_MACS[i],
      networks,
      ...(bridge === 'bb' && { mtu: 1280 }),
    }),
    link(`${bridge}-r`, `r-${bridge}`),
  ]),
  create('port', { name: 'leg', bridge: 'trunk', vlan: 5 }),
  create('port', { name: 'vlan5-up', bridge: 'vlan5' }),
  link('leg', 'vlan5-up'),
  create('port', { name: 'r1-r2', router: 'r1', networks: ['10.9.0.1/30'] }),
  create('port', { name: 'r2-r1', router: 'r2', networks: ['10.9.0.2/30'] }),
  link('r1-r2', 'r2-r1'),
  create('route', { router: 'r1', destination: '20.0.0.0/8', port: 'r1-r2', gateway: '10.9.0.2' }),
  create('route', { router: 'r1', destination: '30.0.0.0/8', port: 'r-bb', gateway: '10.0.2.2' }),
  create('route', { router: 'r1', destination: 'fd99::/16', port: 'r-bb', gateway: 'fd00:2::1' }),
  create('route', { router: 'r2', destination: '0.0.0.0/0', port: 'r2-r1', gateway: '10.9.0.1' }),
  create('route', { router: 'r2', destination: '20.1.0.0/16', type: 'reject' }),
  create('route', { router: 'r2', destination: '20.2.0.0/16', type: 'blackhole' }),
];

const mac = (text: string): Mac => parseMac(text) as Mac;
const one = <T>(...values: readonly T[]) => fc.constantFrom(...values);
const stationMacs = [...new Set(Object.values(STATIONS).map((s) => s.mac))].map(mac);
const routers = ROUTER_MACS.map(mac);
const groups = ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '33:33:00:00:00:01', '01:80:c2:00:00:0e'];
const ip4s = [
  ...['10.0.1.1', '10.0.1.2', '10.0.2.1', '10.0.2.2', '10.0.3.1', '10.0.3.2'],
  ...['10.0.1.254', '10.0.2.254', '10.9.0.2', '20.0.0.1', '20.1.0.1', '20.2.0.1', '30.1.1.1'],
  ...['99.0.0.1', '10.0.2.255', '224.0.0.1', '127.0.0.1', '255.255.255.255', '0.0.0.0'],
].map((text) => parseIp4(text) as Ip4);
const ip6s = [
  ...['fd00:1::1', 'fd00:1::2', 'fd00:2::1', 'fd00:2::2', 'fd00:1::fe', 'fd00:2::fe'],
  ...['fd99::1', 'fd55::1', 'ff02::1', '::1', 'fe80::1', '::'],
].map((text) => parseIp(text) as Ip6);

const ethernet = fc.record({
  src: fc.oneof(
    { weight: 20, arbitrary: one(...stationMacs) },
    { weight: 1, arbitrary: one(mac(groups[0] ?? ''), 0 as Mac) },
  ),
  dst: fc.oneof(
    { weight: 6, arbitrary: one(...routers) },
    { weight: 3, arbitrary: one(...stationMacs, mac('02:00:00:00:99:99')) },
    { weight: 2, arbitrary: one(...groups.map(mac)) },
  ),
  tci: fc.oneof(
    { weight: 5, arbitrary: one(undefined) },
    { weight: 2, arbitrary: one(5, 0x6005, 0x6000, 7) },
  ),
});
const transport = one('udp', 'tcp', 'echo', 'reply', 'other');
const packet: fc.Arbitrary<Layers> = fc
  .record({
    ethernet,
    six: one(false, false, true),
    src4: one(...ip4s),
    dst4: one(...ip4s),
    src6: one(...ip6s),
    dst6: one(...ip6s),
    ttl: one(1, 2, 3, 64, 255),
    tos: one(0, 0xb8),
    dontFragment: fc.boolean(),
    length: one(0, 8, 100, 1240, 1260, 1400),
    transport,
  })
  .map((of): Layers => {
    const { six, ttl, tos, dontFragment } = of;
    const network = six
      ? { kind: 'ipv6' as const, src: of.src6, dst: of.dst6, hopLimit: ttl, trafficClass: tos }
      : { kind: 'ipv4' as const, src: of.src4, dst: of.dst4, ttl, tos, dontFragment };
    const ports = { srcPort: 1000, dstPort: 2000 };
    const echo = { code: 0, id: 7, sequence: 1 };
    const upper = (): Layers['transport'] => {
      if (of.transport === 'udp') return { kind: 'udp', ...ports };
      if (of.transport === 'tcp') return { kind: 'tcp', ...ports, flags: 2 };
      const request = of.transport === 'echo';
      return six
        ? { kind: 'icmp6', type: request ? 128 : 129, ...echo }
        : { kind: 'icmp', type: request ? 8 : 0, ...echo };
    };
    const payload = new Uint8Array(of.length);
    if (of.transport === 'other')
      return { ethernet: of.ethernet, network: { ...network, protocol: 47 }, payload };
    return { ethernet: of.ethernet, network, transport: upper(), payload };
  });
const arp: fc.Arbitrary<Layers> = fc
  .record({
    ethernet,
    operation: one(1, 1, 2),
    senderIp: one(...ip4s),
    targetIp: one(...ip4s),
    honest: one(true, true, false),
  })
  .map(({ ethernet: header, honest, ...rest }) => ({
    ethernet: header,
    network: {
      kind: 'arp',
      senderMac: honest ? header.src : (stationMacs[0] ?? header.src),
      targetMac: 0 as Mac,
      ...rest,
    },
  }));
/**
 * Where a byte may be changed: not in the destination, which could become an address that nobody
 * has and that is asked for, again and again, while other frames are looked at.
 */
function placeOf(bytes: Uint8Array, at: number): number {
  const ip = bytes[12] === 0x81 ? 18 : 14;
  const [from, to] = bytes[ip - 2] === 0x86 ? [24, 40] : [16, 20];
  const place = ip + (at % Math.max(1, bytes.length - ip));
  return place >= ip + from && place < ip + to ? ip : place;
}

/** Mostly whole; some with a byte changed or the end cut off, behind the Ethernet header. */
const frames: fc.Arbitrary<Uint8Array> = fc
  .record({
    layers: fc.oneof({ weight: 4, arbitrary: packet }, { weight: 1, arbitrary: arp }),
    how: one('', '', '', '', 'cut', 'flip'),
    at: fc.nat(60),
    bit: fc.nat(7),
  })
  .map(({ layers, how, at, bit }) => {
    const bytes = encodeFrame(layers);
    if (how === 'cut')
      return bytes.length <= CUT_MIN
        ? bytes
        : bytes.slice(0, CUT_MIN + (at % (bytes.length - CUT_MIN)));
    const place = placeOf(bytes, at);
    if (how === 'flip') bytes[place] = (bytes[place] ?? 0) ^ (1 << bit);
    return bytes;
  });

/** The router's port that a workload would send to. */
const ROUTER_OF: Readonly<Record<string, string | undefined>> = {
  ba: ROUTER_MACS[0],
  bb: ROUTER_MACS[1],
  vlan5: ROUTER_MACS[2],
  trunk: ROUTER_MACS[2],
};
/** A bridge would learn a MAC that is seeded elsewhere: its own ones are sent from instead. */
function sentFrom(bridge: string, frame: Uint8Array): Uint8Array {
  const at = stationMacs.indexOf(readMac(frame, 6));
  const own = Object.values(STATIONS).filter((station) => station.bridge === bridge);
  const station = own[at % own.length];
  if (at >= 0 && station !== undefined) writeMac(frame, 6, mac(station.mac));
  return frame;
}
/** Who sends what; half of it as a workload does that has something to be routed. */
const sendings = fc
  .record({ from: one(...names), frame: frames, sane: fc.boolean() })
  .map(({ from, frame, sane }): readonly [string, Uint8Array] => {
    const { bridge, mac: own } = STATIONS[from] ?? { bridge: '', mac: '' };
    const router = ROUTER_OF[bridge];
    if (!sane || router === undefined) return [from, sentFrom(bridge, frame)];
    writeMac(frame, 0, mac(router));
    writeMac(frame, 6, mac(own));
    return [from, frame];
  });

/** The same objects, in this process. */
async function twinOf({ client }: Lab) {
  const rows = [];
  for (const kind of KIND_NAMES)
    if (kind !== 'location')
      for (const object of await client.listAll(kind))
        rows.push({ kind, id: object.id, put: object });
  const zone = (await client.listAll('tunnel-zone'))[0] as unknown as {
    readonly members: readonly { readonly host: string; readonly address: string }[];
  };
  const hosts = zone.members.map(({ host, address }) => ({
    id: host as HostId,
    address: parseIp4(address) as Ip4,
  }));
  const known = await client.listAll('host');
  const hostOf = (name: string): number =>
    hosts.findIndex(({ id }) => known.find((each) => each.id === id)?.name === name);
  const twin = new Cluster({ hosts, caching: true, slots: 4096 });
  for (const host of hosts.keys())
    twin.interfaces(
      host,
      names
        .map((name, i) => ({ name, index: 100 + i }))
        .filter(({ name }) => hostOf(STATIONS[name]?.host ?? '') === host),
    );
  twin.change(rows);
  return {
    send(from: string, frame: Uint8Array): string[] {
      // Time for the budgets of errors to fill again, as it passes in the lab.
      twin.advance(500);
      const at = names.indexOf(from);
      const sent = twin.send(hostOf(STATIONS[from]?.host ?? ''), 100 + at, frame);
      return sent.map(({ port, frame: got }) => told(names[port - 100] ?? '', got)).toSorted();
    },
  };
}
const told = (name: string, frame: Uint8Array): string =>
  `${name} gets ${describeFrame(frame)} [${frame.length}] ${frame.toHex()}`;

/** Interfaces without a voice of their own. */
async function silence(lab: Lab): Promise<void> {
  const quiet = [
    'sysctl -qw net.ipv6.conf.all.disable_ipv6=1',
    `ip address flush dev ${WORKLOAD_INTERFACE}`,
    `ip link set ${WORKLOAD_INTERFACE} arp off`,
  ].join(' && ');
  for (const name of names) {
    const [program = '', ...args] = inside(lab.name, name, ['sh', '-c', quiet]);
    await runOk(program, args, { deadlineMs: AGENTS_MS });
  }
}

async function inForce({ client }: Lab): Promise<void> {
  await until('all ports are up and located', AGENTS_MS, async () => {
    const located = await client.listAll('location');
    const { revision, hosts } = await client.status();
    const there = hosts.every(({ report }) => (report?.revision ?? -1) >= revision);
    return located.length === names.length && there;
  });
}

test('law 4, 8: random frames on real wires leave as the simulation says', async (t) => {
  await sweepLabs();
  const journal = announce(LAB, recipe);
  const sockets = new Map<string, PacketSocket>();
  try {
    const lab = await makeLab(journal, () => {}, { networks: false });
    await silence(lab);
    await lab.client.transact(network);
    await inForce(lab);
    const twin = await twinOf(lab);
    for (const name of names)
      sockets.set(
        name,
        new PacketSocket({ namespace: namespaceOf(lab, name), interface: WORKLOAD_INTERFACE }),
      );
    const seen = { frames: 0, delivered: 0, routed: 0, silent: 0 };
    for (const [from, frame] of fc.sample(sendings, {
      seed,
      numRuns: FRAMES,
    })) {
      const expected = twin.send(from, frame);
      const got: string[] = [];
      const look = (): boolean => {
        for (const [name, socket] of sockets)
          for (const { frame: bytes, outgoing } of socket.drain())
            if (!outgoing) got.push(told(name, bytes));
        return got.length >= expected.length;
      };
      sockets.get(from)?.send(frame);
      await until('what was predicted', ARRIVE_MS, look).catch(() => undefined);
      await sleep(QUIET_MS);
      look();
      assert.deepEqual(
        got.toSorted(),
        expected,
        `${from} sends ${describeFrame(frame)} ${frame.toHex()}`,
      );
      seen.frames += 1;
      seen.delivered += got.length;
      if (got.length === 0) seen.silent += 1;
      if (got.some((text) => routers.some((m) => text.includes(` ${formatMac(m)} > `))))
        seen.routed += 1;
    }
    t.diagnostic(JSON.stringify(seen));
    assert.ok(seen.routed > FRAMES / 20 && seen.silent < FRAMES, JSON.stringify(seen));
  } finally {
    for (const socket of sockets.values()) socket[Symbol.dispose]();
    await cleanLab(LAB);
  }
});
