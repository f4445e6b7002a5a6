/**
 * The first round trip of a conversation: a TCP segment to a closed port, each time between two
 * addresses that never spoke, so both ways are a new flow; the receiver's kernel answers with a
 * reset. On the same wires a Linux bridge carries it without being asked.
 */
import { setImmediate } from 'node:timers/promises';
import type { Line } from '../line.ts';
import { median, quantile } from '../statistics.ts';
import { inTurn, type Bench, type Measured, type Row } from '../row.ts';
import { FAR_FIRST, MAC, NEAR_FIRST } from '../sides/recipes.ts';
import { threadsSince, threadTimes } from '../tools/cpu.ts';
import { agentOf, countersOf, namespaceOf, type Lab } from '#lab/lab.ts';
import { PacketSocket } from '#lab/packet-socket.ts';
import { WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { parseFrameText } from '#net/text.ts';

const TRIPS = { whole: 2_000, quick: 300 } as const;
/** Discarded: caches, and the compiler of the agent. */
const WARM = 200;
const ANSWER_MS = 2_000;
/** So that no port runs out of its budget of first packets, and machines are not kept busy. */
const PAUSE_MS = 0.7;
/** Where the addresses are in an Ethernet frame with IPv4, and where TCP's check sum is. */
const AT = { src: 26, dst: 30, tcpSum: 50 } as const;
const REPORT_MS = 1_500;

let next = 0;

/** A segment between two addresses nobody used before. */
function segment(dst: string): Uint8Array {
  const n = next++;
  const address = (first: number): string =>
    [24, 16, 8, 0].map((shift) => ((first + n) >>> shift) & 255).join('.');
  const text = `${MAC.a} > ${dst} tcp ${address(NEAR_FIRST)}:1000 > ${address(FAR_FIRST)}:9 syn`;
  const frame = parseFrameText(text);
  if (frame instanceof Uint8Array) return frame;
  throw new Error(frame.error);
}

const address = (frame: Uint8Array, at: number): number =>
  new DataView(frame.buffer, frame.byteOffset).getUint32(at);

/** Microseconds until the answer; throws when there is none. */
function trip(socket: PacketSocket, frame: Uint8Array): number {
  const [src, dst] = [address(frame, AT.src), address(frame, AT.dst)];
  const start = performance.now();
  socket.send(frame);
  for (;;) {
    const now = performance.now();
    for (const { frame: got, outgoing } of socket.drain())
      if (!outgoing && got.length >= AT.tcpSum)
        if (address(got, AT.src) === dst && address(got, AT.dst) === src)
          return (now - start) * 1000;
    if (now - start > ANSWER_MS) throw new Error('nobody answered a first packet');
  }
}

async function trips(lab: Lab, dst: string, count: number): Promise<number[]> {
  using socket = new PacketSocket({
    namespace: namespaceOf(lab, 'a'),
    interface: WORKLOAD_INTERFACE,
  });
  const times: number[] = [];
  for (let i = 0; i < WARM + count; i++) {
    const frame = segment(dst);
    times.push(trip(socket, frame));
    await setImmediate();
    for (const until = performance.now() + PAUSE_MS; performance.now() < until;);
  }
  return times.slice(WARM);
}

const upcalls = async (lab: Lab): Promise<number> => {
  await new Promise((resolve) => setTimeout(resolve, REPORT_MS));
  return (await countersOf(lab, 'h1')).upcalls;
};

async function measure({ stage, runs, quick }: Bench): Promise<Measured> {
  const [ours, kernel] = [await stage.side('ours'), await stage.side('kernel')];
  const count = quick ? TRIPS.quick : TRIPS.whole;
  // Both ask once for the MACs that they need.
  await trips(ours, MAC.routerA, 1);
  await trips(kernel, MAC.c, 1);
  const pid = agentOf(ours, 'h1')?.pid ?? 0;
  const before = await upcalls(ours);
  const threads = threadTimes(pid);
  const of = await inTurn(runs, {
    ours: () => trips(ours, MAC.routerA, count),
    peer: () => trips(kernel, MAC.c, count),
  });
  const [worker] = threadsSince(pid, threads);
  const decided = (await upcalls(ours)) - before;
  const perTrip = decided / (runs * (count + WARM));
  const each = (((worker?.cpuMs ?? 0) * 1000) / decided).toFixed(1);
  // The bridge's median is what a first packet would take without being first.
  const bridge = of.peer.map((times) => median(times));
  const line = (what: string, share: number, value: number): Line => ({
    what: `first packet and its answer, ${what}`,
    unit: 'µs',
    better: 'less',
    ours: of.ours.map((times) => quantile(times, share)),
    peer: { name: 'Linux bridge, median', values: bridge },
    reach: { of: 'added', value },
  });
  const notes = [
    `${perTrip.toFixed(2)} first packets decided for each round trip, through switch, router, switch`,
    `Linux bridge, p99: ${of.peer.map((times) => quantile(times, 0.99).toFixed(1)).join(', ')} µs`,
    `the agent’s thread that decides is on a CPU for ${each} µs each, waking up and ticks included`,
    'asked and awaited by a process that does not sleep: it takes one CPU, agent and answer another',
  ];
  return { lines: [line('median', 0.5, 100), line('p99', 0.99, 1_000)], notes };
}

export const firstPacket: Row = {
  name: 'first-packet',
  what: 'what being the first packet adds to a round trip',
  tools: ['ip', 'nsenter'],
  root: true,
  sides: ['ours', 'kernel'],
  measure,
};
