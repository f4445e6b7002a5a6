/**
 * Act: a filter lets in nothing but answers, on whatever host they enter; the agents that decided
 * are killed, and the answers still come; the rules count what they matched.
 */
import { killAgent, startAgent } from '../lab.ts';
import { ping } from '../ping.ts';
import { until } from '../processes.ts';
import { type Act, hostOf } from './act.ts';

const ENFORCE_MS = 10_000;
const CHAIN = 'demo-answers';
const PINGS = 20;

export async function firewall(act: Act, from: string, to: string): Promise<void> {
  const { lab, cast, report } = act;
  const { client } = lab;
  const [here, there] = [cast.numberOf(from), cast.numberOf(to)].map((n) => cast.station(n).ip4);
  if (here === undefined || there === undefined) throw new Error('the demo needs both workloads');
  await close(act, from);
  const reaches = async (who: string, whom: string): Promise<number> =>
    (await ping(lab, who, whom, { count: PINGS })).received;
  report.equal(await reaches(from, there), PINGS, `${from} reaches ${to}, and is answered`);
  report.equal(await reaches(to, here), 0, `${to} does not reach ${from}`);
  const { items } = await client.connections({ port: from });
  const echo = items.find(({ protocol }) => protocol === 'icmp');
  report.note('$ mn connections');
  if (echo !== undefined)
    report.note(`  ${echo.protocol} ${echo.from} > ${echo.to} ${echo.phase}, told by the agents`);
  report.check(echo?.phase === 'answered', 'the connection is known, and that it was answered', {
    expected: 'an echo that was answered',
    actual: echo?.phase ?? 'none',
  });
  for (const host of [hostOf(lab, from), hostOf(lab, to)]) {
    await killAgent(lab, host);
    startAgent(lab, host);
  }
  // Agents that have just begun decide nothing before they know the network.
  await until('the new agents decide', ENFORCE_MS, async () => (await reaches(from, there)) > 0);
  report.equal(await reaches(from, there), PINGS, 'both agents are killed and replaced: the same');
  report.equal(await reaches(to, here), 0, `and ${to} still does not reach ${from}`);
  await counted(act);
  const opened = await client.update('port', from, { outboundFilter: null });
  await client.wait(opened.revision, ENFORCE_MS);
  await client.remove('chain', CHAIN);
  await until('the filter is gone', ENFORCE_MS, async () => (await reaches(to, here)) === PINGS);
  report.note(`the filter is taken away: ${to} reaches ${from} again`);
}

async function close({ lab: { client }, report }: Act, port: string): Promise<void> {
  const { objects } = await client.create('chain', { name: CHAIN });
  const chain = objects[0]?.id ?? '';
  const rules = [
    { action: 'accept', etherType: 'arp', name: 'arp' },
    { action: 'accept', connection: ['established', 'related'], name: 'answers' },
    { action: 'drop', etherType: 'ip', name: 'rest' },
  ];
  for (const rule of rules) await client.create('rule', { chain, ...rule });
  const { revision } = await client.update('port', port, { outboundFilter: chain });
  await client.wait(revision, ENFORCE_MS);
  report.note(`$ mn rule create --chain ${CHAIN} --action accept --connection established …`);
  report.note(`$ mn rule create --chain ${CHAIN} --action drop --ether-type ip`);
  report.note(`$ mn port update ${port} --outbound-filter ${CHAIN} --wait`);
}

/** What the rules have matched on all hosts, since the agents that are there began. */
async function counted({ lab: { client }, report }: Act): Promise<void> {
  const { rows } = await client.ruleCounts({ chain: CHAIN });
  const of = (name: string): number => rows.find(({ ruleName }) => ruleName === name)?.packets ?? 0;
  report.note('$ mn rule counters');
  for (const { ruleName = '', action, packets } of rows)
    report.note(`  ${ruleName} ${action}: ${packets} packets`);
  report.check(of('answers') >= PINGS && of('rest') >= PINGS, 'the rules have counted both', {
    expected: `${PINGS} answers, and ${PINGS} packets that were dropped`,
    actual: `${of('answers')} and ${of('rest')}`,
  });
}
