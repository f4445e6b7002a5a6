/** Every branch of the walk, one by one: verdict, fields seen, tags, claims, answers, steps. */
import { ANY_PORTS } from './nat/any-ports.ts';
import { NO_CONNECTIONS } from './connection.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeFrame, encodeFrame, type Layers } from '#net/frame.ts';
import { frameFault } from '#net/fault.ts';
import { ALL_NODES6, parseIp, solicitedNode, UNSPECIFIED6, type Ip4, type Ip6 } from '#net/ip.ts';
import { BROADCAST, parseMac, type Mac } from '#net/mac.ts';
import { linkAddressOption } from '#net/packet/icmp6.ts';
import type { DropReason } from './drop.ts';
import type { BridgeId, PortId } from './ids.ts';
import type { KindName, StoredObject } from './kind.ts';
import { fieldsOf } from './match.ts';
import type { Ingress, Outcome } from './outcome.ts';
import { headersOf } from './packet.arbitrary.ts';
import { simulate } from './simulate.ts';
import { MacTable } from './state/macs.ts';
import * as tags from './tags.ts';
import { Topology } from './topology.ts';
import { describeOutcome } from './trace.ts';
import type { StateView } from './view.ts';

const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);
const ip4 = (text: string): Ip4 => parseIp(text) as Ip4;
const ip6 = (text: string): Ip6 => parseIp(text) as Ip6;
const id = (kind: number, i: number): string => `0000000${kind}-0000-4000-8000-00000000000${i}`;

const B = id(1, 1) as BridgeId;
const OTHER = id(1, 2) as BridgeId;
const P1 = id(2, 1) as PortId;
const P2 = id(2, 2) as PortId;
const P3 = id(2, 3) as PortId;
const M1 = mac('02:00:00:00:00:01');
const M2 = mac('02:00:00:00:00:02');
const M3 = mac('02:00:00:00:00:03');
const A1 = ip4('10.0.0.1');
const A2 = ip4('10.0.0.2');
const V1 = ip6('fd00::1');
const V2 = ip6('fd00::2');

type Row = Readonly<Record<string, unknown>>;
const bridgeRow = (changes: Row = {}): Row => ({
  id: B,
  name: 'b0',
  adminStateUp: true,
  floodKey: 0x800001,
  revision: 1,
  ...changes,
});
const portRow = (port: PortId, changes: Row = {}): Row => ({
  id: port,
  name: `p${port.at(-1)}`,
  type: 'bridge',
  bridge: B,
  adminStateUp: true,
  hairpin: false,
  addresses: [],
  revision: 1,
  ...changes,
});
const SEEDS2 = [
  { mac: '02:00:00:00:00:02', ip: '10.0.0.2' },
  { mac: '02:00:00:00:00:02', ip: 'fd00::2' },
];

interface Given {
  readonly bridge?: Row;
  readonly p1?: Row;
  readonly p2?: Row;
  readonly more?: readonly (readonly [KindName, Row])[];
}
function topologyOf({ bridge = {}, p1 = {}, p2 = {}, more = [] }: Given = {}): Topology {
  const topology = new Topology();
  const rows: [KindName, Row][] = [
    ['bridge', bridgeRow(bridge)],
    ['port', portRow(P1, p1)],
    ['port', portRow(P2, p2)],
    ...more.map(([kind, row]): [KindName, Row] => [kind, row]),
  ];
  topology.reset(
    1,
    rows.map(([kind, row]) => ({ kind, object: row as unknown as StoredObject })),
  );
  return topology;
}
const stateOf = (macs: MacTable): StateView => ({
  macs,
  neighbours: { neighbour: () => undefined, mayHear: () => true },
  errors: { mayTell: () => true },
  connections: NO_CONNECTIONS,
  publicPorts: ANY_PORTS,
  isHere: () => true,
});
const macTable = (): MacTable => new MacTable({ perPortMax: 2, ageMs: 10 });

