/**
 * The same firewall twice: chains on ports of ours, and nftables with connection tracking on a
 * Linux bridge. Both let in ARP, what belongs to a connection that was let out, and the services of
 * `c` that the rows ask; everything else is dropped.
 *
 * The bridge hands IPv4 to the rules of the IP layer (br_netfilter), as clouds with iptables have
 * it: tracking on the bridge itself (nf_conntrack_bridge) is not in every kernel.
 */
import type { Journal } from '#lab/journal.ts';
import { makeLab, type Lab } from '#lab/lab.ts';
import { CONNECT_PORT } from '../tools/connections.ts';
import { PACKETS_PORT, ROUND_TRIP_PORTS } from '../tools/traffic.ts';
import { mustRunIn } from '../tools.ts';
import { makeBridge } from './kernel.ts';

const WAIT_MS = 10_000;
const IPERF_PORT = 5201;
const TCP_PORTS = [IPERF_PORT, CONNECT_PORT, ROUND_TRIP_PORTS] as const;

export async function makeFirewall(journal: Journal): Promise<Lab> {
  const lab = await makeLab(journal, () => {});
  const { client } = lab;
  const chainOf = async (name: string): Promise<string> => {
    const { objects } = await client.create('chain', { name });
    const chain = objects[0]?.id ?? '';
    await client.create('rule', { chain, action: 'accept', etherType: 'arp' });
    const connection = ['established', 'related'];
    await client.create('rule', { chain, action: 'accept', connection });
    return chain;
  };
  const [a, c] = [await chainOf('a'), await chainOf('c')];
  for (const ports of TCP_PORTS) {
    const service = { protocol: 'tcp', destinationPorts: String(ports) };
    await client.create('rule', { chain: c, action: 'accept', ...service });
  }
  const packets = { protocol: 'udp', destinationPorts: String(PACKETS_PORT) };
  await client.create('rule', { chain: c, action: 'accept', ...packets });
  for (const chain of [a, c]) await client.create('rule', { chain, action: 'drop' });
  await client.update('port', 'a', { outboundFilter: a });
  const { revision } = await client.update('port', 'c', { outboundFilter: c });
  await client.wait(revision, WAIT_MS);
  return lab;
}

export async function makeTracked(journal: Journal): Promise<Lab> {
  const lab = await makeBridge(journal);
  const ruleset = `
table ip fw {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    tcp dport { ${TCP_PORTS.join(', ')} } ct state new accept
    udp dport ${PACKETS_PORT} ct state new accept
  }
}`;
  await mustRunIn(lab, 'h1', ['sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=1']);
  await mustRunIn(lab, 'h1', ['nft', ruleset]);
  return lab;
}
