/**
 * A million short connections from three hosts through one public address: whether every answer is
 * for who asked, whether two hosts ever had one public port, what the ports come to; and what
 * becomes of it when there are only a few of them. Real agents, real TCP, in a lab.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cleanLab } from '#lab/clean.ts';
import { announce, countersOf, makeLab, namespaceOf, type Lab } from '#lab/lab.ts';
import { end, insideOf, start, until } from '#lab/processes.ts';
import { parseRecipe } from '#lab/recipe.ts';
import { runIn } from '../tools.ts';
import { print } from './inside.ts';

const SCRIPT = join(import.meta.dirname, '..', 'tools', 'tokens.script.ts');
const COUNT = { most: 10_000_000, least: 300, usual: 1_000_000 } as const;
const SERVER = { name: 's', ip: '10.2.0.10', first: 9_000, ports: 16 } as const;
const PUBLIC = '10.2.0.1';
/** Of which nobody owns anything yet. */
const SECOND = '10.2.0.2';
const VMS = ['v1', 'v2', 'v3'] as const;
const HOSTS = ['h1', 'h2', 'h3'] as const;
const FEW = '2048-2111';
const HELD = 200;
const ENFORCE_MS = 10_000;
/** What a connection may take, at most, on a busy machine. */
const EACH_MS = 20;

const RECIPE = parseRecipe(`
about: Three hosts with a workload each, and a server outside, on a fourth.
hosts: [h1, h2, h3, h4]
bridges: { inside: { tenant: bench, seeded: true }, outside: { tenant: bench, seeded: true } }
routers:
  r:
    tenant: bench
    ports:
      r-in: { bridge: inside, networks: [10.1.0.1/16], mac: '02:00:00:be:ff:01' }
      r-out: { bridge: outside, networks: [${PUBLIC}/16, ${SECOND}/32], mac: '02:00:00:be:ff:02' }
workloads:
${VMS.map(
  (name, i) =>
    `  ${name}: { host: ${HOSTS[i]}, bridge: inside, mac: '02:00:00:be:00:1${i}',` +
    ` addresses: [10.1.0.1${i}/16], via: [10.1.0.1] }`,
).join('\n')}
  s: { host: h4, bridge: outside, mac: '02:00:00:be:00:20', addresses: [${SERVER.ip}/16] }
`);

interface Asked {
  readonly opened: number;
  readonly failed: number;
  readonly other: number;
  readonly seconds: number;
  readonly used: string;
}

async function translate({ client }: Lab): Promise<string> {
  const chain = async (name: string, rule: Readonly<Record<string, unknown>>): Promise<string> => {
    const { objects } = await client.create('chain', { name, tenant: 'bench' });
    await client.create('rule', { chain: name, name, ...rule });
    return objects[0]?.id ?? '';
  };
  const inboundFilter = await chain('back', {
    action: 'reverse-snat',
    destination: '10.2.0.0/30',
  });
  const outboundFilter = await chain('out', {
    ...{ action: 'snat', outPorts: ['r-out'], targets: [PUBLIC] },
  });
  const { revision } = await client.update('router', 'r', { inboundFilter, outboundFilter });
  await client.wait(revision, ENFORCE_MS);
  return outboundFilter;
}

async function ask(lab: Lab, name: string, total: number): Promise<Asked> {
  const { ip, first, ports } = SERVER;
  const words = [process.execPath, SCRIPT, 'ask', ip, `${first}`, `${ports}`, `${total}`, PUBLIC];
  const ran = await runIn(lab, name, words, total * EACH_MS + 60_000);
  if (ran.code !== 0) throw new Error(`${name}: ${ran.stderr}`);
  return JSON.parse(ran.stdout) as Asked;
}

const bitsOf = (used: string): number[] =>
  [...Buffer.from(used, 'base64')].flatMap((byte, at) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte >> bit) & 1).map((bit) => at * 8 + bit),
  );
