/**
 * The frames of an attacker: whatever makes an agent decide, a flow be cached, or a mask be used.
 * Run as a program it sends them from an interface as fast as it can, for some seconds, and prints
 * how many: NAMESPACE INTERFACE KIND SECONDS.
 */
import { checksum } from '#net/checksum.ts';
import { parseFrameText } from '#net/text.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';
import { PacketSocket } from '#os/packet-socket.ts';

/**
 * `storm`: every frame is the first of another routed flow. `masks`: every frame is of another sort
 * as well, so that flows with as many sets of fields as possible come about.
 */
export type AttackKind = 'storm' | 'masks';

/** Where the attacker sits; its router's MAC and the network behind. */
export const ATTACKER = {
  mac: '02:00:00:00:0a:01',
  ip: '10.8.0.2',
  router: '02:00:00:00:0a:fe',
  routerIp: '10.8.0.1',
} as const;

/** xorshift32: the same frames in every run. */
function randomOf(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

function parsed(text: string): Uint8Array {
  const frame = parseFrameText(text);
  if (frame instanceof Uint8Array) return frame;
  throw new Error(`${text}: ${frame.error}`);
}

const { mac, ip, router, routerIp } = ATTACKER;
const IP = 14;
const DESTINATION = 30;
const ETHER_TYPES = [0x0800, 0x0806, 0x86dd, 0x88b5, 0x8847, 0x88cc];

/** A frame with any of its header fields other than they should be. */
function anySort(random: () => number): Uint8Array {
  const destinations = [router, '02:00:00:00:0a:02', 'ff:ff:ff:ff:ff:ff', '33:33:00:00:00:16'];
  const to = destinations[random() % destinations.length]!;
  const far = `20.${random() & 255}.${random() & 255}.${random() & 255}`;
  const [sport, dport] = [1 + (random() % 65_000), 1 + (random() % 65_000)];
  const text = [
    `${mac} > ${to} udp ${ip}:${sport} > ${far}:${dport}`,
    `${mac} > ${to} tcp ${ip}:${sport} > ${far}:${dport}`,
    `${mac} > ${to} udp ${ip}:${sport} > ${routerIp}:${dport}`,
    `${mac} > ${to} udp [fd08::2]:${sport} > [fd20::${(random() & 0xffff).toString(16)}]:${dport}`,
    `${mac} > ff:ff:ff:ff:ff:ff arp who-has 10.8.${random() & 255}.${random() & 255} tell ${ip}`,
  ][random() % 5]!;
  const frame = parsed(text);
  const view = new DataView(frame.buffer);
  // Now and then a sender that nobody knows, fragments, a TTL of its own, a type that is none.
  if (random() % 3 === 0) view.setUint16(10, random() & 0xffff);
  if (view.getUint16(12) === 0x0800) {
    if (random() % 4 === 0) view.setUint16(IP + 6, [0x2000, 0x2001, 0x0100][random() % 3]!);
    if (random() % 4 === 0) frame[IP + 8] = random() & 3;
    if (random() % 4 === 0) frame[IP + 1] = random() & 255;
    if (random() % 4 === 0) frame[IP + 9] = random() & 255;
    view.setUint16(IP + 10, 0);
    view.setUint16(IP + 10, checksum(frame, IP, IP + 20));
  }
  if (random() % 8 === 0) view.setUint16(12, ETHER_TYPES[random() % ETHER_TYPES.length]!);
  return random() % 3 === 0 ? tagged(frame, random() & 0xfff) : frame;
}

function tagged(frame: Uint8Array, vid: number): Uint8Array {
  const out = new Uint8Array(frame.length + 4);
  out.set(frame.subarray(0, 12));
  out.set([0x81, 0, vid >> 8, vid & 255], 12);
  out.set(frame.subarray(12), 16);
  return out;
}

const POOL = 30_000;

/** Calls for one frame after another; each is valid until the next call. */
export function attackFrames(kind: AttackKind): () => Uint8Array {
  if (kind === 'storm') {
    const frame = parsed(`${mac} > ${router} udp ${ip}:1 > 20.0.0.0:2`);
    const view = new DataView(frame.buffer);
    let next = 0x14000000;
    return () => {
      view.setUint32(DESTINATION, next++);
      return frame;
    };
  }
  const random = randomOf(0x6d6e);
  const pool = Array.from({ length: POOL }, () => anySort(random));
  let at = 0;
  return () => pool[at++ % POOL]!;
}

/** Sends until the time is over; how many the interface took. */
function attack(socket: PacketSocket, next: () => Uint8Array, seconds: number): number {
  const end = performance.now() + seconds * 1000;
  let sent = 0;
  while (performance.now() < end) for (let i = 0; i < 256; i++) if (socket.send(next())) sent++;
  return sent;
}

if (import.meta.main) {
  const [namespace = '', name = '', kind = '', seconds = ''] = process.argv.slice(2);
  using socket = inNetns(netnsPath(namespace), () => {
    const link = linkByName(name);
    if (link === undefined) throw new Error(`${namespace} has no interface ${name}`);
    return new PacketSocket(link.index);
  });
  const next = attackFrames(kind as AttackKind);
  console.log('begins');
  const sent = attack(socket, next, Number(seconds));
  console.log(`sent ${sent}`);
}
