/**
 * What is not well, as far as this node can find out: from its own state, from what agents report,
 * and by asking every agent to look at its host and to send probes to the others. Each finding says
 * by what it is known, and what to do.
 */
import type { AskOf } from '#client/asks.ts';
import { limitRow, isNearFull } from '#client/limits.ts';
import type { Finding } from '#client/health-asks.ts';
import type { HostStatus, Limit, Status } from '#client/types.ts';
import { formatIp } from '#net/ip.ts';
import type { HostId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { Topology } from '#virtual/topology.ts';
import { isDown, membersOf } from './balance-status.ts';
import type { Node } from './node.ts';
import { type ProbedHost, judge, probe, some } from './probing.ts';
import { Refusal } from './problems.ts';

/** Clocks further apart make times of logs and history misleading. */
export const CLOCK_APART_MS = 5_000;
/** A live host takes milliseconds. */
export const BEHIND_MS = 5_000;
/** Ports named one by one; of further ones how many. */
const PORTS_TOLD_MAX = 50;
/** The same of members of pools. */
const MEMBERS_TOLD_MAX = 50;
const AGENT_MS = 15_000;

type PortRow = ObjectOf<'port'>;

const finding = (
  severity: Finding['severity'],
  check: string,
  rest: Omit<Finding, 'severity' | 'check'>,
): Finding => ({ severity, check, ...rest });

/** Limits that are nearly full, with what to do. */
export const nearFull = (limits: readonly Limit[], host?: string): Finding[] =>
  limits.filter(isNearFull).map(({ name, used, max }) =>
    finding(used >= max ? 'error' : 'warning', `limit-${name}`, {
      ...(host !== undefined && { host }),
      what: `${limitRow(name)?.about ?? name}: ${Math.floor((used / max) * 100)} % used`,
      evidence: `${used} of ${max}; when full, ${limitRow(name)?.full ?? 'one more is refused'}`,
      remedy: limitRow(name)?.remedy ?? '',
    }),
  );

/** What reports say of one host. */
function ofHost(host: HostStatus, { version, revision }: Status): Finding[] {
  const { name, state, report, behindMs, aheadMs } = host;
  const found: Finding[] = [];
  if (state !== 'alive')
    found.push(
      finding('error', 'host-away', {
        host: name,
        what: `${name} is ${state}: its changes wait, what is installed goes on`,
        evidence: report === undefined ? 'no report since this node started' : 'its reports ended',
        remedy: `start its agent: mn agent --host ${name} --api URL --token-file FILE; its log says why it ended`,
      }),
    );
  if (behindMs !== undefined && behindMs > BEHIND_MS)
    found.push(
      finding('warning', 'host-behind', {
        host: name,
        what: `${name} is behind by ${revision - (report?.revision ?? 0)} revisions`,
        evidence: `the oldest change that it lacks is ${Math.round(behindMs / 1_000)} s old`,
        remedy: `see what holds it up: mn logs ${name}`,
      }),
    );
  if (aheadMs !== undefined && Math.abs(aheadMs) > CLOCK_APART_MS)
    found.push(
      finding('warning', 'clock', {
        host: name,
        what: `the clock of ${name} is ${aheadMs > 0 ? 'ahead' : 'behind'}`,
        evidence: `by ${Math.round(Math.abs(aheadMs) / 1_000)} s of the API's`,
        remedy: `on ${name}: timedatectl set-ntp true`,
      }),
    );
  if (report !== undefined && report.version !== version)
    found.push(
      finding('warning', 'version', {
        host: name,
        what: `${name} runs another version than the API`,
        evidence: `agent ${report.version}, API ${version}`,
        remedy: 'upgrade API nodes first, then agents: docs/guide/upgrades.md',
      }),
    );
  return [...found, ...nearFull(report?.limits ?? [], name)];
}

function downPorts(topology: Topology, { hosts }: Status): Finding[] {
  const down = hosts.flatMap(({ name, report }) =>
    (report?.portsDown ?? []).map(({ port, why }) => ({ host: name, id: port, why })),
  );
  const named = down.slice(0, PORTS_TOLD_MAX).map(({ host, id, why }) => {
    const port = topology.get('port', id) as PortRow | undefined;
    const name = port?.name ?? id;
    const missing = /^there is no interface (.*)$/.exec(why)?.[1];
    const remedy =
      missing === undefined
        ? `mn port show ${name}`
        : `on ${host}: ip link show ${missing}; or bind another one: mn port bind ${name} --host ${host} --interface NAME`;
    return finding('error', 'port-down', {
      host,
      what: `port ${name} is down`,
      evidence: why,
      remedy,
    });
  });
  const more = down.length - named.length;
  if (more <= 0) return named;
  const words = { what: `${more} ports more are down`, evidence: 'mn status', remedy: 'mn status' };
  return [...named, finding('error', 'port-down', words)];
}

/** Ports that nothing carries, and hosts that cannot be reached by others. */
function unplaced(topology: Topology, { hosts }: Status): Finding[] {
  const ports = [...topology.list('port')] as PortRow[];
  const nowhere = ports.filter(({ host, peer }) => host === undefined && peer === undefined);
  const found: Finding[] = [];
  if (nowhere.length > 0)
    found.push(
      finding('info', 'port-unbound', {
        what: `${nowhere.length} ports are neither bound to a host nor linked`,
        evidence: some(nowhere.map(({ name, id }) => name ?? id)),
        remedy: 'mn port bind PORT --host HOST --interface NAME; or delete them',
      }),
    );
  const told = new Set(
    hosts.flatMap(({ report }) => [
      ...(report?.portsUp ?? []),
      ...(report?.portsDown ?? []).map(({ port }) => port),
    ]),
  );
  const alive = new Set(hosts.filter(({ state }) => state === 'alive').map(({ host }) => host));
  const never = ports.filter(
    ({ id, host }) => host !== undefined && alive.has(host) && !told.has(id),
  );
  if (never.length > 0)
    found.push(
      finding('warning', 'port-unheard', {
        what: `no agent says anything of ${never.length} bound ports`,
        evidence: some(never.map(({ name, id }) => name ?? id)),
        remedy: 'wait for the host to catch up: mn status',
      }),
    );
  return [...found, ...zoneless(topology, ports), ...sharedAddresses(topology)];
}

/** Members of pools that should serve, and that checks find down. */
export function downMembers(topology: Topology): Finding[] {
  const found: Finding[] = [];
  let more = 0;
  for (const row of topology.list('pool')) {
    const pool = row as ObjectOf<'pool'>;
    const members = membersOf(topology, pool);
    if (!pool.adminStateUp) continue;
    const severity = members.some(({ takes }) => takes) ? 'warning' : 'error';
    for (const { member, health } of members.filter(isDown)) {
      const { name, address, port } = member;
      const at = `${name === undefined ? '' : `${name}, `}${formatAt(address, port)}`;
      const balancer = topology.get('load-balancer', pool.loadBalancer)?.name ?? pool.loadBalancer;
      if (found.length >= MEMBERS_TOLD_MAX) more += 1;
      else
        found.push(
          finding(severity, 'pool-members', {
            what: `a member of pool ${pool.name} is down: ${at}`,
            evidence: health?.reason || 'its checks fail',
            remedy: `mn load-balancer status ${balancer}`,
          }),
        );
    }
  }
  if (more === 0) return found;
  const words = { what: `${more} members more are down`, evidence: 'their checks fail' };
  const remedy = 'mn member-health list --where status=down';
  return [...found, finding('warning', 'pool-members', { ...words, remedy })];
}
const formatAt = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

function zoneless(topology: Topology, ports: readonly PortRow[]): Finding[] {
  const used = [...new Set(ports.flatMap(({ host }) => host ?? []))] as HostId[];
  if (used.length < 2) return [];
  const members = new Set(
    [...topology.list('tunnel-zone')].flatMap((zone) =>
      (zone as ObjectOf<'tunnel-zone'>).members.map(({ host }) => host as string),
    ),
  );
  return used
    .filter((host) => !members.has(host))
    .map((host) => {
      const name = topology.get('host', host)?.name ?? host;
      return finding('error', 'no-tunnel-address', {
        host: name,
        what: `${name} has no tunnel address: its ports are reached from itself only`,
        evidence: 'no tunnel zone has it as a member',
        remedy: `mn tunnel-zone update ZONE --add-members host=${name},address=ADDRESS`,
      });
    });
}

function sharedAddresses(topology: Topology): Finding[] {
  const hostsOf = new Map<string, Set<string>>();
  for (const zone of topology.list('tunnel-zone'))
    for (const { host, address } of (zone as ObjectOf<'tunnel-zone'>).members)
      hostsOf.getOrInsertComputed(address, () => new Set()).add(host);
  return [...hostsOf]
    .filter(([, hosts]) => hosts.size > 1)
    .map(([address, hosts]) =>
      finding('error', 'shared-address', {
        what: `several hosts have the tunnel address ${address}`,
        evidence: some([...hosts].map((id) => topology.get('host', id)?.name ?? id)),
        remedy: 'mn tunnel-zone update ZONE --add-members host=HOST,address=ADDRESS',
      }),
    );
}

/** What a host's agent is to look at. */
function askOf(topology: Topology, own: ProbedHost, hosts: readonly ProbedHost[]): AskOf<'doctor'> {
  const members = [...topology.list('tunnel-zone')].flatMap(
    (zone) => (zone as ObjectOf<'tunnel-zone'>).members,
  );
  const toOwn = members.filter(({ host }) => host === own.id).map(({ address }) => address);
  const others = hosts.flatMap(({ id }) =>
    id === own.id ? [] : (topology.tunnelAddress(own.id, id) ?? []),
  );
  const ports = [...topology.list('port')] as PortRow[];
  const interfaces = ports.flatMap((port) =>
    port.host === own.id && port.interface !== undefined ? [port.interface] : [],
  );
  const addresses = [...new Set(toOwn)].slice(0, 64);
  const peers = [...new Set(others.map(formatIp))].slice(0, 512);
  return { kind: 'doctor', addresses, peers, interfaces: [...new Set(interfaces)] };
}

/** What agents find on their hosts, and by probes. */
async function fromAgents(node: Node, status: Status, signal: AbortSignal): Promise<Finding[]> {
  const { topology } = node.replica;
  const hosts = status.hosts
    .filter(({ state }) => state === 'alive')
    .map(({ host, name }): ProbedHost => ({ id: host as HostId, name }));
  const options = { signal, caller: undefined, timeoutMs: AGENT_MS };
  const looked = await Promise.all(
    hosts.map(async (host) => {
      const ask = askOf(topology, host, hosts);
      const [answer] = await node.asks.all<AskOf<'doctor'>>([host.id], ask, options);
      return { host, answer };
    }),
  );
  const { ways, unasked } = await probe(node.asks, topology, hosts, signal);
  const mute = new Map(unasked);
  const found: Finding[] = [];
  for (const { host, answer } of looked) {
    if (answer === undefined) continue;
    if (answer.failed !== undefined) mute.set(host.name, answer.failed.message);
    else for (const part of answer.parts) found.push({ ...part, host: host.name });
  }
  for (const [host, why] of mute)
    found.push(
      finding('warning', 'not-asked', {
        host,
        what: `the agent of ${host} could not be asked about its host`,
        evidence: why,
        remedy: `upgrade it, or restart it; its words: mn logs ${host}`,
      }),
    );
  return [...found, ...judge(ways)];
}

/** Nodes that look: one at a time on each, because everybody sends probes by every tunnel. */
const looking = new WeakSet<Node>();

/** Everything that is found, worst first. Throws a Refusal (503) while another one looks. */
export async function examineAll(
  node: Node,
  status: Status,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  if (looking.has(node)) throw new Refusal(503, { detail: 'somebody else is looking already' });
  looking.add(node);
  try {
    const { topology } = node.replica;
    const found = [
      ...nearFull(status.node?.limits ?? []),
      ...status.hosts.flatMap((host) => ofHost(host, status)),
      ...downPorts(topology, status),
      ...unplaced(topology, status),
      ...downMembers(topology),
      ...(await fromAgents(node, status, signal)),
    ];
    const order = { error: 0, warning: 1, info: 2 } as const;
    return found.toSorted((a, b) => order[a.severity] - order[b.severity]);
  } finally {
    looking.delete(node);
  }
}
