/**
 * What the agent of a host may see: enough to walk every frame that can enter or leave there, no
 * more. The API filters a host's stream by it.
 */
import type { HostId } from './ids.ts';
import type { KindName } from './kind.ts';
import type { ObjectOf } from './kinds.ts';
import type { Topology } from './topology.ts';

/** Names one object among all kinds. */
export const objectKey = (kind: KindName, id: string): string => `${kind}/${id}`;

/**
 * Keys (`objectKey`) of: every host and tunnel zone; every bridge with a port bound to the host,
 * all ports of those bridges, and where those are up. Nothing for a host that does not exist.
 */
export function entitled(topology: Topology, host: HostId): Set<string> {
  const keys = new Set<string>();
  if (topology.get('host', host) === undefined) return keys;
  for (const kind of ['host', 'tunnel-zone'] as const)
    for (const { id } of topology.list(kind)) keys.add(objectKey(kind, id));
  for (const bound of topology.portsOnHost(host)) {
    const port = topology.get('port', bound) as ObjectOf<'port'> | undefined;
    const bridge = port === undefined ? undefined : topology.bridge(port.bridge);
    if (bridge === undefined || keys.has(objectKey('bridge', bridge.id))) continue;
    keys.add(objectKey('bridge', bridge.id));
    for (const id of bridge.ports) {
      keys.add(objectKey('port', id));
      if (topology.get('location', id) !== undefined) keys.add(objectKey('location', id));
    }
  }
  return keys;
}
