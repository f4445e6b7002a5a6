/**
 * Every kind of health check with real packets, of members of both families, here and across the
 * tunnel, by two tenants whose members have the same addresses.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanLab } from '#lab/clean.ts';
import { announce, makeLab, type Lab } from '#lab/lab.ts';
import { end, start, until, type Process } from '#lab/processes.ts';
import { parseRecipe } from '#lab/recipe.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { selfSigned } from './certificate.ts';
import { sweepLabs, testLabName, withEvidence } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const DEADLINE_MS = 60_000;
const TENANTS = ['alpha', 'beta'] as const;
type Tenant = (typeof TENANTS)[number];

/**
 * Both tenants use the same addresses. Where members of the second one live, no port says: they are
 * checked from either host, here or across the tunnel.
 */
const RECIPE = parseRecipe(`
about: two tenants with the same addresses, over two hosts.
hosts: [h1, h2]
bridges: { alpha-b: { tenant: alpha, seeded: true }, beta-b: { tenant: beta } }
routers:
${TENANTS.map(
  (tenant) => `  ${tenant}:
    tenant: ${tenant}
    ports: { ${tenant}-in: { bridge: ${tenant}-b, networks: [10.0.1.1/24, 'fd01::1/64'] } }`,
).join('\n')}
workloads:
${TENANTS.flatMap((tenant, t) =>
  [1, 2].map(
    (n) => `  ${tenant}${n}: { host: h${n}, bridge: ${tenant}-b, mac: '02:00:00:00:0${t}:0${n}',
    addresses: [10.0.1.1${n}/24, 'fd01::1${n}/64'], via: [10.0.1.1, 'fd01::1'] }`,
  ),
).join('\n')}
`);

/** Serves HTTP, HTTPS and UDP; `status` is what it answers to both. */
const server = (status: number): string => `
const { key, cert } = ${JSON.stringify(selfSigned('member.test'))};
const answer = (q, a) => { a.statusCode = ${status}; a.end('all is well'); };
require('http').createServer(answer).listen(8080, '::');
require('https').createServer({ key, cert }, answer).listen(8443, '::');
const echo = require('dgram').createSocket('udp6');
echo.on('message', (m, from) => echo.send(m, from.port, from.address)).bind(5353, '::');
`;
const serve = (lab: Lab, name: string, status = 200): Process =>
  start({
    ...{ lab: lab.name, part: name, name: `server-${name}` },
    command: [process.execPath, '-e', server(status)],
  });

const MONITORS = {
  tcp: { port: 8080, more: {} },
  http: { port: 8080, more: { path: '/health', codes: '200-204', body: 'is well' } },
  https: { port: 8443, more: { hostName: 'member.test' } },
  udp: { port: 5353, more: {} },
  ping: { port: 1, more: {} },
} as const;
type MonitorType = keyof typeof MONITORS;
const TYPES = Object.keys(MONITORS) as MonitorType[];

const ENDS = [
  { n: 1, member: '10.0.1.11', vip: '10.0.9.9' },
  { n: 2, member: 'fd01::12', vip: 'fd09::9' },
] as const;
/** A pool of one member for each kind of check, of each family. */
async function balance({ client }: Lab, tenant: Tenant): Promise<void> {
  const loadBalancer = `${tenant}-lb`;
  await client.create('load-balancer', { name: loadBalancer, router: tenant });
  for (const type of TYPES) {
    const { port, more } = MONITORS[type];
    const healthMonitor = `${tenant}-${type}`;
    const often = { interval: 1, timeout: 1, rise: 1, fall: 1 };
    await client.create('health-monitor', { name: healthMonitor, type, ...often, ...more, tenant });
    for (const { n, member, vip } of ENDS) {
      const name = `${healthMonitor}-${n}`;
      await client.create('pool', { name, loadBalancer, healthMonitor });
      await client.create('pool-member', { name, pool: name, address: member, port });
      // Nobody looks at members that no client can get.
      const at = { address: vip, port: 1 + TYPES.indexOf(type) };
      await client.create('vip', { name, loadBalancer, pool: name, ...at });
    }
  }
}

