/**
 * Act: a tenant's router gives what leaves one public address, and a workload a floating one; the
 * far side sees nothing else, errors come back right, and agents that are killed forget nothing.
 */
import { killAgent, startAgent } from '../lab.ts';
import { ping } from '../ping.ts';
import { until } from '../processes.ts';
import { tracerouteFrom } from '../scenario-tools.ts';
import { type Act, hostOf } from './act.ts';

const ENFORCE_MS = 10_000;
const PINGS = 20;
/** Of the router between the tenant's first network and the second: the address it leaves by. */
const SHARED = '10.1.0.1';
const FLOATING = '203.0.113.11';
const CHAINS = { in: 'demo-nat-in', out: 'demo-nat-out' } as const;

export async function translation(act: Act, from: string, to: string): Promise<void> {
  const { lab, cast, report } = act;
  const { client } = lab;
  const [near, far] = [from, to].map((name) => cast.station(cast.numberOf(name)).ip4);
  if (near === undefined || far === undefined) throw new Error('the demo needs both workloads');
  const reaches = async (who: string, whom: string): Promise<number> =>
    (await ping(lab, who, whom, { count: PINGS })).received;
  await share(act);
  report.equal(await reaches(from, far), PINGS, `${from} reaches ${to}, and is answered`);
  const { items } = await client.connections({ port: from });
  const echo = items.find(({ as }) => as !== undefined);
  report.note('$ mn connections');
  if (echo !== undefined)
    report.note(`  ${echo.protocol} ${echo.from} > ${echo.to}, as ${echo.as}`);
  report.check(echo?.as?.startsWith(`${SHARED}:`) === true, `${to} sees ${SHARED}, not ${near}`, {
    expected: `${SHARED} in place of ${near}`,
    actual: echo?.as ?? 'nothing translated',
  });
  await float(act, near);
  report.equal(await reaches(to, FLOATING), PINGS, `${to} reaches ${from} by ${FLOATING}`);
  const asker = { lab: lab.name, name: to, addresses: lab.recipe.workloads[to]?.addresses ?? [] };
  const expected = ['10.1.2.1', SHARED, FLOATING];
  const shown = await tracerouteFrom(asker, FLOATING, expected);
  report.equal(shown.join(', '), expected.join(', '), `traceroute: ${expected.join(', ')}`);
  for (const host of [hostOf(lab, from), hostOf(lab, to)]) {
    await killAgent(lab, host);
    startAgent(lab, host);
  }
  await until('the new agents decide', ENFORCE_MS, async () => (await reaches(from, far)) > 0);
  report.equal(await reaches(from, far), PINGS, 'both agents are killed and replaced: the same');
  report.equal(await reaches(to, FLOATING), PINGS, `and ${to} still reaches ${FLOATING}`);
  const { rows } = await client.publicPorts();
  report.note('$ mn connections --ports');
  for (const { address, hostName = '', owned, used } of rows)
    report.note(`  ${address}: ${hostName} owns ${owned} ports, ${used} connections have one`);
  await takeAway(act);
}

const rule = async (
  { lab: { client } }: Act,
  chain: string,
  body: Readonly<Record<string, unknown>>,
): Promise<unknown> => client.create('rule', { chain, after: 'return', ...body });

/** What `mn router gateway --snat` writes, as far as this network needs it. */
async function share(act: Act): Promise<void> {
  const { lab, report } = act;
  const { client } = lab;
  for (const name of Object.values(CHAINS)) await client.create('chain', { name, tenant: 'green' });
  const back = { action: 'reverse-snat', destination: `${SHARED}/32` };
  await rule(act, CHAINS.in, { ...back, position: 500 });
  const snat = { action: 'snat', outPorts: ['r1-r2'], source: '0.0.0.0/0', targets: [SHARED] };
  await rule(act, CHAINS.out, { ...snat, position: 500 });
  const filters = { inboundFilter: CHAINS.in, outboundFilter: CHAINS.out };
  const { revision } = await client.update('router', 'green-r1', filters);
  await client.wait(revision, ENFORCE_MS);
  report.note('$ mn router gateway green-r1 r1-r2 --snat');
}

/** What `mn floating-ip add` writes, and the way to it. */
async function float(act: Act, to: string): Promise<void> {
  const { lab, report } = act;
  const { client } = lab;
  const one = { static: true };
  const inwards = { action: 'dnat', destination: `${FLOATING}/32`, targets: [to] };
  await rule(act, CHAINS.in, { ...one, ...inwards, position: 100 });
  const outwards = { action: 'snat', source: `${to}/32`, targets: [FLOATING] };
  await rule(act, CHAINS.out, { ...one, ...outwards, position: 100 });
  const way = { destination: `${FLOATING}/32`, port: 'r2-r1', gateway: SHARED };
  const { revision } = await client.create('route', {
    router: 'green-r2',
    ...way,
    name: 'floating',
  });
  await client.wait(revision, ENFORCE_MS);
  report.note(`$ mn floating-ip add ${FLOATING} --to ${to} --router green-r1`);
}

async function takeAway({ lab: { client }, report }: Act): Promise<void> {
  await client.update('router', 'green-r1', { inboundFilter: null, outboundFilter: null });
  await client.remove('route', 'floating');
  let revision = 0;
  for (const chain of Object.values(CHAINS)) ({ revision } = await client.remove('chain', chain));
  await client.wait(revision, ENFORCE_MS);
  report.note('$ mn router gateway green-r1 --off');
}
