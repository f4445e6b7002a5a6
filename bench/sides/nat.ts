/**
 * The same translation twice: rules of a router of ours, and nftables on a Linux router. What
 * leaves gets the router's own address (masquerade), and one address that nobody has leads to `b`
 * (DNAT).
 */
import type { Journal } from '#lab/journal.ts';
import { makeLab, namespaceOf, openLab, type Lab } from '#lab/lab.ts';
import { ipBatch, makeWires } from '#lab/wires.ts';
import { mustRunIn } from '../tools.ts';
import { IP } from './recipes.ts';

const WAIT_MS = 10_000;
/** Leads to `b`. */
export const FORWARDED = '10.3.0.1';
/** Of the router, on the side of `a` and of `b`. */
const ROUTER = { a: '10.1.0.1', b: '10.2.0.1' } as const;

export async function makeTranslated(journal: Journal): Promise<Lab> {
  const lab = await makeLab(journal, () => {});
  const { client } = lab;
  const chainOf = async (
    name: string,
    rules: readonly Readonly<Record<string, unknown>>[],
  ): Promise<string> => {
    const { objects } = await client.create('chain', { name, tenant: 'bench' });
    const chain = objects[0]?.id ?? '';
    for (const rule of rules) await client.create('rule', { chain, ...rule });
    return chain;
  };
  const inboundFilter = await chainOf('nat-in', [
    { action: 'reverse-snat', destination: `${ROUTER.b}/32` },
    { action: 'dnat', destination: `${FORWARDED}/32`, targets: [IP.b] },
  ]);
  const outboundFilter = await chainOf('nat-out', [
    { action: 'reverse-dnat', after: 'continue' },
    { action: 'snat', outPorts: ['r-b'], targets: [ROUTER.b] },
  ]);
  const { revision } = await client.update('router', 'r', { inboundFilter, outboundFilter });
  await client.wait(revision, WAIT_MS);
  return lab;
}

export async function makeMasqueraded(journal: Journal): Promise<Lab> {
  await makeWires(journal);
  const lab = openLab(journal.lab);
  await ipBatch(
    [
      `address add ${ROUTER.a}/16 dev a`,
      `address add ${ROUTER.b}/16 dev b`,
      'link set dev a up',
      'link set dev b up',
    ],
    namespaceOf(lab, 'h1'),
  );
  const ruleset = `
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr ${FORWARDED} dnat to ${IP.b}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "b" masquerade
  }
}`;
  await mustRunIn(lab, 'h1', ['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
  await mustRunIn(lab, 'h1', ['nft', ruleset]);
  return lab;
}