interface Run {
  readonly topology?: Topology;
  readonly learned?: MacTable;
  readonly frame?: Layers;
  readonly bytes?: Uint8Array;
  readonly ingress?: Ingress;
}
const udp = (src: Mac, dst: Mac, tci?: number): Layers => ({
  ethernet: { src, dst, tci },
  network: { kind: 'ipv4', src: A1, dst: A2 },
  transport: { kind: 'udp', srcPort: 1, dstPort: 2 },
});
function run({
  topology = topologyOf(),
  learned = macTable(),
  frame = udp(M1, M2),
  bytes = encodeFrame(frame),
  ingress = { port: P1 },
}: Run = {}): Outcome {
  const size = bytes.length - 14;
  return simulate({
    topology,
    state: stateOf(learned),
    headers: headersOf(bytes),
    bytes,
    size,
    ingress,
  });
}
const has = (outcome: Outcome, ...wanted: tags.Tag[]): void => {
  for (const tag of wanted)
    assert(outcome.tags.includes(tag), `${tag} among ${outcome.tags.join(' ')}`);
};
const drops = (outcome: Outcome, reason: DropReason): void =>
  assert.deepEqual(outcome.verdict, { kind: 'drop', reason });
const did = (outcome: Outcome): string[] => outcome.steps.map((step) => step.did);
const seen = (outcome: Outcome): string[] => fieldsOf(outcome.seen);
const claimOf = ({ claims: [claim] }: Outcome) =>
  claim !== undefined && 'learn' in claim ? claim.learn : undefined;
const flooded = { kind: 'forward', to: [{ flood: B, except: P1 }] };

test('ingress: a port nobody owns, a port that is down, a bridge that is down or gone', () => {
  const nobody = run({ ingress: { port: P3 } });
  drops(nobody, 'no-port');
  assert.deepEqual(nobody.tags, [tags.portTag(P3)]);
  assert.deepEqual(seen(nobody), []);
  const down = run({ topology: topologyOf({ p1: { adminStateUp: false } }) });
  drops(down, 'port-down');
  has(down, tags.portTag(P1));
  const bridgeDown = run({ topology: topologyOf({ bridge: { adminStateUp: false } }) });
  drops(bridgeDown, 'bridge-down');
  has(bridgeDown, tags.portTag(P1), tags.bridgeTag(B));
  const orphan = run({ topology: topologyOf({ p1: { bridge: OTHER } }) });
  drops(orphan, 'no-port');
  has(orphan, tags.bridgeTag(OTHER));
});

test('source: a group or zero is dropped before anything else is read', () => {
  for (const src of [0 as Mac, BROADCAST, mac('01:00:5e:00:00:01')]) {
    const outcome = run({ frame: udp(src, M2) });
    drops(outcome, 'source-not-unicast');
    assert.deepEqual(seen(outcome), ['ethSrc']);
    assert.deepEqual(outcome.claims, []);
  }
});

test('learning: claimed once, per VLAN; not when seeded, known here, or over the budget', () => {
  const fresh = run();
  assert.deepEqual(fresh.claims, [{ learn: { bridge: B, vlan: 0, mac: M1, port: P1 } }]);
  has(fresh, tags.macTag(B, 0, M1), tags.seededMacTag(B, M1), tags.learningTag(P1));
  const learned = macTable();
  learned.learn({ bridge: B, vlan: 0, mac: M1, port: P1 }, 0);
  const known = run({ learned });
  assert.deepEqual(known.claims, []);
  has(known, tags.macTag(B, 0, M1));
  assert(!known.tags.includes(tags.learningTag(P1)));
  assert.equal(claimOf(run({ learned, frame: udp(M1, M2, 5) }))?.vlan, 5);
  assert.deepEqual(run({ learned, frame: udp(M1, M2, 0x6000) }).claims, [], 'VID 0 is no VLAN');
  assert.equal(claimOf(run({ learned, ingress: { port: P2 } }))?.port, P2, 'it moved');
  learned.learn({ bridge: B, vlan: 0, mac: M3, port: P1 }, 0);
  const full = run({ learned, frame: udp(M2, M3) });
  assert.deepEqual(full.claims, []);
  has(full, tags.learningTag(P1));
  for (const p of ['p1', 'p2'] as const) {
    const topology = topologyOf({ [p]: { addresses: [{ mac: '02:00:00:00:00:01' }] } });
    assert.deepEqual(run({ topology }).claims, [], `seeded at ${p}`);
  }
});

