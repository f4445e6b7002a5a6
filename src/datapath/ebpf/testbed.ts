/**
 * For tests: a datapath in a network namespace of its own, with workloads and another host around
 * it.
 *
 * Everything made here bears the prefix `mnt-PID-` and is removed by `close`, at the end of the
 * process, or by the next test run when a process was killed. The calling thread is inside the
 * host's namespace between `openTestbed` and `close`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DpPort, TunnelKey } from '#flow/flow.ts';
import { checksum } from '#net/checksum.ts';
import { formatMac } from '#net/mac.ts';
import type { Mac } from '#net/mac.ts';
import { formatIp6, isIp6, parseIp6, readIp6, writeIp6 } from '#net/ip.ts';
import type { Ip, Ip4, Ip6 } from '#net/ip.ts';
import { monotonicMs } from '#os/clock.ts';
import { enterNetns, HeldNetns, inNetns, netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';
import type { Link } from '#os/netlink/links.ts';
import { unmount } from '#os/mount.ts';
import { patient } from '#os/patience.ts';
import { PacketSocket } from '#os/packet-socket.ts';
import type { PacketSocketOptions } from '#os/packet-socket.ts';
import { writeSysctl } from '#os/sysctl.ts';
import type { Bench, Tunnelled } from '../contract.ts';
import { AMPLE_BUDGET } from '../contract/bench.ts';
import { mac, REMOTE6 } from '../contract/frames.ts';
import { destroyEbpf, openEbpf } from './open.ts';
import type { EbpfDatapath, EbpfOptions } from './open.ts';

const PREFIX = 'mnt-';
export const TUNNEL_UDP_PORT = 6677;
/** The other hosts are this side of the underlay's /16; the datapath's own is 172.31.0.1. */
const HOST_ADDRESS = 0xac1f0001;
const UNDERLAY = { host: '172.31.0.1/16', remotes: ['172.31.0.2', '172.31.0.99'] } as const;
const HOST_MAC = '02:00:00:00:aa:01';
const FAR_MAC = '02:00:00:00:aa:02';
const PORTS = 3;
/**
 * skb_vlan_untag() in the kernel drops shorter ones when they are tagged, before any program sees
 * them.
 */
const FRAME_BYTES_MIN = 20;
/** What the suite's largest frames need. */
const WIDE_BYTES = 2000;
/** Bytes before the outer IP header, and of what stands between it and the frame. */
const OUTER = { ip: 14, udpAndVxlan: 16 } as const;
const HOST_ADDRESS6 = parseIp6('fd31::1') as Ip6;

export const isRoot = (): boolean => process.getuid?.() === 0;

const ip = (...args: string[]): void => {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
};
const ipBatch = (namespace: string, lines: readonly string[]): void => {
  execFileSync('ip', ['-n', namespace, '-batch', '-'], { input: lines.join('\n'), stdio: 'pipe' });
};