/** Status and reason of each member of a tenant, by the name of the member. */
async function told({ client }: Lab, tenant: Tenant): Promise<Record<string, string>> {
  const rows = (await client.listAll('member-health')) as unknown as ObjectOf<'member-health'>[];
  const members = await client.listAll('pool-member');
  const all = rows.map(({ id, status, reason }) => {
    const name = members.find((each) => each.id === id)?.name ?? '';
    return [name, `${status}: ${reason}`] as const;
  });
  const own = all.filter(([name]) => name.startsWith(tenant));
  return Object.fromEntries(own.map(([name, text]) => [name.slice(tenant.length + 1), text]));
}
/** Waits until members say what they should; fails with what they say. */
async function expect(lab: Lab, tenant: Tenant, wanted: Record<string, string>): Promise<void> {
  let seen: Record<string, string> = {};
  const those = (): Record<string, string> =>
    Object.fromEntries(Object.keys(wanted).map((name) => [name, seen[name] ?? 'nothing']));
  await until(`members of ${tenant}`, DEADLINE_MS, async () => {
    seen = await told(lab, tenant);
    return JSON.stringify(those()) === JSON.stringify(wanted);
  }).catch(() => undefined);
  assert.deepEqual(those(), wanted);
}
const both = (text: Record<MonitorType, string>): Record<string, string> =>
  Object.fromEntries(TYPES.flatMap((type) => [1, 2].map((n) => [`${type}-${n}`, text[type]])));
const of = (n: number, text: Partial<Record<MonitorType, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(text).map(([type, each]) => [`${type}-${n}`, each]));

const WELL = {
  ...{ tcp: 'up: connection open', http: 'up: status 200', https: 'up: status 200' },
  ...{ udp: 'up: an answer', ping: 'up: an echo' },
};
const GONE = {
  ...{ tcp: 'down: connection refused', http: 'down: connection refused' },
  ...{ https: 'down: connection refused', udp: 'down: connection refused' },
};

async function kinds(lab: Lab): Promise<void> {
  serve(lab, 'alpha1');
  let second = serve(lab, 'alpha2');
  // At the same addresses as those of the other tenant, and ill.
  serve(lab, 'beta1', 503);
  for (const tenant of TENANTS) await balance(lab, tenant);
  await expect(lab, 'alpha', both(WELL));
  await expect(lab, 'beta', {
    ...of(1, { tcp: WELL.tcp, http: 'down: status 503, not 200-204' }),
    ...of(1, { https: 'down: status 503, not 200', udp: WELL.udp, ping: WELL.ping }),
    ...of(2, { ...GONE, ping: WELL.ping }),
  });
  const rows = (await lab.client.listAll(
    'member-health',
  )) as unknown as ObjectOf<'member-health'>[];
  assert.equal(new Set(rows.map(({ host }) => host)).size, 2, 'both hosts check');

  await end([second], false);
  await expect(lab, 'alpha', { ...of(1, WELL), ...of(2, { ...GONE, ping: WELL.ping }) });
  second = serve(lab, 'alpha2');
  await expect(lab, 'alpha', both(WELL));

  // Nobody looks while there is no monitor; who looks again sees how it is then.
  await lab.client.update('pool', 'alpha-tcp-2', { healthMonitor: null });
  await end([second], false);
  await expect(lab, 'alpha', { ...of(2, { http: GONE.http }), 'tcp-2': 'nothing' });
  await lab.client.update('pool', 'alpha-tcp-2', { healthMonitor: 'alpha-tcp' });
  await expect(lab, 'alpha', of(2, { tcp: GONE.tcp }));
  serve(lab, 'alpha2');
  await expect(lab, 'alpha', both(WELL));
}

test('every kind of check, of both families, and tenants that do not meet', { skip }, async () => {
  await sweepLabs();
  const name = testLabName('kinds');
  try {
    const lab = await makeLab(announce(name, RECIPE), () => {});
    await withEvidence(name, kinds(lab));
  } finally {
    await cleanLab(name);
  }
});