test('reserved groups are not forwarded, their neighbours are', () => {
  for (const last of ['00', '0f'])
    drops(run({ frame: udp(M1, mac(`01:80:c2:00:00:${last}`)) }), 'reserved-group');
  for (const dst of ['01:80:c2:00:00:10', '01:80:c1:ff:ff:ff'])
    assert.deepEqual(run({ frame: udp(M1, mac(dst)) }).verdict, flooded);
});

test('destination: seeded, learned, seeded before learned, hairpin, down', () => {
  const topology = topologyOf({ p2: { addresses: SEEDS2 } });
  const learned = macTable();
  learned.learn({ bridge: B, vlan: 0, mac: M2, port: P1 }, 0);
  learned.learn({ bridge: B, vlan: 0, mac: M3, port: P2 }, 0);
  const seeded = run({ topology, learned });
  assert.deepEqual(seeded.verdict, { kind: 'forward', to: [{ port: P2 }] });
  has(seeded, tags.seededMacTag(B, M2), tags.portTag(P2));
  assert(!seeded.tags.includes(tags.macTag(B, 0, M2)), 'what is learned of it decides nothing');
  assert.deepEqual(run({ topology, frame: udp(M1, M2, 7) }).verdict, seeded.verdict, 'any VLAN');
  const toLearned = run({ learned, frame: udp(M1, M3) });
  assert.deepEqual(toLearned.verdict, { kind: 'forward', to: [{ port: P2 }] });
  has(toLearned, tags.macTag(B, 0, M3), tags.seededMacTag(B, M3), tags.portTag(P2));
  assert.deepEqual(seen(toLearned), ['ethSrc', 'ethDst', 'vlan']);
  assert.deepEqual(run({ learned, frame: udp(M1, M3, 7) }).verdict, flooded, 'another VLAN');
  drops(run({ learned }), 'same-port');
  const hairpin = topologyOf({ p1: { hairpin: true } });
  assert.deepEqual(run({ topology: hairpin, learned }).verdict, {
    kind: 'forward',
    to: [{ port: P1 }],
  });
  const down = run({ topology: topologyOf({ p2: { addresses: SEEDS2, adminStateUp: false } }) });
  drops(down, 'port-down');
  has(down, tags.portTag(P2));
  drops(run({ frame: udp(M1, M1) }), 'same-port');
});

test('a learned place that is gone, or of another bridge, is no place', () => {
  const learned = macTable();
  learned.learn({ bridge: B, vlan: 0, mac: M2, port: P3 }, 0);
  const gone = run({ learned });
  assert.deepEqual(gone.verdict, flooded);
  has(gone, tags.portTag(P3), tags.floodTag(B));
  const elsewhere = topologyOf({
    more: [
      ['bridge', bridgeRow({ id: OTHER })],
      ['port', portRow(P3, { bridge: OTHER })],
    ],
  });
  assert.deepEqual(run({ topology: elsewhere, learned }).verdict, flooded);
});

test('flood: unknown, broadcast, multicast, nobody there; and the half at another host', () => {
  const unknown = run();
  assert.deepEqual(unknown.verdict, flooded);
  assert.deepEqual(did(unknown), ['enter', 'learn', 'unknown-unicast']);
  has(unknown, tags.floodTag(B), tags.macTag(B, 0, M2), tags.seededMacTag(B, M2));
  const all = run({ frame: udp(M1, BROADCAST) });
  assert.deepEqual([all.verdict, did(all).at(-1)], [flooded, 'broadcast']);
  const group = run({ frame: udp(M1, mac('33:33:00:00:00:01')) });
  assert.deepEqual([group.verdict, did(group).at(-1)], [flooded, 'multicast']);
  const alone = run({ topology: topologyOf({ p2: { adminStateUp: false } }) });
  drops(alone, 'no-recipient');
  has(alone, tags.floodTag(B));
  const half = run({ ingress: { flood: B } });
  assert.deepEqual(half.verdict, { kind: 'forward', to: [{ flood: B, here: true }] });
  assert.deepEqual([half.tags, half.seen], [[tags.bridgeTag(B), tags.floodTag(B)], 0]);
  assert.deepEqual(half.claims, []);
  drops(run({ ingress: { flood: OTHER } }), 'no-port');
  const down = topologyOf({ bridge: { adminStateUp: false } });
  drops(run({ topology: down, ingress: { flood: B } }), 'bridge-down');
});

