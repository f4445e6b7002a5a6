/**
 * What the agent of a host may see: enough to walk every frame that can enter or leave there, no
 * more. The API filters a host's stream by it.
 */
import type { BridgeId, DeviceId, HostId, RouterId } from './ids.ts';
import type { KindName } from './kind.ts';
import { deviceOf } from './port/view.ts';
import type { Topology } from './topology.ts';

/** Names one object among all kinds. */
export const objectKey = (kind: KindName, id: string): string => `${kind}/${id}`;

/**
 * Keys (`objectKey`) of: every host and tunnel zone; every device with a port bound to the host,
 * and all that links join with them: their ports, routes, and where the ports are up. Nothing for a
 * host that does not exist.
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
  keys.add(objectKey(bridge === undefined ? 'router' : 'bridge', id));
  for (const port of device.ports) {
    keys.add(objectKey('port', port));
    if (topology.get('location', port) !== undefined) keys.add(objectKey('location', port));
  }
  for (const route of topology.referrers('route', 'router', id))
    keys.add(objectKey('route', route));
}
