/**
 * A recipe as objects of the API: what an operator would type, as transactions. Workloads become
 * ports of the same name, bound to the workload's interface on its host; or the port of a router
 * that names the workload is bound there.
 */
import type { Client, Operation } from '#client/types.ts';
import { machineOf } from './names.ts';
import type { Recipe, Router, RouterPort, Workload } from './recipe.ts';

/** Well below the store's limit of operations in one transaction. */
const OPERATIONS_PER_TRANSACTION = 50;

type Body = Readonly<Record<string, unknown>>;
type Kind = Extract<Operation, { op: 'create' }>['kind'];
const create = (kind: Kind, body: Body): Operation => ({ op: 'create', kind, body });

/** Hosts and the zone over which they reach each other. Answers the hosts' ids by name. */
export async function createHosts(client: Client, recipe: Recipe): Promise<Map<string, string>> {
  const hosts = recipe.hosts.map((name) => create('host', { name }));
  const { objects } = await client.transact(hosts);
  const ids = new Map(recipe.hosts.map((name, i) => [name, objects[i]?.id ?? '']));
  const members = recipe.hosts.map((host) => ({
    host: ids.get(host),
    address: machineOf(recipe, host).tunnelAddress,
  }));
  await client.create('tunnel-zone', { name: 'underlay', members });
  return ids;
}

/** Devices, then their ports, then the links of these, then the routes by them. */
export async function createNetworks(client: Client, recipe: Recipe): Promise<void> {
  const routers = Object.entries(recipe.routers);
  const bridges = Object.entries(recipe.bridges);
  const workloads = Object.entries(recipe.workloads);
  await inParts(client, [
    ...bridges.map(([name, { tenant }]) => create('bridge', { name, tenant })),
    ...routers.map(([name, { tenant }]) => create('router', { name, tenant })),
  ]);
  await inParts(client, [
    ...workloads.flatMap(([name, workload]) => bridgePort(recipe, name, workload)),
    ...routers.flatMap(([name, router]) => routerPorts(recipe, name, router)),
  ]);
  await inParts(
    client,
    routers.flatMap(([, router]) => links(router)),
  );
  await inParts(
    client,
    routers.flatMap(([router, { routes }]) =>
      routes.map((route) => create('route', { ...route, router })),
    ),
  );
}

async function inParts(client: Client, operations: readonly Operation[]): Promise<void> {
  for (let i = 0; i < operations.length; i += OPERATIONS_PER_TRANSACTION)
    await client.transact(operations.slice(i, i + OPERATIONS_PER_TRANSACTION));
}

function bridgePort(recipe: Recipe, name: string, workload: Workload): Operation[] {
  const { bridge, host } = workload;
  if (bridge === undefined) return [];
  const body = { name, bridge, host, interface: name };
  if (recipe.bridges[bridge]?.seeded !== true) return [create('port', body)];
  const addresses = workload.addresses.map((text) => ({
    mac: workload.mac,
    ip: text.split('/')[0],
  }));
  return [create('port', { ...body, addresses })];
}

/** The bridge's end of a link to a router. */
const endIn = (bridge: string, port: string): string => `${bridge}-${port}`;

function routerPorts({ workloads }: Recipe, router: string, { ports }: Router): Operation[] {
  return Object.entries(ports).flatMap(([name, port]) => {
    const { bridge, workload, networks, mac, mtu } = port;
    const host = workload === undefined ? undefined : workloads[workload]?.host;
    const binding = host === undefined ? {} : { host, interface: workload };
    const given = { ...(mac === undefined ? {} : { mac }), ...(mtu === undefined ? {} : { mtu }) };
    const own = create('port', { name, router, networks, ...given, ...binding });
    if (bridge === undefined) return [own];
    return [own, create('port', { name: endIn(bridge, name), bridge })];
  });
}

const otherEnd = (name: string, { bridge, peer }: RouterPort): string | undefined =>
  bridge === undefined ? peer?.split(':')[1] : endIn(bridge, name);

const links = ({ ports }: Router): Operation[] =>
  Object.entries(ports).flatMap(([id, port]) => {
    const peer = otherEnd(id, port);
    return peer === undefined ? [] : [{ op: 'update', kind: 'port', id, body: { peer } }];
  });