const arp = (changes: Row = {}, header: Row = {}): Layers =>
  ({
    ethernet: { src: M1, dst: BROADCAST, ...header },
    network: {
      kind: 'arp',
      operation: 1,
      senderMac: M1,
      senderIp: A1,
      targetMac: 0,
      targetIp: A2,
      ...changes,
    },
  }) as unknown as Layers;
const seeded2 = (changes: Row = {}): Topology =>
  topologyOf({ p2: { addresses: SEEDS2, ...changes } });

test('ARP for a seeded address is answered by its owner, in the VLAN of the question', () => {
  for (const tci of [undefined, 5, 0x6005]) {
    const outcome = run({ topology: seeded2(), frame: arp({}, { tci }) });
    assert.deepEqual(outcome.verdict, { kind: 'answer' });
    assert.equal(outcome.cacheable, false);
    assert.equal(outcome.claims.length, 1);
    has(outcome, tags.seedsTag(B), tags.seededIpTag(B, A2), tags.portTag(P2));
    const [send] = outcome.sends;
    assert.equal(send?.port, P1);
    const reply = decodeFrame(send?.frame ?? assert.fail()) ?? assert.fail();
    assert.equal(frameFault(send.frame), undefined);
    assert.deepEqual(reply.ethernet, { src: M2, dst: M1, tci, type: 0x0806 });
    assert.deepEqual(reply.network, {
      kind: 'arp',
      operation: 2,
      senderMac: M2,
      senderIp: A2,
      targetMac: M1,
      targetIp: A1,
    });
  }
  const probe = run({ topology: seeded2(), frame: arp({ senderIp: 0 }) });
  assert.deepEqual(probe.verdict, { kind: 'answer' }, 'RFC 5227 probe');
});

test('ARP that is not beyond doubt is forwarded; what need not look stays cacheable', () => {
  const cases: readonly (readonly [string, Given, Layers, boolean])[] = [
    ['no seeds', {}, arp(), true],
    ['a reply', { p2: { addresses: SEEDS2 } }, arp({ operation: 2 }), true],
    ['nobody owns it', { p2: { addresses: SEEDS2 } }, arp({ targetIp: ip4('10.0.0.9') }), true],
    ['gratuitous', { p2: { addresses: SEEDS2 } }, arp({ senderIp: A2 }), true],
    ['owner asks itself', { p1: { addresses: SEEDS2 } }, arp(), true],
    ['owner is down', { p2: { addresses: SEEDS2, adminStateUp: false } }, arp(), true],
    ['another sender', { p2: { addresses: SEEDS2 } }, arp({ senderMac: M3 }), false],
    ['group sender', { p2: { addresses: SEEDS2 } }, arp({ senderMac: BROADCAST }), false],
    ['operation 257', { p2: { addresses: SEEDS2 } }, arp({ operation: 257 }), false],
  ];
  for (const [name, given, frame, cacheable] of cases) {
    const more = [['port', portRow(P3)]] as const;
    const outcome = run({ topology: topologyOf({ ...given, more }), frame });
    assert.deepEqual(outcome.verdict, flooded, name);
    assert.equal(outcome.cacheable, cacheable, name);
    assert.deepEqual(outcome.sends, [], name);
  }
  const bytes = encodeFrame(arp());
  const headers = headersOf(bytes);
  const cut = bytes.subarray(0, 30);
  const outcome = simulate({
    topology: seeded2(),
    state: stateOf(macTable()),
    size: bytes.length - 14,
    headers,
    bytes: cut,
    ingress: { port: P1 },
  });
  assert.deepEqual(outcome.verdict, flooded, 'cut short');
});

