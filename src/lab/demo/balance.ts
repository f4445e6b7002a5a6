/**
 * Act: a VIP loses a member while clients connect. One that is drained costs nobody a connection,
 * neither a new one nor one that is held; one that is deleted costs those that it had.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { runOk } from '#os/run.ts';
import { inside, start, until } from '../processes.ts';
import type { Served } from '../service.ts';
import type { Act } from './act.ts';
import { isListening } from './iperf.ts';

const ENFORCE_MS = 10_000;
const LISTEN_MS = 5_000;
const SLACK_MS = 20_000;
const SECONDS = 4;
/** Of a run, before the member goes. */
const BEFORE_MS = 1_500;
const VIP = '203.0.113.80';
const PORTS = { vip: 80, member: 8080 } as const;
const PROGRAM = new URL('../service.ts', import.meta.url).pathname;

/** Who serves: the one that stays, and the one that goes. */
interface Members {
  readonly stays: string;
  readonly goes: string;
}

export async function balance(act: Act, client: string, members: Members): Promise<void> {
  const { lab, report } = act;
  const { stays, goes } = members;
  for (const name of [stays, goes]) await serve(act, name);
  await offer(act, members);
  const drained = await during(act, client, async () => {
    await enforced(act, lab.client.update('pool-member', goes, { weight: 0 }));
    report.note(`$ mn pool-member update ${goes} --weight 0 --wait`);
  });
  tell(act, drained);
  const both = [stays, goes].every((name) => (drained.opened[name] ?? 0) > 0);
  report.check(both, `${client} opens connections to ${VIP}: both members serve them`, {
    expected: `some of ${stays} and of ${goes}`,
    actual: JSON.stringify(drained.opened),
  });
  report.equal(drained.failed, 0, `${goes} is drained meanwhile: no connection fails`);
  report.equal(sum(drained.broken), 0, `nor does one of the ${sum(drained.held)} that are held`);
  report.equal(drained.late[goes] ?? 0, 0, `and ${goes} gets no new one afterwards`);
  await enforced(act, lab.client.update('pool-member', goes, { weight: 1 }));
  const deleted = await during(act, client, async () => {
    await enforced(act, lab.client.remove('pool-member', goes));
    report.note(`$ mn pool-member delete ${goes} --wait`);
  });
  tell(act, deleted);
  report.equal(deleted.broken[stays] ?? 0, 0, `${goes} is deleted: those of ${stays} go on`);
  report.equal(
    deleted.broken[goes] ?? 0,
    deleted.held[goes] ?? 0,
    'those that it had are told to begin anew',
  );
  report.equal(deleted.late[goes] ?? 0, 0, `and all new ones are served by ${stays}`);
  await lab.client.remove('route', 'service');
  await enforced(act, lab.client.remove('load-balancer', 'lb'));
}

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0);

function tell({ report }: Act, { opened, failed, held, broken }: Served): void {
  const list = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, count]) => `${name} ${count}`)
      .join(', ') || 'none';
  report.note(`opened: ${list(opened)}; failed: ${failed}`);
  report.note(`held: ${list(held)}; broken: ${list(broken)}`);
}

async function enforced({ lab }: Act, change: Promise<{ revision: number }>): Promise<void> {
  const { revision } = await change;
  await lab.client.wait(revision, ENFORCE_MS);
}

async function serve({ lab }: Act, part: string): Promise<void> {
  const command = [process.execPath, PROGRAM, 'serve', part, `${PORTS.member}`];
  const server = start({ lab: lab.name, part, name: `service-${part}`, command });
  await until(`${part} serves`, LISTEN_MS, () => isListening(server, PORTS.member));
}

/** A service at the router of the members' network, and the way to it. */
async function offer(act: Act, { stays, goes }: Members): Promise<void> {
  const { lab, cast, report } = act;
  const { client } = lab;
  const tenant = 'green';
  await client.create('load-balancer', { name: 'lb', router: 'green-r1', tenant });
  await client.create('pool', { name: 'web', loadBalancer: 'lb', tenant });
  for (const name of [stays, goes]) {
    const address = cast.station(cast.numberOf(name)).ip4;
    const end = { address, port: PORTS.member };
    await client.create('pool-member', { name, pool: 'web', tenant, ...end });
  }
  const end = { address: VIP, port: PORTS.vip };
  await client.create('vip', { name: 'www', loadBalancer: 'lb', pool: 'web', tenant, ...end });
  const way = { destination: `${VIP}/32`, port: 'r2-r1', gateway: '10.1.0.1' };
  await enforced(act, client.create('route', { router: 'green-r2', name: 'service', ...way }));
  report.note(`$ mn vip create www --load-balancer lb --pool web --address ${VIP} --port 80`);
}

/** What became of a client's connections while something was done. */
async function during({ lab }: Act, client: string, change: () => Promise<void>): Promise<Served> {
  const command = [process.execPath, PROGRAM, 'connect', VIP, `${PORTS.vip}`, `${SECONDS}`];
  const [program = '', ...args] = inside(lab.name, client, command);
  const running = runOk(program, args, { deadlineMs: SECONDS * 1_000 + SLACK_MS });
  running.catch(() => {}); // Awaited below; what fails before must not leave it unheard.
  await sleep(BEFORE_MS);
  await change();
  return JSON.parse(await running) as Served;
}