const drops = async (lab: Lab, reason: string): Promise<number> => {
  let sum = 0;
  for (const host of lab.recipe.hosts) {
    const counted: Readonly<Record<string, number>> = (await countersOf(lab, host)).drops;
    sum += counted[reason] ?? 0;
  }
  return sum;
};

async function many(lab: Lab, total: number): Promise<void> {
  const share = Math.ceil(total / VMS.length);
  const all = await Promise.all(VMS.map((name) => ask(lab, name, share)));
  const sum = (of: (each: Asked) => number): number => all.reduce((a, each) => a + of(each), 0);
  const opened = sum((each) => each.opened);
  const seconds = Math.max(...all.map((each) => each.seconds));
  print(
    `connections  ${opened} opened, each answered with its own token, ${sum((e) => e.failed)} not` +
      ` answered in time, ${sum((e) => e.other)} answered wrong; ${seconds.toFixed(0)} s:` +
      ` ${Math.round(opened / seconds)} a second`,
  );
  const owners = new Map<number, Set<string>>();
  for (const [i, { used }] of all.entries())
    for (const port of bitsOf(used)) owners.getOrInsertComputed(port, () => new Set()).add(VMS[i]!);
  const shared = [...owners.values()].filter((hosts) => hosts.size > 1).length;
  print(
    `ports        ${owners.size} public ports were used, each ${(opened / owners.size).toFixed(1)}` +
      ` times; ${shared} of them by more than one host`,
  );
  const { rows } = await lab.client.publicPorts();
  for (const { hostName = '', owned, used } of rows)
    print(`             ${hostName} owns ${owned}, ${used} connections have one`);
  print(`             dropped as nat-exhausted: ${await drops(lab, 'nat-exhausted')} packets`);
}

/** One host holds what there is; the next connections are refused, and nothing else. */
async function few(lab: Lab): Promise<void> {
  const { revision } = await lab.client.update('rule', 'out', { targets: [`${SECOND}:${FEW}`] });
  await lab.client.wait(revision, ENFORCE_MS);
  const before = await drops(lab, 'nat-exhausted');
  const words = ['hold', SERVER.ip, `${SERVER.first}`, `${HELD}`];
  const ran = await runIn(lab, 'v1', [process.execPath, SCRIPT, ...words], 60_000);
  const { opened, alive } = JSON.parse(ran.stdout) as { opened: number; alive: number };
  const refused = (await drops(lab, 'nat-exhausted')) - before;
  print(
    `shortage     of ${HELD} connections at once through 64 ports ${opened} were opened, and` +
      ` ${alive} of these still answer; ${refused} packets dropped as nat-exhausted`,
  );
  const { hosts } = await lab.client.status();
  for (const { name, report } of hosts) {
    const limit = report?.limits?.find((each) => each.name === 'public-ports');
    if (limit !== undefined) print(`             ${name}: ${limit.used} of ${limit.max} in use`);
  }
}

/** Runs the experiment and prints what it measures. */
export async function ports(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { count: { type: 'string', default: String(COUNT.usual) } },
  });
  const count = Number(values.count);
  if (!Number.isInteger(count) || count < COUNT.least || count > COUNT.most)
    throw new RangeError(
      `--count must be a whole number from ${COUNT.least} to ${COUNT.most}, not ${values.count}`,
    );
  const name = 'x-ports';
  await cleanLab(name).catch(() => {});
  const lab = await makeLab(announce(name, RECIPE), () => {});
  try {
    await translate(lab);
    const { first, ports: number } = SERVER;
    const command = [process.execPath, SCRIPT, 'serve', `${first}`, `${number}`];
    start({ lab: lab.name, part: SERVER.name, name: 'tokens', command });
    await until('the server answers', 20_000, async () => (await ask(lab, 'v1', 8)).opened > 0);
    await many(lab, count);
    await few(lab);
  } finally {
    await end(insideOf([namespaceOf(lab, SERVER.name)]), false);
    await cleanLab(name, true);
  }
}
