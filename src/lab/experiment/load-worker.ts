/**
 * The thread of `load.ts`: sends numbered UDP frames at a steady rate and counts what arrives.
 *
 * Invariants: it never yields to an event loop, so nothing the main thread does delays it; a frame
 * counts as sent when the interface took it, and as received once, whatever its order; and a
 * capture that the kernel had no room for is told, because then nothing is known.
 */
import { workerData } from 'node:worker_threads';
import { linkByName } from '#os/netlink/links.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { PacketSocket } from '#os/packet-socket.ts';
import { monotonicMs } from '#os/clock.ts';
import { AT, AT_STREAM, SEQUENCES_MAX, STATE, STREAM, type LoadData } from './load.ts';

/** Frames sent in one turn: more would fill the queues of the way rather than measure it. */
const BURST_MAX = 64;
/** Behind by more, the sender does not catch up: the machine had no time for it. */
const BEHIND_MAX_MS = 2_000;
const TURN_MS = 1;

interface Stream {
  readonly frame: Uint8Array;
  readonly view: DataView;
  readonly numberAt: number;
  readonly from: PacketSocket;
  readonly to: PacketSocket;
  readonly seen: Uint8Array;
}

/** Where the frames' own words are: 4 bytes that no other frame has, the stream, the number. */
const MAGIC = 0x6d6e6c64;

/** Streams share the sockets of their workloads, by namespace and interface. */
function open({ streams }: LoadData, sockets: Map<string, PacketSocket>): Stream[] {
  const socket = (namespace: string, name: string): PacketSocket =>
    sockets.getOrInsertComputed(`${namespace}/${name}`, () =>
      inNetns(netnsPath(namespace), () => {
        const link = linkByName(name);
        if (link === undefined) throw new Error(`${namespace} has no interface ${name}`);
        return new PacketSocket(link.index);
      }),
    );
  return streams.map(({ frame, from, to }, i) => {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    const numberAt = frame.length - 4;
    view.setUint32(numberAt - 8, MAGIC);
    view.setUint32(numberAt - 4, i);
    return {
      ...{ frame, view, numberAt, seen: new Uint8Array(SEQUENCES_MAX) },
      from: socket(from.namespace, from.interface),
      to: socket(to.namespace, to.interface),
    };
  });
}

function run(data: LoadData): void {
  const shared = new Int32Array(data.shared);
  const sockets = new Map<string, PacketSocket>();
  const streams = open(data, sockets);
  const at = (i: number, what: number): number => AT.streams + i * AT_STREAM + what;
  const sinks = new Set(streams.map(({ to }) => to));

  const send = (i: number, stream: Stream): void => {
    const sequence = Atomics.load(shared, at(i, STREAM.sent));
    if (sequence >= SEQUENCES_MAX) throw new Error('the load has run for too long');
    stream.view.setUint32(stream.numberAt, sequence);
    if (stream.from.send(stream.frame)) Atomics.add(shared, at(i, STREAM.sent), 1);
    else Atomics.add(shared, at(i, STREAM.refused), 1);
  };
  const drain = (): void => {
    for (const sink of sinks)
      for (let got = sink.receive(); got !== undefined; got = sink.receive()) {
        const view = new DataView(got.buffer, got.byteOffset, got.length);
        const end = got.length - 4;
        if (end < 8 || view.getUint32(end - 8) !== MAGIC) continue;
        const i = view.getUint32(end - 4);
        const stream = streams[i];
        const sequence = view.getUint32(end);
        if (stream?.to !== sink || sequence >= SEQUENCES_MAX) continue;
        if (stream.seen[sequence] === 1) Atomics.add(shared, at(i, STREAM.twice), 1);
        else Atomics.add(shared, at(i, STREAM.received), 1);
        stream.seen[sequence] = 1;
      }
  };

  let base = monotonicMs();
  let done = 0;
  let next = 0;
  for (;;) {
    const state = Atomics.load(shared, AT.state);
    if (state === STATE.end) break;
    const now = monotonicMs();
    const rate = Atomics.load(shared, AT.rate);
    if (state === STATE.send) {
      let due = Math.floor(((now - base) * rate) / 1000) - done;
      if (due > (BEHIND_MAX_MS * rate) / 1000) {
        base = now;
        done = 0;
        due = 0;
      }
      for (let n = Math.min(due, BURST_MAX); n > 0; n--) {
        const stream = streams[next];
        if (stream !== undefined) send(next, stream);
        next = (next + 1) % streams.length;
        done += 1;
      }
    } else {
      base = now;
      done = 0;
    }
    drain();
    let lost = 0;
    for (const sink of sinks) lost += sink.lost();
    if (lost > 0) Atomics.add(shared, AT.uncaptured, lost);
    Atomics.wait(shared, AT.bell, 0, TURN_MS);
  }
  for (const socket of sockets.values()) socket[Symbol.dispose]();
}

run(workerData as LoadData);