test('masks: only what the seeds make worth reading is read', () => {
  assert.deepEqual(seen(run({ frame: arp() })), ['ethSrc', 'ethDst', 'vlan']);
  const other = run({ topology: seeded2() });
  assert.deepEqual(seen(other), ['ethSrc', 'ethDst', 'ethType', 'vlan']);
  const v4Only = topologyOf({ p2: { addresses: SEEDS2.slice(0, 1) } });
  const fields = seen(run({ topology: v4Only, frame: solicitation() }));
  assert.deepEqual(fields, ['ethSrc', 'ethDst', 'ethType', 'vlan']);
  const v6Only = topologyOf({ p2: { addresses: SEEDS2.slice(1) } });
  assert.deepEqual(run({ topology: v6Only, frame: arp() }).verdict, flooded);
});

interface Asked {
  readonly src?: Ip6;
  readonly dst?: Ip6;
  readonly target?: Ip6;
  readonly hopLimit?: number;
  readonly link?: Mac | undefined;
  readonly type?: 135 | 136;
  readonly tci?: number | undefined;
}
const solicitation = (asked: Asked = {}): Layers => {
  const { src = V1, target = V2, dst = solicitedNode(target), hopLimit = 255 } = asked;
  const link = 'link' in asked ? asked.link : M1;
  return {
    ethernet: { src: M1, dst: mac('33:33:ff:00:00:02'), tci: asked.tci },
    network: { kind: 'ipv6', src, dst, hopLimit },
    transport: {
      kind: 'neighbour',
      type: asked.type ?? 135,
      flags: 0,
      target,
      options: link === undefined ? [] : [linkAddressOption(1, link)],
    },
  };
};

test('a neighbour solicitation is answered to the asker', () => {
  const asks: Asked[] = [{}, { tci: 5 }, { dst: V2 }, { dst: V2, link: undefined }];
  for (const asked of asks) {
    const outcome = run({ topology: seeded2(), frame: solicitation(asked) });
    assert.deepEqual(outcome.verdict, { kind: 'answer' });
    assert.equal(outcome.cacheable, false);
    has(outcome, tags.seededIpTag(B, V2), tags.portTag(P2));
    const frame = outcome.sends[0]?.frame ?? assert.fail();
    assert.equal(frameFault(frame), undefined);
    const { ethernet, network, transport } = decodeFrame(frame) ?? assert.fail();
    assert.deepEqual(ethernet, { src: M2, dst: M1, tci: asked.tci, type: 0x86dd });
    assert(network?.kind === 'ipv6' && transport?.kind === 'neighbour');
    assert.deepEqual([network.src, network.dst, network.hopLimit], [V2, V1, 255]);
    assert.deepEqual([transport.type, transport.flags], [136, 0x60000000]);
    assert.equal(transport.target, V2);
    assert.deepEqual(transport.options, [linkAddressOption(2, M2)]);
  }
});

test('duplicate address detection is answered to all nodes, not solicited', () => {
  const frame = solicitation({ src: UNSPECIFIED6, link: undefined });
  const outcome = run({ topology: seeded2(), frame });
  assert.deepEqual(outcome.verdict, { kind: 'answer' });
  const sent = outcome.sends[0]?.frame ?? assert.fail();
  assert.equal(frameFault(sent), undefined);
  const { ethernet, network, transport } = decodeFrame(sent) ?? assert.fail();
  assert.equal(ethernet.dst, mac('33:33:00:00:00:01'));
  assert(network?.kind === 'ipv6' && transport?.kind === 'neighbour');
  assert.deepEqual([network.dst, transport.flags], [ALL_NODES6, 0x20000000]);
  const own = run({ topology: topologyOf({ p1: { addresses: SEEDS2 } }), frame });
  assert.deepEqual(own.verdict, flooded, 'the owner itself asks');
});

