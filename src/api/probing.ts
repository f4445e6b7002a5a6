/**
 * Probes by every tunnel: all hosts listen, then each sends to all it reaches, and what arrived is
 * compared with what was sent. What is asked of agents is `probe-listen` and `probe-send`.
 *
 * Invariants: nobody sends before everybody listens who is going to; a host that does not answer is
 * named, and nothing is said of the ways to it.
 */
import { randomBytes } from 'node:crypto';
import type { PartOf } from '#client/asks.ts';
import { type Finding, PROBE_PEERS_MAX } from '#client/health-asks.ts';
import type { HostId } from '#virtual/ids.ts';
import { formatIp } from '#net/ip.ts';
import type { Topology } from '#virtual/topology.ts';
import { AskFailed, type Asks } from './asks.ts';

/** A host listens so long, and longer the more others send to it. */
const LISTEN_MS = 1_200;
const LISTEN_PER_PEER_MS = 6;
const LISTEN_MS_MAX = 20_000;
/** Senders that one finding names. */
const NAMED_MAX = 5;

export interface ProbedHost {
  readonly id: HostId;
  readonly name: string;
}
/** A way from one host to another, and what came of its probes. */
export interface Way {
  readonly from: ProbedHost;
  readonly to: ProbedHost;
  readonly address: string;
  /** What the sender's kernel believes to fit; absent: there is no route. */
  readonly mtu?: number | undefined;
  readonly sent: readonly number[];
  readonly error?: string | undefined;
  readonly arrived: readonly number[];
}
export interface Probed {
  readonly ways: readonly Way[];
  /** Hosts that could not be asked, and why. */
  readonly unasked: ReadonlyMap<string, string>;
}

interface Peer {
  readonly to: number;
  readonly address: string;
}
const peersOf = (topology: Topology, hosts: readonly ProbedHost[], own: ProbedHost): Peer[] =>
  hosts
    .flatMap(({ id }, to) => {
      const address = id === own.id ? undefined : topology.tunnelAddress(own.id, id);
      return address === undefined ? [] : [{ to, address: formatIp(address) }];
    })
    .slice(0, PROBE_PEERS_MAX);

type Listening = AsyncIterableIterator<PartOf<'probe-listen'>>;

export async function probe(
  asks: Asks,
  topology: Topology,
  hosts: readonly ProbedHost[],
  signal: AbortSignal,
): Promise<Probed> {
  const run = randomBytes(8).toString('hex');
  const forMs = Math.min(LISTEN_MS + hosts.length * LISTEN_PER_PEER_MS, LISTEN_MS_MAX);
  const options = { signal, caller: undefined, timeoutMs: forMs + 5_000 };
  const unasked = new Map<string, string>();
  const ears = await Promise.all(
    hosts.map(async ({ name, id }): Promise<Listening | undefined> => {
      try {
        const ear = asks.stream(id, { kind: 'probe-listen', run, forMs }, options);
        await ear.next();
        return ear;
      } catch (failed) {
        if (!(failed instanceof AskFailed)) throw failed;
        unasked.set(name, failed.message);
        return undefined;
      }
    }),
  );
  const told = await Promise.all(
    hosts.map(async (host, from) => {
      const peers = peersOf(topology, hosts, host);
      if (unasked.has(host.name) || peers.length === 0) return { peers, parts: [] };
      try {
        const ask = { kind: 'probe-send', run, from, peers } as const;
        return { peers, parts: await asks.one(host.id, ask, options) };
      } catch (failed) {
        if (!(failed instanceof AskFailed)) throw failed;
        unasked.set(host.name, failed.message);
        return { peers, parts: [] };
      }
    }),
  );
  const heard = await Promise.all(ears.map((ear) => hear(ear)));
  const ways = told.flatMap(({ peers, parts }, from): Way[] =>
    parts.flatMap(({ to, mtu, sent, error }) => {
      const [sender, receiver] = [hosts[from], hosts[to]];
      const arrived = heard[to];
      const address = peers.find((peer) => peer.to === to)?.address;
      if (sender === undefined || receiver === undefined) return [];
      if (arrived === undefined || address === undefined) return [];
      const sizes = arrived.get(from) ?? [];
      return [{ from: sender, to: receiver, address, mtu, sent, error, arrived: sizes }];
    }),
  );
  return { ways, unasked };
}

