/**
 * One service three times: a VIP of ours with four members, nftables that leads to one of four at
 * random on a Linux router, and HAProxy in TCP mode on that router. The members are addresses of
 * one workload, so the work behind the service is the same.
 */
import { writeFileSync } from 'node:fs';
import type { Journal } from '#lab/journal.ts';
import { isListening } from '#lab/demo/iperf.ts';
import { makeLab, namespaceOf, openLab, type Lab } from '#lab/lab.ts';
import { labDir } from '#lab/names.ts';
import { start, until } from '#lab/processes.ts';
import { ipBatch, makeWires, WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { CONNECT_PORT, REQUEST_PORT } from '../tools/connections.ts';
import { mustRunIn } from '../tools.ts';

const WAIT_MS = 10_000;
export const VIP = '10.3.0.1';
const PORTS = [CONNECT_PORT, REQUEST_PORT] as const;
const MEMBERS = [1, 2, 3, 4].map((n) => `10.2.1.${n}`);
/** Of the router, on the side of `a` and of `b`. */
const ROUTER = { a: '10.1.0.1', b: '10.2.0.1' } as const;
/** Whoever balances in user space may use every CPU of the two that all share. */
const THREADS = 2;

/** `b` has the addresses of all members. */
const takeAddresses = (lab: Lab): Promise<void> =>
  ipBatch(
    MEMBERS.map((address) => `address add ${address}/16 dev ${WORKLOAD_INTERFACE}`),
    namespaceOf(lab, 'b'),
  );

export async function makeBalanced(journal: Journal): Promise<Lab> {
  const lab = await makeLab(journal, () => {});
  await takeAddresses(lab);
  const { client } = lab;
  const tenant = 'bench';
  const loadBalancer = 'lb';
  await client.create('load-balancer', { name: loadBalancer, router: 'r', tenant });
  let revision = 0;
  for (const port of PORTS) {
    const pool = `pool-${port}`;
    await client.create('pool', { name: pool, loadBalancer, tenant });
    for (const address of MEMBERS)
      await client.create('pool-member', { pool, address, port, tenant });
    const vip = { name: `vip-${port}`, loadBalancer, pool, address: VIP, port, tenant };
    ({ revision } = await client.create('vip', vip));
  }
  await client.wait(revision, WAIT_MS);
  return lab;
}

/** A Linux router on the wires. */
async function makeRouter(journal: Journal): Promise<Lab> {
  await makeWires(journal);
  const lab = openLab(journal.lab);
  const commands = [
    `address add ${ROUTER.a}/16 dev a`,
    `address add ${ROUTER.b}/16 dev b`,
    'link set dev a up',
    'link set dev b up',
    'link set dev lo up',
  ];
  await ipBatch(commands, namespaceOf(lab, 'h1'));
  await mustRunIn(lab, 'h1', ['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
  await takeAddresses(lab);
  return lab;
}

export async function makeRandomDnat(journal: Journal): Promise<Lab> {
  const lab = await makeRouter(journal);
  const map = MEMBERS.map((address, n) => `${n} : ${address}`).join(', ');
  const ruleset = `
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr ${VIP} tcp dport { ${PORTS.join(', ')} } dnat to numgen random mod ${MEMBERS.length} map { ${map} }
  }
}`;
  await mustRunIn(lab, 'h1', ['nft', ruleset]);
  return lab;
}

export async function makeHaproxy(journal: Journal): Promise<Lab> {
  const lab = await makeRouter(journal);
  await ipBatch([`address add ${VIP}/32 dev lo`], namespaceOf(lab, 'h1'));
  const services = PORTS.map(
    (port) => `
listen service-${port}
  bind ${VIP}:${port}
${MEMBERS.map((address, n) => `  server m${n} ${address}:${port}`).join('\n')}
`,
  );
  const file = `${labDir(lab.name)}/haproxy.cfg`;
  writeFileSync(
    file,
    `
global
  nbthread ${THREADS}
  maxconn 4096
defaults
  mode tcp
  balance roundrobin
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${services.join('')}`,
  );
  const command = ['haproxy', '-db', '-f', file];
  const haproxy = start({ lab: lab.name, part: 'h1', name: 'haproxy', command });
  await until('HAProxy listens', WAIT_MS, () => isListening(haproxy, CONNECT_PORT));
  return lab;
}
