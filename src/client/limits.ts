/**
 * The limits that agents and API nodes tell of, in one table: what each is, what happens when it is
 * full, and what to do before that. `mn status`, `mn doctor` and the guide show its words.
 */
import type { Limit } from './types.ts';

interface LimitRow {
  /** Who has it. */
  readonly of: 'api' | 'agent';
  readonly about: string;
  /** What becomes of one more. */
  readonly full: string;
  readonly remedy: string;
}

export const LIMITS_TOLD = {
  flows: {
    of: 'agent',
    about: 'installed flows',
    full: 'an older idle flow goes for the new one',
    remedy: 'start the agent with a larger --flows; see who has them: mn agent stats',
  },
  masks: {
    of: 'agent',
    about: 'masks of installed flows',
    full: 'a flow matches every field, and more first packets come',
    remedy: 'use fewer sorts of rules on one host; see whose they are: mn agent stats',
  },
  connections: {
    of: 'agent',
    about: 'records of connections',
    full: 'an older one goes for the new one, half-open ones first, of the port that has the most',
    remedy: 'start the agent with a larger --connections',
  },
  'half-open-connections': {
    of: 'agent',
    about: 'connections of one port that nobody has answered, of the port that has the most',
    full: 'the oldest of them goes for a new one of that port',
    remedy: 'find the port whose workload opens so many: a scan, or a flood of SYNs',
  },
  'public-ports': {
    of: 'agent',
    about: 'public ports of one address that connections have, of the address that has least left',
    full: 'new connections from the host are dropped as nat-exhausted; others go on',
    remedy: 'give the snat rule more addresses; see who owns which ports: mn connections --ports',
  },
  'learned-macs': {
    of: 'agent',
    about: 'MACs that one port taught, of the port that has the most',
    full: 'further MACs behind the port are flooded to',
    remedy:
      'find the port whose interface brings so many MACs: a loop, or a scan; or bridge less behind it',
  },
  neighbours: {
    of: 'agent',
    about: 'neighbours of one router port, of the port that has the most',
    full: 'of further neighbours nothing is remembered',
    remedy: 'divide the network of the router port with the most neighbours',
  },
  'parked-frames': {
    of: 'agent',
    about: 'packets that wait for the MAC of a next hop',
    full: 'further ones are dropped as neighbour-limit',
    remedy:
      'find who sends to addresses that nobody has: mn status shows neighbour-limit, neighbour-unreachable',
  },
  peers: {
    of: 'agent',
    about: 'hosts behind the tunnel',
    full: 'further hosts are not reached: not-located',
    remedy: 'divide the tunnel zone',
  },
  'port-keys': {
    of: 'agent',
    about: 'tunnel keys open on the host',
    full: 'further ports are not up',
    remedy: 'bind further ports to other hosts',
  },
  streams: {
    of: 'api',
    about: 'open streams of this API node',
    full: 'further ones are refused with 503',
    remedy: 'start another API node, or end watches that nobody reads',
  },
  waits: {
    of: 'api',
    about: 'requests that wait for a revision',
    full: 'further ones are refused with 503',
    remedy: 'use --wait less, or see which host is behind: mn status',
  },
  'waiting-writes': {
    of: 'api',
    about: 'writes that wait for their turn',
    full: 'further ones are refused with 503',
    remedy: 'write several objects in one transaction: mn apply',
  },
  tokens: {
    of: 'api',
    about: 'bearer tokens',
    full: 'no more are issued',
    remedy: 'revoke tokens that nobody uses: mn token list',
  },
  'tunnel-keys': {
    of: 'api',
    about: 'tunnel keys ever given to one host, of the host that has the most',
    full: 'no further port is located there',
    remedy: 'delete the host and create it anew under another name, with its ports unbound',
  },
  'network-keys': {
    of: 'api',
    about: 'keys ever given to bridges and routers',
    full: 'no further bridge or router is created',
    remedy: 'start with a new store: mn export, and mn apply there',
  },
  'store-disk': {
    of: 'api',
    about: "bytes of the store's disk",
    full: 'writes fail with 503, and nothing is lost',
    remedy: 'free space on the disk of mn api --data',
  },
} as const satisfies Readonly<Record<string, LimitRow>>;
export type LimitName = keyof typeof LIMITS_TOLD;

/** Fuller than this is shown. */
export const NEAR_FULL = 0.8;
export const isNearFull = ({ used, max }: Limit): boolean => max > 0 && used >= max * NEAR_FULL;

/** Undefined for a limit that only a newer version knows. */
export const limitRow = (name: string): LimitRow | undefined =>
  name in LIMITS_TOLD ? LIMITS_TOLD[name as LimitName] : undefined;

export const limitOf = (name: LimitName, used: number, max: number): Limit => ({
  name,
  used,
  max,
});
