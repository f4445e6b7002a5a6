/**
 * From an edit to the datapaths: the production API, store, watch streams and agents in one process
 * (`test/world.ts`), over the reference datapath. The clock starts when the client sends the edit
 * and stops, for each agent, when its flows are stale and the change is in force.
 */
import { parseFrameText } from '#net/text.ts';
import { World } from '#test/world.ts';
import type { Operation } from '#client/types.ts';
import type { Line } from '../line.ts';
import { median, quantile } from '../statistics.ts';
import type { Bench, Measured, Row } from '../row.ts';

const SIZE = {
  whole: { hosts: 50, ports: 10_000, edits: 15 },
  quick: { hosts: 10, ports: 1_000, edits: 10 },
} as const;
const BRIDGES = 10;
const OPERATIONS_MAX = 50;
const WAIT_MS = 20_000;

const hostName = (i: number): string => `h${i}`;
const hex = (n: number): string => n.toString(16).padStart(2, '0');
/** Of port `n`; the first of each host is plugged in. */
const mac = (n: number): string =>
  `02:00:00:${hex(n >> 16)}:${hex((n >> 8) & 255)}:${hex(n & 255)}`;
const bridgeOf = (n: number): number => n % BRIDGES;
const ip = (n: number): string => `10.${bridgeOf(n)}.${n >> 8}.${n & 255}`;
const gatewayMac = (bridge: number): string => `02:00:00:ff:ff:${hex(bridge)}`;

type Kind = Extract<Operation, { op: 'create' }>['kind'];
const create = (kind: Kind, body: Readonly<Record<string, unknown>>): Operation => ({
  op: 'create',
  kind,
  body,
});

/** Answers the id of the route. */
async function build(world: World, hosts: number, ports: number): Promise<string> {
  const bridges = Array.from({ length: BRIDGES }, (_, i) => i);
  const operations = [
    create('router', { name: 'r' }),
    ...bridges.map((i) => create('bridge', { name: `b${i}` })),
    ...bridges.flatMap((i) => [
      create('port', {
        name: `r-${i}`,
        router: 'r',
        networks: [`10.${i}.255.1/16`],
        mac: gatewayMac(i),
      }),
      create('port', { name: `b${i}-r`, bridge: `b${i}` }),
    ]),
    ...Array.from({ length: ports }, (_, n) =>
      create('port', {
        name: `p${n}`,
        bridge: `b${bridgeOf(n)}`,
        host: hostName(n % hosts),
        interface: `w${n}`,
        addresses: [{ mac: mac(n), ip: ip(n) }],
      }),
    ),
  ];
  for (let i = 0; i < operations.length; i += OPERATIONS_MAX)
    await world.client.transact(operations.slice(i, i + OPERATIONS_MAX));
  const links = bridges.map((i): Operation => ({
    op: 'update',
    kind: 'port',
    id: `r-${i}`,
    body: { peer: `b${i}-r` },
  }));
  await world.client.transact(links);
  const { objects } = await world.client.create('route', {
    router: 'r',
    destination: '20.0.0.0/8',
    port: 'r-0',
    gateway: ip(0),
  });
  await world.settle();
  return objects[0]?.id ?? '';
}

/** When each agent had a revision in force. */
class Arrivals {
  readonly #at = new Map<string, { readonly revision: number; readonly ms: number }[]>();

  constructor(world: World) {
    for (const { name, edge } of world.hosts.values()) {
      if (edge === undefined) throw new Error(`${name} has no agent`);
      const seen: { revision: number; ms: number }[] = [];
      this.#at.set(name, seen);
      const handle = edge.handle.bind(edge);
      edge.handle = (message, post) => {
        handle(message, post);
        if (message.type !== 'event' || message.event.type !== 'change') return;
        seen.push({ revision: message.event.change.revision, ms: performance.now() });
      };
    }
  }

