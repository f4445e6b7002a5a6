/**
 * What the agent of a host may see: enough to walk every frame that can enter or leave there, no
 * more. The API filters a host's stream by it.
 */
import type { BridgeId, ChainId, DeviceId, HostId, RouterId } from './ids.ts';
import type { KindName, StoredObject } from './kind.ts';
import { deviceOf } from './port/view.ts';
import { referencesFrom, targetsOf } from './references.ts';
import type { Topology } from './topology.ts';

/** Names one object among all kinds. */
export const objectKey = (kind: KindName, id: string): string => `${kind}/${id}`;

/**
 * Keys (`objectKey`) of: every host and tunnel zone; every device with a port bound to the host,
 * and all that links join with them: their ports, routes, and where the ports are up; the chains
 * that filter there, those that their rules jump to, all their rules, and the groups that these
 * name; the load balancers of routers with all that is theirs. Nothing for a host that does not
 * exist.
 */
export function entitled(topology: Topology, host: HostId): Set<string> {
  const keys = new Set<string>();
  if (topology.get('host', host) === undefined) return keys;
  for (const kind of ['host', 'tunnel-zone'] as const)
    for (const { id } of topology.list(kind)) keys.add(objectKey(kind, id));
  for (const bound of topology.portsOnHost(host)) {
    const port = topology.port(bound);
    if (port === undefined) continue;
    const first = deviceOf(port);
    if (keys.has(objectKey(port.type, first))) continue;
    for (const device of topology.domain(first).devices) addDevice(topology, device, keys);
  }
  return keys;
}

/** A device that is there, and all that belongs to it. */
function addDevice(topology: Topology, id: DeviceId, keys: Set<string>): void {
  const bridge = topology.bridge(id as BridgeId);
  const router = topology.router(id as RouterId);
  const device = bridge ?? router;
  if (device === undefined) return;
  const kind = bridge === undefined ? 'router' : 'bridge';
  keys.add(objectKey(kind, id));
  addFilters(topology, kind, id, keys);
  for (const port of device.ports) {
    addFilters(topology, 'port', port, keys);
    keys.add(objectKey('port', port));
    for (const group of topology.referrers('port-group', 'ports', port))
      if ((topology.get('port-group', group) as { stateful?: boolean } | undefined)?.stateful)
        keys.add(objectKey('port-group', group));
    if (topology.get('location', port) !== undefined) keys.add(objectKey('location', port));
  }
  for (const route of topology.referrers('route', 'router', id))
    keys.add(objectKey('route', route));
  for (const block of topology.referrers('nat-block', 'router', id))
    keys.add(objectKey('nat-block', block));
  for (const balancer of topology.referrers('load-balancer', 'router', id))
    addBalancer(topology, balancer, keys);
}

/** A load balancer, and all by which it chooses. */
function addBalancer(topology: Topology, id: string, keys: Set<string>): void {
  keys.add(objectKey('load-balancer', id));
  for (const vip of topology.referrers('vip', 'loadBalancer', id)) keys.add(objectKey('vip', vip));
  for (const pool of topology.referrers('pool', 'loadBalancer', id)) {
    keys.add(objectKey('pool', pool));
    const { healthMonitor } = (topology.get('pool', pool) ?? {}) as { healthMonitor?: string };
    if (healthMonitor !== undefined && topology.get('health-monitor', healthMonitor) !== undefined)
      keys.add(objectKey('health-monitor', healthMonitor));
    for (const member of topology.referrers('pool-member', 'pool', pool)) {
      keys.add(objectKey('pool-member', member));
      if (topology.get('member-health', member) !== undefined)
        keys.add(objectKey('member-health', member));
    }
  }
}

/** The chains that an object names. */
export const chainsOf = (kind: KindName, object: StoredObject): readonly ChainId[] =>
  referencesFrom(kind)
    .filter(({ reference }) => reference.kind === 'chain')
    .flatMap((path) => targetsOf(object, path) as ChainId[]);

/** The chains that filter at a port or device, and whatever decides in them. */
function addFilters(topology: Topology, kind: KindName, id: string, keys: Set<string>): void {
  const object = topology.get(kind, id);
  if (object === undefined) return;
  for (const chain of chainsOf(kind, object)) addChain(topology, chain, keys);
}
function addChain(topology: Topology, first: ChainId, keys: Set<string>): void {
  const chains = new Set([first]);
  // A set is walked in order of insertion, and what is added meanwhile is walked too.
  for (const id of chains) {
    const chain = topology.chain(id);
    if (chain === undefined || keys.has(objectKey('chain', id))) continue;
    keys.add(objectKey('chain', id));
    for (const { id: rule, jump, condition } of chain.rules) {
      keys.add(objectKey('rule', rule));
      if (jump !== undefined) chains.add(jump);
      const { inPortGroup, outPortGroup, portGroup, sourceGroup, destinationGroup } = condition;
      for (const group of [inPortGroup, outPortGroup, portGroup])
        if (group !== undefined && topology.get('port-group', group) !== undefined)
          keys.add(objectKey('port-group', group));
      for (const group of [sourceGroup, destinationGroup])
        if (group !== undefined && topology.get('address-group', group) !== undefined)
          keys.add(objectKey('address-group', group));
    }
  }
}