/** What a host heard, by the number of the sender; undefined: it did not listen to the end. */
async function hear(
  ear: Listening | undefined,
): Promise<ReadonlyMap<number, readonly number[]> | undefined> {
  if (ear === undefined) return undefined;
  const heard = new Map<number, readonly number[]>();
  try {
    for await (const part of ear) if ('from' in part) heard.set(part.from, part.sizes);
    return heard;
  } catch (failed) {
    if (failed instanceof AskFailed) return undefined;
    throw failed;
  }
}

const largest = (sizes: readonly number[]): number => Math.max(0, ...sizes);

/** `h1, h2, and 3 more`. */
export function some(names: readonly string[]): string {
  const more = names.length - NAMED_MAX;
  const shown = names.slice(0, NAMED_MAX).join(', ');
  return more > 0 ? `${shown}, and ${more} more` : shown;
}

/** What the probes say is wrong: one finding for each host that loses them, and each size. */
export function judge(ways: readonly Way[]): Finding[] {
  const lost = Map.groupBy(
    ways.filter(({ sent, arrived }) => sent.length > 0 && arrived.length === 0),
    ({ to }) => to.name,
  );
  const refused = ways.filter(({ sent, error }) => sent.length === 0 && error !== undefined);
  const narrow = Map.groupBy(
    ways.filter(({ sent, arrived }) => arrived.length > 0 && largest(arrived) < largest(sent)),
    ({ to, arrived }) => `${to.name} ${largest(arrived)}`,
  );
  return [
    ...[...lost.values()].flatMap(nothingArrives),
    ...[...narrow.values()].flatMap(tooNarrow),
    ...refused.map(({ from, to, address, error = '' }): Finding => ({
      severity: 'error',
      check: 'tunnel-send',
      host: from.name,
      what: `${from.name} cannot send to ${to.name} (${address})`,
      evidence: error,
      remedy: error.includes('EPERM')
        ? `a firewall of ${from.name} refuses it: nft list ruleset; iptables -S OUTPUT`
        : `on ${from.name}: ip route get ${address}`,
    })),
  ];
}

function nothingArrives(ways: readonly Way[]): Finding[] {
  const [first] = ways;
  if (first === undefined) return [];
  const { to, address, sent } = first;
  const names = ways.map(({ from }) => from.name);
  const sizes = `${Math.min(...sent)} to ${largest(sent)} bytes`;
  return [
    {
      severity: 'error',
      check: 'tunnel',
      host: to.name,
      what: `nothing arrives at ${to.name} by the tunnel from ${some(names)}`,
      evidence: `0 of ${sent.length} sizes sent from ${first.from.name} to ${address} arrived, ${sizes}`,
      remedy: `let UDP to the overlay's port in on ${to.name} (nft list ruleset; iptables -S INPUT), and through what is between; see them come: tcpdump -ni any udp port 6677`,
    },
  ];
}

function tooNarrow(ways: readonly Way[]): Finding[] {
  const [first] = ways;
  if (first === undefined) return [];
  const { to, from, address, sent, arrived } = first;
  const fits = largest(arrived);
  const names = ways.map((way) => way.from.name);
  const lost = sent.filter((size) => size > fits);
  return [
    {
      severity: 'error',
      check: 'mtu',
      host: to.name,
      what: `packets of ${Math.min(...lost)} bytes to ${to.name} from ${some(names)} are lost on the way, ${fits} bytes arrive`,
      evidence: `${from.name} believes ${largest(sent)} bytes to fit on the way to ${address}`,
      remedy: `raise the MTU of the links between them; or tell ${some(names)}: ip route replace ${address} dev DEVICE mtu ${fits} (the device: ip route get ${address})`,
    },
  ];
}
