/**
 * What a first packet costs, step by step, in one process: parse, walk, compile, index, and all of
 * it together over the reference datapath. Run: `npm run bench`. Figures are printed, never
 * asserted.
 */
import { cpus, totalmem } from 'node:os';
import { bench, do_not_optimize, group, run } from 'mitata';
import { Edge } from '#agent/edge.ts';
import { openMemory } from '#datapath/memory.ts';
import { compile, type Bindings } from '#flow/compile.ts';
import type { DpPort } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { headersOf, parseKey } from '#flow/parse.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import { parseFrameText } from '#net/text.ts';
import type { BridgeId, HostId, PortId } from '#virtual/ids.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { simulate } from '#virtual/simulate.ts';
import { MacTable } from '#virtual/state/macs.ts';
import { Topology, type TopologyObject } from '#virtual/topology.ts';

const id = (kind: number, n: number) =>
  `0000000${kind}-0000-4000-8000-${String(n).padStart(12, '0')}`;
const HOST = id(3, 1) as HostId;
const BRIDGE = id(1, 1) as BridgeId;
const PORTS = 1_000;
const macText = (n: number) =>
  `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
const object = (kind: KindName, fields: object): TopologyObject => ({
  kind,
  object: { revision: 1, ...fields } as StoredObject,
});

/** One bridge, a thousand ports on one host, each with a seeded address. */
const objects = [
  object('host', { id: HOST, name: 'h1' }),
  object('bridge', { id: BRIDGE, name: 'b0', adminStateUp: true, floodKey: 0x800001 }),
  ...Array.from({ length: PORTS }, (_, n) =>
    object('port', {
      id: id(2, n),
      name: `p${n}`,
      type: 'bridge',
      bridge: BRIDGE,
      adminStateUp: true,
      hairpin: false,
      host: HOST,
      interface: `if${n}`,
      addresses: [{ mac: macText(n + 1), ip: `10.0.${n >> 8}.${n & 255}` }],
    }),
  ),
];
const topology = new Topology();
topology.reset(1, objects);
const learned = new MacTable({ perPortMax: 1024, ageMs: 300_000 });
const frame = (text: string): Uint8Array => {
  const bytes = parseFrameText(text, { src: parseMac(macText(1)) as Mac });
  if (!(bytes instanceof Uint8Array)) throw new Error(bytes.error);
  return bytes;
};
const unicast = frame(`${macText(1)} > ${macText(2)} udp 10.0.0.0:1000 > 10.0.0.1:2000`);
const question = frame(`arp who-has 10.0.0.7 tell 10.0.0.0`);
const key = new Uint8Array(KEY_SIZE);
parseKey(unicast, key);
const headers = headersOf(key);
const arpKey = new Uint8Array(KEY_SIZE);
parseKey(question, arpKey);
const arpHeaders = headersOf(arpKey);
const ingress = { port: id(2, 0) as PortId };
const bindings: Bindings = {
  dpPort: () => 7 as DpPort,
  remote: () => undefined,
  floodMembers: () => undefined,
};
const outcome = simulate({ topology, learned, headers, bytes: unicast, ingress });

group('one step', () => {
  bench('parseKey', () => do_not_optimize(parseKey(unicast, key)));
  bench('headersOf', () => do_not_optimize(headersOf(key)));
  bench('simulate: unicast through a bridge', () =>
    do_not_optimize(simulate({ topology, learned, headers, bytes: unicast, ingress })));
  bench('simulate: ARP answered by the bridge', () =>
    do_not_optimize(
      simulate({ topology, learned, headers: arpHeaders, bytes: question, ingress }),
    ));
  bench('compile', () => do_not_optimize(compile(outcome, ingress, bindings)));
});

const datapath = openMemory({ slots: 65_536, clock: () => 0 });
const edge = new Edge({ host: HOST, datapath, now: () => 0, seed: 1 });
const post = () => {};
const interfaces = Array.from({ length: PORTS }, (_, n) => ({ name: `if${n}`, index: n + 1 }));
edge.handle({ type: 'interfaces', interfaces }, post);
edge.handle({ type: 'event', event: { type: 'learned', all: true, put: [], forget: [] } }, post);
edge.handle(
  { type: 'event', event: { type: 'snapshot', revision: 1, objects: objects.map((o) => o) } },
  post,
);

/** Every frame another pair of MACs, so every frame a new flow. */
let n = 0;
group('one first packet, from the frame to the installed flow (reference datapath)', () => {
  bench('flow set-up', () => {
    const from = n++ % PORTS;
    const to = (from + 1 + ((n / PORTS) | 0)) % PORTS;
    unicast[11] = (from + 1) & 255;
    unicast[10] = (from + 1) >> 8;
    unicast[5] = (to + 1) & 255;
    unicast[4] = (to + 1) >> 8;
    datapath.receive((from + 1) as DpPort, unicast);
    edge.pump(post);
  });
});

console.log(
  `${cpus().length} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
);
await run({ colors: false });
