/**
 * What a lab consists of, as a small YAML file. Everything a lab makes is derived from the recipe
 * and the lab's name, so that whoever has these two can also take it down.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { isIp6, parseIp } from '#net/ip.ts';
import { isGroup, parseMac } from '#net/mac.ts';

export const HOSTS_MAX = 32;
export const OUTSIDERS_MAX = 8;
export const WORKLOADS_MAX = 128;

/** Names of namespaces and interfaces of every lab, which no part of a recipe may take. */
const RESERVED = new Set(['net', 'api', 'lo', 'all', 'default', 'ul0']);

const partName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,10}$/, 'must be 1 to 11 lower-case letters, digits or -')
  .refine(
    (text) => !RESERVED.has(text) && !text.startsWith('mn'),
    'is a name the lab itself needs',
  );

const mac = z.string().refine((text) => {
  const parsed = parseMac(text);
  return parsed !== undefined && parsed !== 0 && !isGroup(parsed);
}, 'must be a unicast MAC address such as 02:00:00:00:00:01');

/** An address with the length of its network, as `ip address add` takes it. */
const interfaceAddress = z.string().refine((text) => {
  const [address = '', length = '', ...rest] = text.split('/');
  const ip = parseIp(address);
  if (ip === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length)) return false;
  return Number(length) <= (isIp6(ip) ? 128 : 32);
}, 'must be an address with a length such as 10.0.0.1/24');

/** What IPv6 needs (RFC 8200 §5), and what the kernel lets a cable have. */
const mtu = z.int().min(1280).max(65_535);

const gateway = z
  .string()
  .refine((text) => parseIp(text) !== undefined, 'must be an address such as 10.0.0.1');

const Workload = z.strictObject({
  /** A machine on a tap, under emulation; else a namespace on a cable, as a container is. */
  kind: z.enum(['namespace', 'vm']).optional(),
  host: partName,
  /** Not given: a port of a router names the workload. */
  bridge: partName.optional(),
  mac,
  addresses: z.array(interfaceAddress).min(1).max(16),
  /** Of its interface, in bytes. */
  mtu: mtu.optional(),
  /** Its default routers, one of each family. */
  via: z.array(gateway).max(2).default([]),
});

const Bridge = z.strictObject({
  tenant: partName,
  /** Whether its ports are told the addresses behind them; otherwise the bridge learns. */
  seeded: z.boolean().default(false),
});

/** A name in the API; ports of recipes have unique ones, for routes and links to name them. */
const objectName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,30}$/, 'must be 1 to 31 lower-case letters, digits or -');

/** Plugged into exactly one of: a bridge, a port of another router, a workload's interface. */
const RouterPort = z.strictObject({
  bridge: partName.optional(),
  /** ROUTER:PORT. Said at one end of a link, it holds for both. */
  peer: z.string().optional(),
  workload: partName.optional(),
  networks: z.array(interfaceAddress).min(1),
  mac: mac.optional(),
  mtu: z.int().optional(),
});

/** The API checks the rest of it: there is one place that knows what a route may be. */
const Route = z.strictObject({
  destination: z.string(),
  source: z.string().optional(),
  type: z.enum(['port', 'blackhole', 'reject', 'local']).optional(),
  port: objectName.optional(),
  gateway: gateway.optional(),
  weight: z.int().optional(),
});

const Router = z.strictObject({
  tenant: partName,
  ports: z.record(objectName, RouterPort),
  routes: z.array(Route).default([]),
});

const Recipe = z
  .strictObject({
    about: z.string().min(1),
    hosts: z.array(partName).min(1).max(HOSTS_MAX),
    /** By which family tunnels run; the API is at an IPv4 address all the same. */
    underlay: z.enum(['ipv4', 'ipv6']).default('ipv4'),
    /** Room for packets of 1500 bytes in the tunnel, unless told. */
    underlayMtu: mtu.optional(),
    /** Machines on the underlay that run no agent. */
    outsiders: z.array(partName).max(OUTSIDERS_MAX).default([]),
    bridges: z.record(partName, Bridge),
    routers: z.record(partName, Router).default({}),
    workloads: z
      .record(partName, Workload)
      .refine((all) => Object.keys(all).length <= WORKLOADS_MAX, `at most ${WORKLOADS_MAX}`),
  })
  .superRefine((recipe, context) => {
    for (const { path, message } of [...partFaults(recipe), ...routerFaults(recipe)])
      context.addIssue({ code: 'custom', path: [...path], message });
  });
export type Recipe = z.output<typeof Recipe>;
type Parsed = Pick<Recipe, 'hosts' | 'outsiders' | 'bridges' | 'workloads' | 'routers'>;
export type RouterPort = z.output<typeof RouterPort>;
export type Router = z.output<typeof Router>;
export type Workload = z.output<typeof Workload>;