/** Removes what killed test runs left. */
export function sweep(): void {
  const dead = (name: string): boolean => {
    const pid = /^mnt-(\d+)-/.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  if (existsSync('/run/netns'))
    for (const name of readdirSync('/run/netns')) if (dead(name)) ip('netns', 'del', name);
  for (const name of readdirSync(tmpdir())) if (dead(name)) removeRunDir(join(tmpdir(), name));
}

function removeRunDir(dir: string): void {
  if (readFileSync('/proc/mounts', 'utf8').includes(` ${join(dir, 'bpf')} `))
    unmount(join(dir, 'bpf'));
  rmSync(dir, { recursive: true, force: true });
}

let made = 0;

/**
 * Two namespaces joined by veth pairs: `v1`… in the host, `g1`… behind them; `u0` and `u1` for the
 * tunnel.
 */
export class Testbed {
  readonly host: string;
  readonly guest: string;
  readonly runDir: string;
  readonly #home = new HeldNetns();
  readonly #onExit = (): void => this.close();
  readonly #workloads: string[] = [];
  #closed = false;

  constructor() {
    const name = `${PREFIX}${process.pid}-${++made}`;
    this.host = `${name}h`;
    this.guest = `${name}g`;
    this.runDir = mkdtempSync(join(tmpdir(), `${name}-`));
    process.on('exit', this.#onExit);
    for (const each of [this.host, this.guest]) {
      ip('netns', 'add', each);
      inNetns(netnsPath(each), () => {
        for (const scope of ['all', 'default'])
          writeSysctl(`net/ipv6/conf/${scope}/disable_ipv6`, '1');
      });
    }
    const pair = (a: string, b: string, macs: readonly [string, string]): string[] => [
      `link add ${a} address ${macs[0]} type veth ` +
        `peer name ${b} address ${macs[1]} netns ${this.guest}`,
    ];
    const lines = [
      ...pair('u0', 'u1', [HOST_MAC, FAR_MAC]),
      'link set lo up',
      'link set u0 up',
      `addr add ${UNDERLAY.host} dev u0`,
    ];
    for (const remote of UNDERLAY.remotes)
      lines.push(`neigh add ${remote} lladdr ${FAR_MAC} dev u0 nud permanent`);
    for (let i = 1; i <= PORTS; i++) {
      lines.push(...pair(`v${i}`, `g${i}`, [`02:00:00:00:bb:0${i}`, `02:00:00:00:cc:0${i}`]));
    }
    ipBatch(this.host, lines);
    inNetns(netnsPath(this.host), () => {
      writeSysctl('net/ipv6/conf/u0/accept_dad', '0');
      writeSysctl('net/ipv6/conf/u0/disable_ipv6', '0');
    });
    ipBatch(this.host, [
      `addr add ${formatIp6(HOST_ADDRESS6)}/64 dev u0 nodad`,
      `neigh add ${formatIp6(REMOTE6)} lladdr ${FAR_MAC} dev u0 nud permanent`,
    ]);
    const far = ['link set u1 up arp off'];
    for (let i = 1; i <= PORTS; i++) far.push(`link set g${i} up arp off`);
    ipBatch(this.guest, far);
    enterNetns(netnsPath(this.host));
  }

  open(options: Partial<EbpfOptions> = {}): EbpfDatapath {
    const { runDir } = this;
    return openEbpf({
      runDir,
      slots: 4096,
      ringBytes: 1 << 21,
      tunnelUdpPort: TUNNEL_UDP_PORT,
      upcallBudget: AMPLE_BUDGET,
      ...options,
    });
  }

  port(name: string): DpPort {
    const link = linkByName(name);
    if (link === undefined) throw new Error(`no interface ${name}`);
    return link.index as DpPort;
  }

  socket(name: string, namespace = this.guest, options: PacketSocketOptions = {}): PacketSocket {
    const { index } = this.guestLink(name, namespace);
    return inNetns(netnsPath(namespace), () => new PacketSocket(index, options));
  }

  guestLink(name: string, namespace = this.guest): Link {
    const link = inNetns(netnsPath(namespace), () => linkByName(name));
    if (link === undefined) throw new Error(`no interface ${name}`);
    return link;
  }

  /** Deletes a workload's interface and makes another one of this name and index. */
  remake(name: string, index: number): void {
    const peer = `g${name.slice(1)}`;
    ipBatch(this.host, [
      `link del ${name}`,
      `link add ${name} index ${index} type veth peer name ${peer} netns ${this.guest}`,
    ]);
    ipBatch(this.guest, [`link set ${peer} up arp off`]);
  }

  /** Lets the workloads' wires carry packets of so many bytes. */
  widen(mtu: number): void {
    const lines = (name: string): string[] =>
      Array.from({ length: PORTS }, (_, i) => `link set ${name}${i + 1} mtu ${mtu}`);
    ipBatch(this.host, lines('v'));
    ipBatch(this.guest, lines('g'));
  }

  /** Lets the underlay carry packets of so many bytes. */
  widenUnderlay(mtu: number): void {
    ipBatch(this.host, [`link set u0 mtu ${mtu}`]);
    ipBatch(this.guest, [`link set u1 mtu ${mtu}`]);
  }
  /** Gives workloads these MACs: frames for them are then for the interface that they come by. */
  answerTo(macOf: (i: number) => Mac): void {
    ipBatch(
      this.guest,
      Array.from(
        { length: PORTS },
        (_, i) => `link set g${i + 1} address ${formatMac(macOf(i + 1))}`,
      ),
    );
  }

  rename(from: string, to: string): void {
    ip('-n', this.host, 'link', 'set', from, 'name', to);
  }

  arpOn(name: string): void {
    ip('-n', this.host, 'link', 'set', name, 'up', 'arp', 'on');
  }

  /**
   * Moves a workload's interface to a namespace of its own, with an address; answers the
   * namespace's name.
   */
  workload(name: string, address: string): string {
    const namespace = `${this.guest}${name}`;
    ip('netns', 'add', namespace);
    this.#workloads.push(namespace);
    inNetns(netnsPath(namespace), () => writeSysctl('net/ipv6/conf/default/disable_ipv6', '1'));
    ip('-n', this.guest, 'link', 'set', name, 'netns', namespace);
    ipBatch(namespace, [
      'link set lo up',
      `link set ${name} up arp on`,
      `addr add ${address} dev ${name}`,
    ]);
    return namespace;
  }

  /** Back home; nothing is left. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    process.off('exit', this.#onExit);
    enterNetns(netnsPath(this.host));
    try {
      destroyEbpf(this.runDir);
    } finally {
      this.#home.enter();
      this.#home[Symbol.dispose]();
      for (const each of [this.host, this.guest, ...this.#workloads]) ip('netns', 'del', each);
      removeRunDir(this.runDir);
    }
  }
}

interface Outer {
  readonly source: Ip;
  readonly key: TunnelKey;
  /** TOS or traffic class. */
  readonly tos?: number;
}
/**
 * An outer Ethernet, IPv4 or IPv6, UDP and VXLAN header (RFC 7348 §5) around a frame, without a
 * UDP checksum.
 */
export function encapsulate({ source, key, tos = 0 }: Outer, frame: Uint8Array): Uint8Array {
  const udp = OUTER.ip + (isIp6(source) ? 40 : 20);
  const out = new Uint8Array(udp + OUTER.udpAndVxlan + frame.length);
  const view = new DataView(out.buffer);
  out.set([2, 0, 0, 0, 0xaa, 1, 2, 0, 0, 0, 0xaa, 2, ...(isIp6(source) ? [0x86, 0xdd] : [8, 0])]);
  if (isIp6(source)) {
    view.setUint32(OUTER.ip, 0x60000000 + tos * 2 ** 20);
    view.setUint16(OUTER.ip + 4, out.length - udp);
    out.set([17, 64], OUTER.ip + 6);
    writeIp6(out, OUTER.ip + 8, source);
    writeIp6(out, OUTER.ip + 24, HOST_ADDRESS6);
  } else {
    view.setUint32(OUTER.ip, 0x45000000 + tos * 2 ** 16 + out.length - OUTER.ip);
    view.setUint16(OUTER.ip + 8, (64 << 8) | 17);
    view.setUint32(OUTER.ip + 12, source);
    view.setUint32(OUTER.ip + 16, HOST_ADDRESS);
    view.setUint16(OUTER.ip + 10, checksum(out, OUTER.ip, udp));
  }
  view.setUint16(udp, 40000);
  view.setUint16(udp + 2, TUNNEL_UDP_PORT);
  view.setUint16(udp + 4, out.length - udp);
  view.setUint32(udp + 8, 0x08000000);
  view.setUint32(udp + 12, key * 256);
  out.set(frame, udp + OUTER.udpAndVxlan);
  return out;
}

/** What a tunnel's packet has outside besides its address. */
export interface Around {
  readonly tos: number;
  /** IPv4: whether it says "don't fragment". */
  readonly dontFragment: boolean;
  readonly udpChecksum: number;
}

/** What is in a packet of the tunnel; undefined for every other one. */
export function decapsulate(outer: Uint8Array): (Tunnelled & Around) | undefined {
  if (outer.length < OUTER.ip + 40) return undefined;
  const view = new DataView(outer.buffer, outer.byteOffset, outer.length);
  const six = view.getUint16(12) === 0x86dd;
  const udp = OUTER.ip + (six ? 40 : 20);
  if ((!six && view.getUint16(12) !== 0x0800) || outer.length < udp + OUTER.udpAndVxlan)
    return undefined;
  if (outer[OUTER.ip + (six ? 6 : 9)] !== 17) return undefined;
  if (view.getUint16(udp + 2) !== TUNNEL_UDP_PORT) return undefined;
  return {
    remote: six ? readIp6(outer, OUTER.ip + 24) : (view.getUint32(OUTER.ip + 16) as Ip4),
    key: (view.getUint32(udp + 12) >>> 8) as TunnelKey,
    frame: outer.slice(udp + OUTER.udpAndVxlan),
    tos: six ? (view.getUint16(OUTER.ip) >>> 4) & 0xff : (outer[OUTER.ip + 1] ?? 0),
    dontFragment: !six && (view.getUint16(OUTER.ip + 6) & 0x4000) !== 0,
    udpChecksum: view.getUint16(udp + 6),
  };
}

const typeAt = (frame: Uint8Array, at: number): number => (frame[at]! << 8) | frame[at + 1]!;
const isTag = (type: number): boolean => type === 0x8100 || type === 0x88a8;

/**
 * Whether a frame that leaves is seen at the other end. The tunnel device does not take one that
 * lacks some of its IP header; whether a tagged one shorter than `bytesMin` gets past a cable's far
 * end depends on where the kernel keeps its tag.
 */
export function carried(output: object, frame: Uint8Array, bytesMin: number): boolean {
  if (!('remote' in output)) return frame.length >= bytesMin || !isTag(typeAt(frame, 12));
  let at = 12;
  while (isTag(typeAt(frame, at))) at += 4;
  const header = { 0x0800: 20, 0x86dd: 40 }[typeAt(frame, at)] ?? 0;
  return frame.length >= at + 2 + header;
}

/**
 * For a moment after the other end of its cable was set up, an interface loses what is sent, and
 * the sender is told that it went (noop_qdisc of linux/net/sched/sch_generic.c).
 */
const CARRIER_MS = 10_000;
const RETRY_MS = 5;

/** Sends when the interface takes frames, or at once when it has no carrier. */
async function sendSoon(socket: PacketSocket | undefined, frame: Uint8Array, link: () => Link) {
  const deadline = monotonicMs() + patient(CARRIER_MS);
  const isSettled = (): boolean => {
    const { lowerUp, running } = link();
    return running || !lowerUp;
  };
  while (!isSettled() || socket?.send(frame) === false) {
    if (monotonicMs() > deadline) throw new Error('an interface takes no frames');
    await sleep(RETRY_MS);
  }
}

/** A bench of the contract suite in kernel namespaces. */
export function openBench(options: Partial<EbpfOptions> = {}): Bench & {
  readonly testbed: Testbed;
  readonly datapath: EbpfDatapath;
} {
  sweep();
  const testbed = new Testbed();
  try {
    testbed.widen(WIDE_BYTES);
    testbed.answerTo((i) => mac(i));
    const datapath = testbed.open({
      ...options,
      upcallBudget: options.upcallBudget ?? AMPLE_BUDGET,
    });
    const names = Array.from({ length: PORTS }, (_, i) => i + 1);
    const ports = names.map((i) => testbed.port(`v${i}`));
    const inside = new Map(ports.map((port, i) => [port, testbed.socket(`g${i + 1}`)]));
    const hostSide = new Map(
      ports.map((port, i) => [port, testbed.socket(`v${i + 1}`, testbed.host)]),
    );
    const far = testbed.socket('u1');
    const drain = (socket: PacketSocket | undefined): Uint8Array[] => {
      const frames: Uint8Array[] = [];
      for (let frame = socket?.receive(); frame !== undefined; frame = socket?.receive())
        frames.push(frame);
      return frames;
    };
    return {
      testbed,
      datapath,
      ports,
      frameBytesMin: FRAME_BYTES_MIN,
      send: (port, frame) =>
        sendSoon(inside.get(port), frame, () => testbed.guestLink(`g${ports.indexOf(port) + 1}`)),
      sendTunnel: (source, key, frame) => void far.send(encapsulate({ source, key }, frame)),
      received: (port) => Promise.resolve(drain(inside.get(port))),
      tunnelled: () =>
        Promise.resolve(
          drain(far)
            .map(decapsulate)
            .filter((each) => each !== undefined)
            .map(({ remote, key, frame }) => ({ remote, key, frame })),
        ),
      hostSends: (port, frame) => void hostSide.get(port)?.send(frame),
      close: () => {
        for (const socket of [...inside.values(), ...hostSide.values(), far])
          socket[Symbol.dispose]();
        datapath[Symbol.dispose]();
        testbed.close();
      },
    };
  } catch (error) {
    testbed.close();
    throw error;
  }
}
