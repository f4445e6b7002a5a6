/**
 * Frames that one workload sends to reach another, each carrying a mark that says who sent it, for
 * whom, and as which kind. A capture is searched for marks: which addresses the frame arrived with
 * does not matter, and a tenant that uses the same addresses cannot be mistaken for the other.
 */
import { multicastMac, parseIp6, solicitedNode } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import { parseFrameText } from '#net/text.ts';
import { addressOf, type Workload } from './recipe.ts';

/**
 * What a frame tells of itself. Numbers are below 256; `from` and `to` are places in the recipe.
 */
export interface Mark {
  readonly kind: number;
  readonly from: number;
  readonly to: number;
}

const PREFIX = new TextEncoder().encode('mn-lab');
/** Tells this run's frames from those of another. */
const RUN_SIZE = 3;
export const MARK_SIZE = PREFIX.length + RUN_SIZE + 3;

const run = crypto.getRandomValues(new Uint8Array(RUN_SIZE));

export const markBytes = ({ kind, from, to }: Mark): Uint8Array =>
  Uint8Array.of(...PREFIX, ...run, kind, from, to);

const beginning = Buffer.from([...PREFIX, ...run]);

/** The mark of a frame; undefined when it carries none of this run. */
export function markOf(frame: Uint8Array): Mark | undefined {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const at = bytes.indexOf(beginning);
  if (at < 0 || at + MARK_SIZE > bytes.length) return undefined;
  const [kind = 0, from = 0, to = 0] = bytes.subarray(at + beginning.length);
  return { kind, from, to };
}

/** A workload as frames see it. */
export interface Station {
  readonly name: string;
  readonly tenant: string;
  /** The bridge it is on; or a name for the link to the router it is plugged into. */
  readonly network: string;
  readonly mac: string;
  readonly ip4: string;
  readonly ip6: string;
}

export function stationOf(
  name: string,
  workload: Workload,
  at: Pick<Station, 'tenant' | 'network'>,
): Station {
  const ip4 = addressOf(workload, 4);
  const ip6 = addressOf(workload, 6);
  if (ip4 === undefined || ip6 === undefined) {
    throw new Error(`${name} needs an IPv4 and an IPv6 address to be probed`);
  }
  return { name, ...at, mac: workload.mac, ip4, ip6 };
}

/** A way to try to reach somebody. `text`: the frame in the grammar of `#net/text.ts`. */
export interface ProbeKind {
  readonly name: string;
  /** What holds data carries the mark as such; else it follows the frame, as padding does. */
  readonly data: boolean;
  text(from: Station, to: Station): string;
}

const ALL = 'ff:ff:ff:ff:ff:ff';
const ALL_NODES = '33:33:00:00:00:01';
const STRANGER = '02:00:00:00:00:ee';

const padded = (name: string, text: ProbeKind['text']): ProbeKind => ({ name, data: false, text });
const loaded = (name: string, text: ProbeKind['text']): ProbeKind => ({ name, data: true, text });

/** Where a neighbour solicitation for an address goes (RFC 4291 §2.7.1, RFC 2464 §7). */
function solicitedMac(ip6: string): string {
  const ip = parseIp6(ip6);
  if (ip === undefined) throw new Error(`${ip6} is no IPv6 address`);
  return formatMac(multicastMac(solicitedNode(ip)));
}