interface Fault {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

function partFaults(recipe: Parsed): Fault[] {
  const parts = [...recipe.hosts, ...recipe.outsiders, ...Object.keys(recipe.workloads)];
  const faults: Fault[] = parts
    .filter((part, i) => parts.indexOf(part) !== i)
    .map((part) => ({ path: [], message: `the name ${part} is used twice` }));
  const ports = Object.values(recipe.routers).flatMap((router) => Object.values(router.ports));
  for (const [name, { host, bridge }] of Object.entries(recipe.workloads)) {
    const path = ['workloads', name];
    if (!recipe.hosts.includes(host))
      faults.push({ path: [...path, 'host'], message: 'is no host here' });
    const plugs = ports.filter((port) => port.workload === name).length;
    if (bridge !== undefined && recipe.bridges[bridge] === undefined)
      faults.push({ path: [...path, 'bridge'], message: 'is no bridge here' });
    if (plugs + Number(bridge !== undefined) !== 1)
      faults.push({ path, message: 'must have a bridge, or be named by one port of a router' });
  }
  return faults;
}

/** The router and the port that `peer` names; undefined when there is no such port. */
export function peerOf(recipe: Pick<Recipe, 'routers'>, peer: string) {
  const [router = '', name = ''] = peer.split(':');
  const port = recipe.routers[router]?.ports[name];
  return port === undefined ? undefined : { router, name, port };
}

function routerFaults(recipe: Parsed): Fault[] {
  const faults: Fault[] = [];
  const seen = new Set(Object.keys(recipe.workloads));
  for (const [router, { ports, routes }] of Object.entries(recipe.routers)) {
    for (const [name, port] of Object.entries(ports)) {
      const path = ['routers', router, 'ports', name];
      const { bridge, peer, workload } = port;
      if (seen.has(name)) faults.push({ path, message: 'the name is used twice' });
      seen.add(name);
      const toPeer = Object.values(recipe.routers)
        .flatMap((other) => Object.values(other.ports))
        .filter((other) => other.peer === `${router}:${name}`).length;
      const plugs = [bridge, peer, workload].filter((plug) => plug !== undefined).length;
      if (plugs + toPeer !== 1)
        faults.push({ path, message: 'must have one of bridge, peer and workload' });
      if (bridge !== undefined && recipe.bridges[bridge] === undefined)
        faults.push({ path: [...path, 'bridge'], message: 'is no bridge here' });
      if (workload !== undefined && recipe.workloads[workload] === undefined)
        faults.push({ path: [...path, 'workload'], message: 'is no workload here' });
      if (peer !== undefined && peerOf(recipe, peer) === undefined)
        faults.push({ path: [...path, 'peer'], message: 'must be ROUTER:PORT of a router here' });
    }
    for (const [i, { port }] of routes.entries())
      if (port !== undefined && ports[port] === undefined)
        faults.push({
          path: ['routers', router, 'routes', i, 'port'],
          message: 'is no port of it',
        });
  }
  return faults;
}

/** One line a fault; for a key that is not allowed, what is wrong with it. */
function faultLines(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.join('.');
  if (issue.code !== 'invalid_key') return [`  ${path}: ${issue.message}`];
  return issue.issues.map(({ message }) => `  ${path}: ${message}`);
}

/** Answers the recipe, or throws an error that names every field at fault. */
export function parseRecipe(text: string): Recipe {
  const result = Recipe.safeParse(parse(text));
  if (result.success) return result.data;
  throw new Error(
    `the recipe is not valid:\n${result.error.issues.flatMap(faultLines).join('\n')}`,
  );
}

const builtIn = new URL('recipes/', import.meta.url);

export const recipeNames = (): string[] =>
  readdirSync(builtIn)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length));

/** `which`: the name of a recipe that comes with the lab, or the path of a file. */
export function readRecipe(which: string): Recipe {
  if (recipeNames().includes(which)) {
    return parseRecipe(readFileSync(new URL(`${which}.yaml`, builtIn), 'utf8'));
  }
  if (existsSync(which)) return parseRecipe(readFileSync(which, 'utf8'));
  throw new Error(
    `there is no recipe ${which}; known: ${recipeNames().join(', ')}, or name a file`,
  );
}

/** The workload's first address of a family, without its length. */
export function addressOf(workload: Workload, family: 4 | 6): string | undefined {
  const of = (text: string): string => text.split('/')[0] ?? '';
  return workload.addresses.map(of).find((text) => {
    const ip = parseIp(text);
    return ip !== undefined && isIp6(ip) === (family === 6);
  });
}

/** The workloads of one kind, by name. */
export const workloadsOf = ({ workloads }: Pick<Recipe, 'workloads'>, kind: 'namespace' | 'vm') =>
  Object.entries(workloads).filter(([, workload]) => (workload.kind ?? 'namespace') === kind);

/** The tenant whose network a workload is in. */
export function tenantOf({ workloads, bridges, routers }: Recipe, name: string): string {
  const { bridge } = workloads[name] ?? {};
  if (bridge !== undefined) return bridges[bridge]?.tenant ?? '';
  for (const { tenant, ports } of Object.values(routers))
    if (Object.values(ports).some(({ workload }) => workload === name)) return tenant;
  return '';
}
