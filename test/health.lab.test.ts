/**
 * Health checks with real packets: members are checked from namespaces behind their router, whose
 * server is killed gets no new connection, another host goes on where one dies, and nothing is
 * left.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanLab } from '#lab/clean.ts';
import { announce, killAgent, makeLab, type Lab } from '#lab/lab.ts';
import { end, inside, start, until, type Process } from '#lab/processes.ts';
import { readRecipe } from '#lab/recipe.ts';
import { run } from '#os/run.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const DEADLINE_MS = 60_000;
const VIP = '10.1.100.80';
const MEMBERS = { red1: '10.1.1.11', red2: '10.1.1.12' } as const;
type Member = keyof typeof MEMBERS;

/** Answers its name, to everybody. */
const server = (name: string): string =>
  `require('http').createServer((q, a) => a.end('${name}')).listen(8080, '::')`;
const serve = (lab: Lab, name: Member): Process =>
  start({
    ...{ lab: lab.name, part: name, name: `server-${name}` },
    command: [process.execPath, '-e', server(name)],
  });

async function ask(lab: Lab): Promise<string> {
  const curl = ['curl', '-s', '-m', '3', '--no-keepalive', `http://${VIP}/`];
  const [command = '', ...args] = inside(lab.name, 'outside', curl);
  // Who is refused, or waits in vain, got nothing.
  return await run(command, args).then(
    ({ stdout }) => stdout,
    () => '',
  );
}
async function askMany(lab: Lab, times: number): Promise<string[]> {
  const answers: string[] = [];
  for (let n = 0; n < times; n++) answers.push(await ask(lab));
  return answers;
}
const health = async ({ client }: Lab): Promise<Map<string, ObjectOf<'member-health'>>> => {
  const rows = (await client.listAll('member-health')) as unknown as ObjectOf<'member-health'>[];
  const members = await client.listAll('pool-member');
  return new Map(rows.map((row) => [members.find(({ id }) => id === row.id)?.name ?? '', row]));
};
const statusOf = async (lab: Lab, member: Member): Promise<string> => {
  const row = (await health(lab)).get(member);
  return `${row?.status}: ${row?.reason}`;
};

async function balance({ client }: Lab): Promise<void> {
  await client.create('load-balancer', { name: 'lb', router: 'red' });
  await client.create('health-monitor', {
    ...{ name: 'alive', type: 'http', path: '/health', codes: '200-204' },
    ...{ interval: 1, timeout: 1, rise: 2, fall: 2, tenant: 'red' },
  });
  await client.create('pool', { name: 'web', loadBalancer: 'lb', healthMonitor: 'alive' });
  for (const [name, address] of Object.entries(MEMBERS))
    await client.create('pool-member', { name, pool: 'web', address, port: 8080 });
  const to = { address: VIP, port: 80 };
  await client.create('vip', { name: 'www', loadBalancer: 'lb', pool: 'web', ...to });
}

test('members are checked, lost, found again, and taken over', { skip }, async () => {
  await sweepLabs();
  const name = testLabName('health');
  const recipe = readRecipe('routed');
  try {
    const lab = await makeLab(announce(name, recipe), () => {});
    const servers = { red1: serve(lab, 'red1'), red2: serve(lab, 'red2') };
    await balance(lab);
    for (const member of Object.keys(MEMBERS) as Member[])
      await until(`${member} is up`, DEADLINE_MS, async () =>
        (await statusOf(lab, member)).startsWith('up: status 200'),
      );
    const hosts = new Map(
      (await lab.client.listAll('host')).map(({ id, name: called }) => [id, called]),
    );
    const holder = async (member: Member): Promise<string | undefined> =>
      hosts.get((await health(lab)).get(member)?.host ?? '');
    assert.equal(await holder('red1'), 'h1', 'where the member lives');
    await until('both serve', DEADLINE_MS, async () => new Set(await askMany(lab, 12)).size === 2);

    await end([servers.red1], false);
    await until('red1 is down', DEADLINE_MS, async () =>
      (await statusOf(lab, 'red1')).startsWith('down: connection refused'),
    );
    await until('hosts know it', DEADLINE_MS, async () =>
      (await askMany(lab, 5)).every((answer) => answer === 'red2'),
    );
    assert.deepEqual(new Set(await askMany(lab, 30)), new Set(['red2']), 'no request is lost');

    servers.red1 = serve(lab, 'red1');
    await until('red1 is up again', DEADLINE_MS, async () =>
      (await statusOf(lab, 'red1')).startsWith('up'),
    );
    await killAgent(lab, 'h1');
    await until(
      'another host checks red1',
      DEADLINE_MS,
      async () => (await holder('red1')) !== 'h1',
    );
    await end([servers.red1], false);
    await until('which finds it down', DEADLINE_MS, async () =>
      (await statusOf(lab, 'red1')).startsWith('down'),
    );
    assert.deepEqual(new Set(await askMany(lab, 20)), new Set(['red2']));

    await lab.client.update('pool', 'web', { healthMonitor: null });
    await until('nobody checks', DEADLINE_MS, async () => (await health(lab)).size === 0);
    await until('no port is left to check by', DEADLINE_MS, async () => {
      const ports = await lab.client.listAll('port');
      return !ports.some(
        (port) => (port as ObjectOf<'port'>).interface?.startsWith('mnhc') === true,
      );
    });
    await end([servers.red2], false);
  } finally {
    await cleanLab(name);
  }
});
