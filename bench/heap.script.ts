/**
 * What flows take of an agent's heap: an edge that sees two thousand ports, over a datapath that
 * keeps nothing itself. Run with --expose-gc in a process of its own; prints one line of JSON:
 * bytes of heap and of typed arrays with so many flows and with twice as many.
 */
import { CONNECTION_BYTES } from '#flow/connection-layout.ts';
import { MemorySights } from '#datapath/memory-sights.ts';
import { Edge } from '#agent/edge.ts';
import type { Datapath, Upcall } from '#datapath/datapath.ts';
import type { DpPeer, DpPort } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import {
  frameOf,
  HOST,
  interfaceOf,
  interfaces,
  ipText,
  macText,
  objectsOf,
  PORTS,
  routerMac,
} from './network.ts';

const FLOWS = Number(process.argv[2] ?? 10_000);
const SLOTS = 65_536;
const post = (): void => {};

/** Hands up one frame at a time, and forgets whatever it is told. */
class Nowhere implements Datapath {
  readonly connections = { slots: 2, bytes: new Uint8Array(2 * CONNECTION_BYTES) };
  readonly tunnelPort = 0x7fffffff as DpPort;
  readonly slots = SLOTS;
  readonly upcallFd = undefined;
  entryDrops(): [] {
    return [];
  }
  readonly sights = new MemorySights(() => 0);
  waiting: Upcall | undefined;
  readonly #ports = new Set<DpPort>();

  now(): number {
    return 0;
  }
  addPort(port: DpPort): void {
    this.#ports.add(port);
  }
  removePort(port: DpPort): void {
    this.#ports.delete(port);
  }
  ports(): readonly DpPort[] {
    return [...this.#ports];
  }
  upcalls(take: (upcall: Upcall) => void): number {
    if (this.waiting === undefined) return 0;
    take(this.waiting);
    this.waiting = undefined;
    return 1;
  }
  setKey(): void {}
  removeKey(): void {}
  keys(): [] {
    return [];
  }
  addPeer(): DpPeer {
    return 1 as DpPeer;
  }
  removePeer(): void {}
  peers(): [] {
    return [];
  }
  allowSender(): void {}
  denySender(): void {}
  senders(): [] {
    return [];
  }
  install(): void {}
  invalidate(): void {}
  remove(): void {}
  beforeFrames(): void {}
  commit(): void {}
  stats() {
    return { packets: 0, bytes: 0, lastUsedMs: 0 };
  }
  actions(): undefined {}
  dump(): [] {
    return [];
  }
  dropped(): void {}
  note(): void {}
  inject(): void {}
  execute(): void {}
  counters() {
    return { hits: 0, misses: 0, tunnelHits: 0, drops: {} };
  }
  [Symbol.dispose](): void {}
}

const datapath = new Nowhere();
const edge = new Edge({ host: HOST, datapath, now: () => 0, seed: 1 });
edge.handle({ type: 'interfaces', interfaces: interfaces() }, post);
edge.handle({ type: 'event', event: { type: 'learned', all: true, put: [], forget: [] } }, post);
edge.handle(
  { type: 'event', event: { type: 'snapshot', revision: 1, objects: objectsOf(0) } },
  post,
);

const frame = frameOf(
  `${macText(1, 0)} > ${routerMac(1)} udp ${ipText(1, 0)}:1000 > ${ipText(2, 7)}:2000`,
);
const view = new DataView(frame.buffer);
const key = new Uint8Array(KEY_SIZE);

/** Another pair of stations each time. */
function decide(n: number): void {
  const from = n % PORTS;
  view.setUint16(10, from);
  view.setUint16(32, (from + 1 + Math.floor(n / PORTS)) % PORTS);
  const port = interfaceOf(1, from);
  parseKey(frame, key);
  writeEntry(key, { port });
  datapath.waiting = { entry: { port }, timeMs: 0, key, frame, gsoSize: 0, reason: 'miss' };
  edge.pump(post);
}

function used(): { readonly heap: number; readonly arrays: number } {
  for (let i = 0; i < 4; i++) globalThis.gc?.();
  const { heapUsed: heap, arrayBuffers: arrays } = process.memoryUsage();
  return { heap, arrays };
}

for (let n = 0; n < FLOWS; n++) decide(n);
const first = used();
for (let n = FLOWS; n < 2 * FLOWS; n++) decide(n);
const second = used();
const { flowsNow: flows } = edge.state().counters;
console.log(JSON.stringify({ flows, first, second }));