  /** Milliseconds since `start` until each agent had it; undefined while some have not. */
  since(start: number, revision: number): number[] | undefined {
    const found = [...this.#at.values()].map((seen) => seen.find((s) => s.revision >= revision));
    return found.every((each) => each !== undefined)
      ? found.map(({ ms }) => ms - start)
      : undefined;
  }
}

/** Every host sends a frame that goes by the route: each has a flow that the edit retires. */
function sendAll(world: World, hosts: number): void {
  for (let n = 0; n < hosts; n++) {
    const to = `udp ${ip(n)}:1 > 20.0.0.${n}:2`;
    const frame = parseFrameText(`${mac(n)} > ${gatewayMac(bridgeOf(n))} ${to}`);
    if (!(frame instanceof Uint8Array)) throw new Error(frame.error);
    world.transmit(`w${n}`, frame);
  }
  world.pump();
}

const flows = (world: World): number =>
  world.hosts.values().reduce((sum, { edge }) => sum + (edge?.state().counters.flowsNow ?? 0), 0);

interface Edit {
  readonly what: string;
  make(n: number): Promise<{ readonly revision: number }>;
}

const editsOf = ({ client }: World, route: string): readonly Edit[] => [
  {
    what: 'a route that all hosts use',
    make: (n) => client.update('route', route, { weight: 200 + n }),
  },
  {
    what: 'the addresses of a port',
    make: (n) =>
      client.update('port', 'p0', {
        addresses: [
          { mac: mac(0), ip: ip(0) },
          { mac: mac(0), ip: `10.0.250.${n & 255}` },
        ],
      }),
  },
];

/** In milliseconds since the edit was sent. */
interface Reached {
  /** The API had committed it and said so. */
  readonly answeredMs: number;
  /** Of each agent. */
  readonly agentsMs: readonly number[];
}

async function timesOf(arrivals: Arrivals, edit: Edit, n: number): Promise<Reached> {
  const start = performance.now();
  const { revision } = await edit.make(n);
  const answeredMs = performance.now() - start;
  for (;;) {
    const agentsMs = arrivals.since(start, revision);
    if (agentsMs !== undefined) return { answeredMs, agentsMs };
    if (performance.now() - start > WAIT_MS) throw new Error('an edit did not reach every agent');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function measure({ quick, runs, tell }: Bench): Promise<Measured> {
  const { hosts, ports, edits } = quick ? SIZE.quick : SIZE.whole;
  tell(`${hosts} agents, ${ports} ports`);
  const names = Array.from({ length: hosts }, (_, i) => hostName(i));
  await using world = await World.open({
    hosts: names,
    workloads: names.map((host, n) => ({
      name: `w${n}`,
      host,
      mac: mac(n),
      addresses: [`${ip(n)}/16`],
    })),
  });
  // Each agent reads the network once, whole, and not two hundred times a part of it.
  for (const name of names) await world.agent(name, 'stop');
  const route = await build(world, hosts, ports);
  for (const name of names) await world.agent(name, 'start');
  const arrivals = new Arrivals(world);
  const notes: string[] = [];
  const lines: Line[] = [];
  let n = 0;
  for (const edit of editsOf(world, route)) {
    const all: number[][] = [];
    const each: Reached[] = [];
    let retired = 0;
    for (let run = 0; run < runs; run++) {
      const times: number[] = [];
      for (let i = 0; i < edits; i++) {
        sendAll(world, hosts);
        const before = flows(world);
        const reached = await timesOf(arrivals, edit, n++);
        times.push(...reached.agentsMs);
        each.push(reached);
        retired += before - flows(world);
        await world.settle();
      }
      all.push(times);
    }
    for (const [which, share] of [
      ['p50', 0.5],
      ['p99', 0.99],
    ] as const)
      lines.push({
        what: `${edit.what} → ${hosts} datapaths, ${ports.toLocaleString('en-US')} ports, ${which}`,
        unit: 'ms',
        better: 'less',
        ours: all.map((times) => quantile(times, share)),
        ...(which === 'p99' ? { reach: { of: 'ours', value: 100 } as const } : {}),
      });
    const medianOf = (take: (one: Reached) => number): string => median(each.map(take)).toFixed(1);
    notes.push(
      `${edit.what}: ${(retired / each.length).toFixed(1)} flows retired by an edit; medians: the` +
        ` first agent after ${medianOf(({ agentsMs }) => Math.min(...agentsMs))} ms, the last after` +
        ` ${medianOf(({ agentsMs }) => Math.max(...agentsMs))}, the API's answer after` +
        ` ${medianOf(({ answeredMs }) => answeredMs)}`,
    );
  }
  notes.push(
    'API, store, streams and all agents share one thread here; every agent sees every port, of which',
    'one on each host is plugged in; rules: not yet',
  );
  return { lines, notes };
}

export const change: Row = {
  name: 'change',
  what: 'from an edit to the datapaths of 50 agents, 10 k ports',
  tools: [],
  root: false,
  sides: [],
  measure,
};
