/**
 * A service with four members through a router of one host: what it takes in, beside nftables that
 * leads to one of four at random, and beside HAProxy in TCP mode.
 */
import type { Line } from '../line.ts';
import { inTurn, type Bench, type Measured, type Row } from '../row.ts';
import { VIP } from '../sides/balance.ts';
import { connectionsPerSecond, requestsPerSecond } from '../tools/connections.ts';

const SIDES = ['balanced', 'randomdnat', 'haproxy'] as const;
const PEERS = { dnat: 'nftables, DNAT at random', haproxy: 'HAProxy, TCP mode' } as const;
const PEER_NAMES = ['dnat', 'haproxy'] as const;

async function measure({ stage, runs, seconds }: Bench): Promise<Measured> {
  const labs = {
    ours: await stage.side('balanced'),
    dnat: await stage.side('randomdnat'),
    haproxy: await stage.side('haproxy'),
  };
  const way = (lab: typeof labs.ours) => ({ lab, from: 'a', to: 'b', address: VIP });
  const all = <T>(ask: (lab: typeof labs.ours) => Promise<T>) =>
    inTurn(runs, {
      ours: () => ask(labs.ours),
      dnat: () => ask(labs.dnat),
      haproxy: () => ask(labs.haproxy),
    });
  for (const lab of Object.values(labs)) await connectionsPerSecond(way(lab), 1);
  const opened = await all((lab) => connectionsPerSecond(way(lab), seconds));
  const asked = await all((lab) => requestsPerSecond(way(lab), seconds));
  const lines = (what: string, of: typeof opened, by: number): Line[] =>
    PEER_NAMES.map((peer) => ({
      what: `VIP, same host: ${what}`,
      ...{ unit: by === 1 ? '/s' : 'k/s', better: 'more' as const },
      ours: of.ours.map(({ perSecond }) => perSecond / by),
      peer: { name: PEERS[peer], values: of[peer].map(({ perSecond }) => perSecond / by) },
    }));
  const failed = (side: keyof typeof labs): number =>
    [...opened[side], ...asked[side]].reduce((sum, each) => sum + each.failed, 0);
  return {
    lines: [
      ...lines('new TCP connections', opened, 1),
      ...lines('requests on eight connections that are kept', asked, 1_000),
    ],
    notes: [
      'the members are addresses of one workload; client and server are the same programs everywhere',
      'a new connection costs ours two first packets, and a port may have 5,000 of these a second',
      'HAProxy ends each connection and opens another: members see it as their client',
      `failed: ours ${failed('ours')}, nftables ${failed('dnat')}, HAProxy ${failed('haproxy')}`,
    ],
  };
}

export const balance: Row = {
  name: 'balance',
  what: 'a service with four members, beside nftables and HAProxy',
  tools: ['ip', 'nsenter', 'nft', 'sysctl', 'haproxy'],
  root: true,
  sides: SIDES,
  measure,
};
