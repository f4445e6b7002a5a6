/**
 * A recipe as objects of the API: what an operator would type, as transactions. Workloads become
 * ports of the same name, bound to the workload's interface on its host.
 */
import type { Client, Operation } from '#client/types.ts';
import { machineOf } from './names.ts';
import type { Recipe, Workload } from './recipe.ts';

/** Well below the store's limit of operations in one transaction. */
const OPERATIONS_PER_TRANSACTION = 50;

/** Hosts and the zone over which they reach each other. Answers the hosts' ids by name. */
export async function createHosts(client: Client, recipe: Recipe): Promise<Map<string, string>> {
  const hosts: Operation[] = recipe.hosts.map((name) => ({
    op: 'create',
    kind: 'host',
    body: { name },
  }));
  const { objects } = await client.transact(hosts);
  const ids = new Map(recipe.hosts.map((name, i) => [name, objects[i]?.id ?? '']));
  const members = recipe.hosts.map((host) => ({
    host: ids.get(host),
    address: machineOf(recipe, host).address,
  }));
  await client.create('tunnel-zone', { name: 'underlay', members });
  return ids;
}

/** Bridges, then ports. */
export async function createNetworks(client: Client, recipe: Recipe): Promise<void> {
  const bridges: Operation[] = Object.entries(recipe.bridges).map(([name, { tenant }]) => ({
    op: 'create',
    kind: 'bridge',
    body: { name, tenant },
  }));
  const ports: Operation[] = Object.entries(recipe.workloads).map(([name, workload]) => ({
    op: 'create',
    kind: 'port',
    body: portBody(recipe, name, workload),
  }));
  await client.transact(bridges);
  for (let i = 0; i < ports.length; i += OPERATIONS_PER_TRANSACTION) {
    await client.transact(ports.slice(i, i + OPERATIONS_PER_TRANSACTION));
  }
}

function portBody(recipe: Recipe, name: string, workload: Workload): Record<string, unknown> {
  const body = { name, bridge: workload.bridge, host: workload.host, interface: name };
  if (recipe.bridges[workload.bridge]?.seeded !== true) return body;
  const addresses = workload.addresses.map((text) => ({
    mac: workload.mac,
    ip: text.split('/')[0],
  }));
  return { ...body, addresses };
}
