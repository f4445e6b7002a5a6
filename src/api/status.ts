/**
 * `GET /v1/status`: how it all fares, as the caller may know it. Tenants see no hosts; a host sees
 * itself; operators see the node too.
 */
import { limitOf } from '#client/limits.ts';
import type { Limit, NodeStatus, Status, Token } from '#client/types.ts';
import { FLOOD_KEY_BIT } from '#virtual/bridge/bridge.ts';
import { WAITERS_MAX } from './hosts.ts';
import { FLOOD_COUNTER, tunnelCounter } from './keys.ts';
import type { Node } from './node.ts';
import { TOKENS_MAX } from './tokens.ts';
import { SUBSCRIBERS_MAX } from './watch.ts';
import { WRITES_WAITING_MAX } from './writes.ts';

export async function statusOf(node: Node, token: Token): Promise<Status> {
  const { version } = node;
  const { revision } = node.replica;
  if (token.role === 'tenant') return { version, revision, hosts: [] };
  const hosts = node.hosts.statuses();
  if (token.role === 'host')
    return { version, revision, hosts: hosts.filter(({ host }) => host === token.host) };
  return { version, revision, hosts, node: await nodeStatus(node) };
}

async function nodeStatus(node: Node): Promise<NodeStatus> {
  const { bytes, diskBytes, diskFreeBytes, compacted } = await node.store.stats();
  const { commitMs } = node.metrics;
  const enforcement = node.enforcement.latencies();
  const disk =
    diskBytes === undefined || diskFreeBytes === undefined
      ? []
      : [limitOf('store-disk', diskBytes - diskFreeBytes, diskBytes)];
  return {
    uptimeMs: node.uptimeMs(),
    timeMs: node.wall(),
    store: {
      historyFrom: compacted,
      ...(bytes !== undefined && { bytes }),
      ...(diskFreeBytes !== undefined && { diskFreeBytes }),
      ...(commitMs !== undefined && { commitMs }),
    },
    limits: [...limitsOf(node), ...disk],
    ...(enforcement !== undefined && { enforcement }),
  };
}

function limitsOf({ watch, hosts, writes, replica }: Node): Limit[] {
  const { counters, tokens, topology } = replica;
  // Keys are never given twice, so that no late frame can reach another port by one.
  let keys = 0;
  for (const { id } of topology.list('host'))
    keys = Math.max(keys, counters.get(tunnelCounter(id)) ?? 0);
  const networks = Math.max(0, (counters.get(FLOOD_COUNTER) ?? FLOOD_KEY_BIT) - FLOOD_KEY_BIT);
  return [
    limitOf('streams', watch.size, SUBSCRIBERS_MAX),
    limitOf('waits', hosts.waiting, WAITERS_MAX),
    limitOf('waiting-writes', writes.waiting, WRITES_WAITING_MAX),
    limitOf('tokens', tokens.size, TOKENS_MAX),
    limitOf('tunnel-keys', keys, FLOOD_KEY_BIT - 1),
    limitOf('network-keys', networks, FLOOD_KEY_BIT - 1),
  ];
}