/** The frames by which nobody may reach another tenant, and everybody may reach its own. */
export const PROBES: readonly ProbeKind[] = [
  padded(
    'ARP request, broadcast',
    (a, b) => `${a.mac} > ${ALL} arp who-has ${b.ip4} tell ${a.ip4}`,
  ),
  padded(
    'ARP request, unicast',
    (a, b) => `${a.mac} > ${b.mac} arp who-has ${b.ip4} tell ${a.ip4}`,
  ),
  padded(
    'ARP reply to everybody',
    (a, b) => `${a.mac} > ${ALL} arp reply ${a.ip4} is-at ${a.mac} to ${b.ip4}`,
  ),
  padded(
    'neighbour solicitation',
    (a, b) => `${a.mac} > ${solicitedMac(b.ip6)} ns ${a.ip6} for ${b.ip6}`,
  ),
  padded(
    'neighbour solicitation, unicast',
    (a, b) => `${a.mac} > ${b.mac} ns ${a.ip6} for ${b.ip6}`,
  ),
  padded(
    'neighbour advertisement',
    (a) => `${a.mac} > ${ALL_NODES} na ${a.ip6} is-at ${a.mac} to ff02::1`,
  ),
  loaded(
    'IPv4 unicast, ICMP echo',
    (a, b) => `${a.mac} > ${b.mac} icmp ${a.ip4} > ${b.ip4} echo id 7 seq 1`,
  ),
  loaded('IPv4 unicast, UDP', (a, b) => `${a.mac} > ${b.mac} udp ${a.ip4}:4000 > ${b.ip4}:4001`),
  loaded(
    'IPv4 unicast, TCP',
    (a, b) => `${a.mac} > ${b.mac} tcp ${a.ip4}:4000 > ${b.ip4}:4001 syn`,
  ),
  loaded(
    'IPv4 multicast',
    (a) => `${a.mac} > 01:00:5e:00:00:fb udp ${a.ip4}:5353 > 224.0.0.251:5353`,
  ),
  loaded('IPv4 broadcast', (a) => `${a.mac} > ${ALL} udp ${a.ip4}:68 > 255.255.255.255:67`),
  loaded(
    'IPv6 unicast, ICMPv6 echo',
    (a, b) => `${a.mac} > ${b.mac} icmp6 ${a.ip6} > ${b.ip6} echo id 7 seq 1`,
  ),
  loaded(
    'IPv6 unicast, UDP',
    (a, b) => `${a.mac} > ${b.mac} udp [${a.ip6}]:4000 > [${b.ip6}]:4001`,
  ),
  loaded('IPv6 multicast', (a) => `${a.mac} > ${ALL_NODES} udp [${a.ip6}]:5353 > [ff02::1]:5353`),
  loaded(
    'unicast to nobody known',
    (a, b) => `${a.mac} > ${STRANGER} udp ${a.ip4}:4000 > ${b.ip4}:4001`,
  ),
  loaded('no IP at all (type 0x88b5)', (a, b) => `${a.mac} > ${b.mac} type 0x88b5`),
  loaded(
    '802.1Q tag, broadcast',
    (a, b) => `${a.mac} > ${ALL} vlan 7 udp ${a.ip4}:4000 > ${b.ip4}:4001`,
  ),
];

/**
 * The same with a sender that lies: last, because a bridge that learns believes it until the owner
 * speaks.
 */
export const SPOOFS: readonly ProbeKind[] = [
  loaded(
    "spoofed: the victim's IP",
    (a, b) => `${a.mac} > ${ALL} udp ${b.ip4}:4000 > 10.0.0.255:4001`,
  ),
  loaded(
    "spoofed: the victim's MAC and IP",
    (_, b) => `${b.mac} > ${ALL} udp ${b.ip4}:4000 > 10.0.0.255:4001`,
  ),
  padded(
    "spoofed: ARP for the victim's",
    (a, b) => `${b.mac} > ${ALL} arp reply ${b.ip4} is-at ${b.mac} to ${a.ip4}`,
  ),
];

/**
 * A broadcast that belongs to no protocol: for reachability, and to make a bridge learn its sender.
 */
export const HELLO: ProbeKind = loaded('hello', (a) => `${a.mac} > ${ALL} type 0x88b6`);

/** The frame, with its mark. */
export function probeFrame(
  kind: ProbeKind,
  ends: readonly [Station, Station],
  mark: Mark,
): Uint8Array {
  const text = kind.text(...ends);
  const bytes = markBytes(mark);
  const frame = parseFrameText(
    kind.data ? `${text} data ${Buffer.from(bytes).toString('hex')}` : text,
  );
  if ('error' in frame) throw new Error(`${kind.name}: ${text}: ${frame.error}`);
  return kind.data ? frame : Uint8Array.of(...frame, ...bytes);
}
