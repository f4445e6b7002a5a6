/**
 * The network of the experiment: clients and members of one tenant's router, over three hosts; one
 * VIP for HTTP, whose members are checked, and one for streams, whose clients keep their member.
 */
import type { Lab } from '../../lab.ts';
import { addressOf, parseRecipe, type Recipe } from '../../recipe.ts';

export const HOSTS = ['h1', 'h2', 'h3'] as const;
export const CLIENTS = ['client1', 'client2'] as const;
export type ClientName = (typeof CLIENTS)[number];
/** Serve HTTP from the start, two on each host. */
export const WEB = ['web1', 'web2', 'web3', 'web4', 'web5', 'web6'] as const;
/** Comes and goes. */
export const SPARE = 'web7';
/** Serve streams. */
export const STREAMS = ['stream1', 'stream2'] as const;
export const VIPS = {
  web: { address: '203.0.113.80', port: 80 },
  stream: { address: '203.0.113.81', port: 5201 },
} as const;
export const WEB_PORT = 8080;
/** How often members are checked, in seconds, and how many failures make one down. */
export const CHECK = { interval: 1, timeout: 1, fall: 2, rise: 1 } as const;

const hostOf = (n: number): string => HOSTS[n % HOSTS.length] ?? HOSTS[0];
const line = (name: string, host: string, network: number, last: number): string =>
  `  ${name}: { host: ${host}, bridge: ${network === 1 ? 'near' : 'far'}, ` +
  `mac: '02:00:00:00:0${network}:${last.toString(16).padStart(2, '0')}', ` +
  `addresses: [10.0.${network}.${last}/24, 'fd0${network}::${last}/64'], ` +
  `via: [10.0.${network}.1, 'fd0${network}::1'] }`;

export const balanceRecipe = (): Recipe =>
  parseRecipe(`
about: two clients, and members of two services, on three hosts.
hosts: [${HOSTS.join(', ')}]
bridges: { near: { tenant: alpha, seeded: true }, far: { tenant: alpha, seeded: true } }
routers:
  r:
    tenant: alpha
    ports:
      r-near: { bridge: near, networks: [10.0.1.1/24, 'fd01::1/64'] }
      r-far: { bridge: far, networks: [10.0.2.1/24, 'fd02::1/64'] }
workloads:
${[
  ...CLIENTS.map((name, n) => line(name, hostOf(n), 1, 11 + n)),
  ...[...WEB, SPARE, ...STREAMS].map((name, n) => line(name, hostOf(n), 2, 11 + n)),
].join('\n')}
`);

/** The member of a workload that serves HTTP. */
export const webMember = ({ recipe }: Lab, name: string): Record<string, unknown> => {
  const address = addressOf(recipe.workloads[name] ?? missing(name), 4);
  return { name, pool: 'web', address, port: WEB_PORT, tenant: 'alpha' };
};
const missing = (name: string): never => {
  throw new Error(`there is no workload ${name}`);
};

/** Makes both services; answers the revision of the last change. */
export async function offer(lab: Lab): Promise<number> {
  const { client } = lab;
  const tenant = 'alpha';
  const of = { loadBalancer: 'lb', tenant };
  await client.create('load-balancer', { name: 'lb', router: 'r', tenant });
  await client.create('health-monitor', { name: 'alive', type: 'http', ...CHECK, tenant });
  await client.create('pool', { name: 'web', healthMonitor: 'alive', ...of });
  await client.create('pool', { name: 'stream', ...of });
  for (const name of WEB) await client.create('pool-member', webMember(lab, name));
  for (const name of STREAMS)
    await client.create('pool-member', {
      ...webMember(lab, name),
      ...{ pool: 'stream', port: VIPS.stream.port },
    });
  await client.create('vip', { name: 'web', pool: 'web', ...VIPS.web, ...of });
  const keeps = { persistence: 'source-ip', persistenceTimeout: 86_400 };
  const last = { name: 'stream', pool: 'stream', ...VIPS.stream, ...keeps, ...of };
  return (await client.create('vip', last)).revision;
}
