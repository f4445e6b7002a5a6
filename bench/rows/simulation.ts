/** What deciding a first packet takes, step by step, in this process and without any wire. */
import { compile, type Bindings } from '#flow/compile.ts';
import { CONNECTION_BYTES } from '#flow/connection-layout.ts';
import { Connections } from '#flow/connections.ts';
import type { DpPort } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { headersOf, parseKey } from '#flow/parse.ts';
import { FlowTable } from '#flow/table.ts';
import type { Ip4 } from '#net/ip.ts';
import { reversed, type Zone } from '#virtual/connection.ts';
import { simulate } from '#virtual/simulate.ts';
import type { Line, Reach } from '../line.ts';
import {
  expectForward,
  type Filtered,
  frameOf,
  interfaceOf,
  ipText,
  macText,
  openEdge,
  portId,
  PORTS,
  requestOf,
  routerMac,
  ROUTES,
  topologyOf,
} from '../network.ts';
import type { Bench, Measured, Row } from '../row.ts';
import { sampled } from '../timing.ts';

const udp = (n: number): string => `udp ${ipText(1, 0)}:1000 > ${ipText(2, n)}:2000`;
const ACROSS = `${macText(1, 0)} > ${routerMac(1)} ${udp(7)}`;

interface Step {
  readonly what: string;
  readonly call: () => unknown;
  readonly reach?: Reach;
}

function steps(): Step[] {
  const plain = topologyOf(0);
  const bridged = expectForward(
    requestOf(
      plain,
      `${macText(1, 0)} > ${macText(1, 7)} udp ${ipText(1, 0)}:1 > ${ipText(1, 7)}:2`,
    ),
    portId(1, 7),
  );
  const routed = expectForward(requestOf(plain, ACROSS), portId(2, 7));
  const large = expectForward(requestOf(topologyOf(ROUTES), ACROSS), portId(2, 7));
  const ruled = (filtered: Partial<Filtered>): (() => unknown) => {
    const request = expectForward(requestOf(topologyOf(0, filtered), ACROSS), portId(2, 7));
    return () => simulate(request);
  };
  const key = new Uint8Array(KEY_SIZE);
  parseKey(routed.bytes, key);
  const bindings: Bindings = {
    dpPort: () => 7 as DpPort,
    remote: () => undefined,
    floodMembers: () => undefined,
    routerHosts: () => undefined,
    mtu: () => undefined,
    ready: () => undefined,
  };
  const outcome = simulate(routed);
  const cause = { steps: outcome.steps, verdict: outcome.verdict };
  const table = new FlowTable({ slots: 65_536, idleMs: 1, ageMaxMs: 1, seed: 1 });
  const { tags, seen: fields } = outcome;
  const addAndRemove = (): void => {
    const added = table.add({ key, fields, tags, cause, now: 0 });
    if (added !== undefined) table.remove(table.retire([added.ref]));
  };
  return [
    { what: 'parse a frame', call: () => [parseKey(routed.bytes, key), headersOf(key)] },
    { what: 'simulate: one bridge', call: () => simulate(bridged) },
    {
      what: 'simulate: bridge, router, bridge',
      call: () => simulate(routed),
    },
    {
      what: 'the same, with 10 rules',
      call: ruled({ rules: 10 }),
      reach: { of: 'ours', value: 3 },
    },
    ...[100, 1_000, 10_000].map((rules) => ({
      what: `the same, with ${rules.toLocaleString('en')} rules`,
      call: ruled({ rules }),
    })),
    ...[10, 10_000].map((members) => ({
      what: `the same, with a group of ${members.toLocaleString('en')} members`,
      call: ruled({ members }),
    })),
    ...[1_000, 100_000, 500_000].map((live) => ({
      what: `a connection opened, found, ended: ${live.toLocaleString('en')} live`,
      call: opening(live),
    })),
    { what: `bridge, router, bridge, ${ROUTES} routes`, call: () => simulate(large) },
    { what: 'compile', call: () => compile(outcome, routed.ingress, bindings) },
    { what: 'flow table: add and remove', call: addAndRemove },
    { what: 'frame to installed flow, on memory', call: firstPackets() },
  ];
}

/** Among so many that are known. */
function opening(live: number): () => void {
  const slots = live + 1_024;
  const memory = { slots, bytes: new Uint8Array(slots * CONNECTION_BYTES) };
  const table = new Connections(memory, { seed: 1 });
  const zone = 1 as Zone;
  const record = (n: number) => {
    const ends = { protocol: 6, src: (0x0a000000 + (n >> 14)) as Ip4, dst: 0x14000000 as Ip4 };
    const tuple = { ...ends, srcPort: 1_024 + (n & 16_383), dstPort: 80 };
    const returns = { zone, tuple: reversed(tuple) };
    // One of three ports: of all records one may have half.
    const inPort = portId(1, n % 3);
    return {
      forward: { zone, tuple },
      returns,
      inPort,
      outPort: portId(2, 7),
      createdMs: 1,
      translations: [],
    };
  };
  for (let n = 0; n < live; n++) {
    const made = table.commit(record(n));
    if (made !== undefined) table.touch(made.ref, 1, { seenMs: 1, tcp: 0 });
  }
  if (table.counters().live !== live) throw new Error(`of ${live} connections some are not there`);
  const next = record(live);
  return () => {
    const made = table.commit(next);
    const found = table.find(zone, next.returns.tuple);
    if (found !== undefined && made !== undefined) table.remove([made.ref]);
  };
}

/** Every call another pair of stations, so every call a whole new flow. */
function firstPackets(): () => void {
  const { datapath, pump } = openEdge(0);
  const frame = frameOf(ACROSS);
  const view = new DataView(frame.buffer);
  let n = 0;
  return () => {
    const from = n % PORTS;
    const to = (from + 1 + Math.floor(n++ / PORTS)) % PORTS;
    view.setUint16(10, from);
    view.setUint16(32, to);
    datapath.receive(interfaceOf(1, from), frame);
    pump();
  };
}

async function measure({ runs }: Bench): Promise<Measured> {
  const lines: Line[] = [];
  for (const { what, call, reach } of steps()) {
    const ours = await sampled(call, runs);
    lines.push({ what, unit: 'µs', better: 'less', ours, ...(reach && { reach }) });
  }
  const notes = [
    'rules look at the port; the last of them decides. The first packet of each sort is not shown',
    'the last line includes the reference datapath itself, which is made to be read, not to be fast',
    `${PORTS} seeded ports on each bridge; CPU time of one thread`,
  ];
  return { lines, notes };
}

export const simulation: Row = {
  name: 'simulation',
  what: 'what deciding a first packet takes: parse, simulate, compile, table',
  tools: [],
  root: false,
  sides: [],
  measure,
};