test('solicitations that are not beyond doubt are forwarded', () => {
  const far = ip6('fd00::9');
  const cases: readonly (readonly [string, Asked, boolean])[] = [
    ['an advertisement', { type: 136 }, true],
    ['forwarded', { hopLimit: 64 }, true],
    ['nobody of that group', { target: far }, true],
    ['nobody owns the unicast', { target: far, dst: far }, true],
    ['from a group', { src: ALL_NODES6 }, true],
    ['unicast to another target', { target: far, dst: V2 }, false],
    ['another of that group', { target: ip6('fd00::5:0:2') }, false],
    ['another sender', { link: M3 }, false],
    ['unspecified with a link address', { src: UNSPECIFIED6 }, false],
    ['unspecified to a unicast', { src: UNSPECIFIED6, dst: V2, link: undefined }, false],
  ];
  for (const [name, asked, cacheable] of cases) {
    const outcome = run({ topology: seeded2(), frame: solicitation(asked) });
    assert.deepEqual(outcome.verdict, flooded, name);
    assert.equal(outcome.cacheable, cacheable, name);
  }
  const broken = encodeFrame(solicitation());
  broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 0xff;
  assert.deepEqual(run({ topology: seeded2(), bytes: broken }).verdict, flooded, 'option changed');
  const checksum = encodeFrame(solicitation());
  checksum[56] = (checksum[56] ?? 0) ^ 1;
  assert.deepEqual(run({ topology: seeded2(), bytes: checksum }).verdict, flooded, 'checksum');
  const down = run({ topology: seeded2({ adminStateUp: false }), frame: solicitation() });
  assert.deepEqual(down.verdict, { kind: 'drop', reason: 'no-recipient' });
});

test('a solicitation with a fragment header is not believed (RFC 6980)', () => {
  const whole = encodeFrame(solicitation());
  const bytes = new Uint8Array(whole.length + 8);
  bytes.set(whole.subarray(0, 54));
  bytes.set([58, 0, 0, 0, 0, 0, 0, 1], 54);
  bytes.set(whole.subarray(54), 62);
  bytes[20] = 44;
  bytes[19] = (bytes[19] ?? 0) + 8;
  const topology = seeded2();
  const headers = { ...headersOf(bytes), ipProto: 58, ipFrag: 0, tpSrc: 135 << 8 };
  const outcome = simulate({
    topology,
    state: stateOf(macTable()),
    size: bytes.length - 14,
    headers,
    bytes,
    ingress: { port: P1 },
  });
  assert.deepEqual(outcome.verdict, flooded);
});

test('no field is rewritten by a bridge', () => {
  assert.deepEqual(run().rewrites, {});
});

test('trace: one line for each step, by name, then the verdict', () => {
  const topology = seeded2();
  const text = (request: Run): string[] =>
    describeOutcome(run({ topology, ...request }), request.topology ?? topology);
  assert.deepEqual(text({}), [
    'port p1: enter',
    'bridge b0: learn 02:00:00:00:00:01',
    'bridge b0: unicast 02:00:00:00:00:02',
    'port p2: leave',
    'forward: to port p2',
  ]);
  assert.deepEqual(text({ frame: udp(M1, M3, 5) }), [
    'port p1: enter',
    'bridge b0: learn 02:00:00:00:00:01 vlan 5',
    'bridge b0: unknown unicast 02:00:00:00:00:03',
    'forward: to all ports of bridge b0 except p1',
  ]);
  assert.deepEqual(text({ frame: arp() }).slice(2), [
    'bridge b0: answer 10.0.0.2 is-at 02:00:00:00:00:02',
    'answer: sent out of port p1',
  ]);
  assert.deepEqual(text({ ingress: { flood: B } }), [
    'bridge b0: flood here',
    'forward: to the ports of bridge b0 on this host',
  ]);
  assert.deepEqual(text({ ingress: { port: P3 } }), [
    `port ${P3}: drop no-port`,
    'drop: The frame came from an interface, or for a key, that no virtual port owns.',
  ]);
});
