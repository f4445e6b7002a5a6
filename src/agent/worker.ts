/**
 * The packet worker's thread: owns the datapath and the edge, waits for upcalls, messages and its
 * timer in one place, and never yields to an event loop, so that nothing but a packet or a change
 * can delay a packet.
 *
 * Invariant: changes are applied before waiting upcalls are decided.
 */
import {
  parentPort,
  receiveMessageOnPort,
  workerData,
  type MessagePort,
} from 'node:worker_threads';
import type { UpcallBudget } from '#datapath/budget.ts';
import { openEbpf } from '#datapath/ebpf/open.ts';
import { monotonicMs } from '#os/clock.ts';
import { isIp6, readIp4, readIp6, writeIp4, writeIp6, type Ip } from '#net/ip.ts';
import { Epoll, EventFd, TimerFd } from '#os/epoll.ts';
import { RecordSocket } from '#os/record-socket.ts';
import { Routes } from '#os/netlink/routes.ts';
import type { HostId } from '#virtual/ids.ts';
import { Edge } from './edge.ts';
import { LIMITS } from './limits.ts';
import type { FromEdge, ToEdge } from './messages.ts';

/** What the main thread hands over at the start. */
export interface WorkerData {
  readonly host: string;
  readonly runDir: string;
  readonly slots: number;
  readonly ringBytes: number;
  readonly tunnelUdpPort: number;
  /** Records of connections there is room for. */
  readonly connections: number;
  /** The UDP port on which agents tell each other of them. */
  readonly recordUdpPort: number;
  /** Of outer packets; see EbpfOptions. */
  readonly tunnelTos: number | 'copy';
  /** Of each port, and of each host behind the tunnel. */
  readonly upcallBudget: UpcallBudget;
  /** Whether frames for containers may go straight to their interface. */
  readonly peerRedirect: boolean;
  /** The eventfd that the main thread rings when it posted messages. */
  readonly bellFd: number;
  /** A random number for the flow table's hash. */
  readonly seed: number;
}

function bytesOf(address: Ip): Uint8Array {
  const bytes = new Uint8Array(isIp6(address) ? 16 : 4);
  if (isIp6(address)) writeIp6(bytes, 0, address);
  else writeIp4(bytes, 0, address);
  return bytes;
}

const ipOf = (bytes: Uint8Array): Ip =>
  bytes.length === 4 ? readIp4(bytes, 0) : readIp6(bytes, 0);

function run(port: MessagePort, data: WorkerData): void {
  using datapath = openEbpf(data);
  using routes = new Routes();
  using socket = new RecordSocket(data.recordUdpPort);
  const edge = new Edge({
    host: data.host as HostId,
    datapath,
    now: monotonicMs,
    seed: data.seed,
    records: {
      fd: socket.fd,
      send: (to, bytes) => socket.send(bytesOf(to), data.recordUdpPort, bytes),
      receive: (take, max) => socket.receive((from, bytes) => take(ipOf(from), bytes), max),
    },
    pathMtu: (address) => routes.pathMtu(bytesOf(address)),
  });
  using epoll = new Epoll();
  using timer = new TimerFd();
  const bell = new EventFd(data.bellFd);
  timer.every(LIMITS.tickMs);
  const { upcallFd } = datapath;
  const { fd: sightFd } = datapath.sights;
  if (upcallFd === undefined || sightFd === undefined)
    throw new Error('the datapath has no descriptor to wait for');
  for (const fd of [upcallFd, bell.fd, timer.fd, sightFd, socket.fd]) epoll.add(fd);
  const post = (message: FromEdge) => port.postMessage(message);
  post({ type: 'opened', adopted: datapath.adopted, migration: datapath.migration });
  post({ type: 'state', state: edge.state() });
  for (let stopping = false; !stopping;) {
    const ready = epoll.wait(edge.busy ? 0 : -1);
    if (ready.includes(bell.fd)) bell.clear();
    for (let m = receiveMessageOnPort(port); m !== undefined; m = receiveMessageOnPort(port)) {
      const message = m.message as ToEdge;
      if (message.type === 'stop') stopping = true;
      else edge.handle(message, post);
    }
    if (timer.clear() > 0) edge.tick(post);
    if (ready.includes(sightFd)) edge.seen();
    edge.pump(post);
  }
  post({ type: 'stopped' });
}

if (parentPort !== null) run(parentPort, workerData as WorkerData);
