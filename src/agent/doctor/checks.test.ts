/** The checks of a host, each on a host that has what it looks for and on one that has not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LocalFinding } from '#client/health-asks.ts';
import { LAYOUT_VERSION } from '#flow/layout.ts';
import type { Link } from '#os/netlink/links.ts';
import { CHECKS, examine } from './checks.ts';
import type { Eye, Subject } from './eye.ts';
import { iptablesDrops, nftDrops } from './firewall.ts';

const link = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  ...{ index, name, up: true, lowerUp: true, running: true, arp: true, promiscuous: false },
  ...{ mtu: 1_500, mac: new Uint8Array(6), kind: undefined, master: undefined, link: undefined },
  ...{ linkNetns: undefined, vxlanPort: undefined, zeroChecksum6: false, alias: undefined },
  ...more,
});

const SUBJECT: Subject = {
  addresses: ['172.16.0.1'],
  peers: ['172.16.0.2', '172.16.0.3'],
  interfaces: ['vm1'],
  runDir: '/run/mn',
  tunnelUdpPort: 6677,
  recordUdpPort: 6678,
  tunnelDevice: 'mnvx0',
  bpffs: '/run/mn/bpf',
};
const LINKS = [link(2, 'eth0'), link(3, 'vm1', { kind: 'veth' }), link(4, 'mnvx0')];
const FILES: Readonly<Record<string, string>> = {
  '/proc/self/limits':
    'Max open files            65536                65536                files\n',
  '/proc/sys/net/ipv4/conf/all/rp_filter': '0\n',
  '/proc/sys/net/ipv4/conf/eth0/rp_filter': '2\n',
  // The kernel's own socket of the tunnel.
  '/proc/net/udp':
    'sl local rem st tx rx tr tm retr uid timeout inode\n' +
    '1: 00000000:1A15 00000000:0000 07 0:0 0:0 0 0 0 4710 2 x\n',
};

interface Differently {
  readonly files?: Readonly<Record<string, string>>;
  readonly links?: readonly Link[];
  readonly outputs?: Readonly<Record<string, string>>;
  readonly eye?: Partial<Eye>;
  readonly subject?: Partial<Subject>;
}
/** All findings of a host that is well, but for what is told. */
async function findings(differently: Differently = {}): Promise<LocalFinding[]> {
  const { files = {}, links = LINKS, outputs = {}, eye = {}, subject = {} } = differently;
  const whole: Eye = {
    kernel: '6.18.0',
    read: (path) => files[path] ?? FILES[path],
    exists: (path) =>
      ['/sys/kernel/btf/vmlinux', `/run/mn/bpf/v${LAYOUT_VERSION}/maps/config`].includes(path),
    entries: () => 20,
    isBpffs: (path) => path === '/run/mn/bpf',
    output: async (command, ...args) => outputs[[command, ...args].join(' ')],
    links: () => links,
    addresses: () => [{ index: 2, address: '172.16.0.1' }],
    wayOut: () => 2,
    ...eye,
  };
  const found: LocalFinding[] = [];
  for await (const some of examine(whole, { ...SUBJECT, ...subject })) found.push(...some);
  return found;
}
const only = async (differently: Differently): Promise<LocalFinding> => {
  const found = await findings(differently);
  assert.equal(found.length, 1, JSON.stringify(found));
  const [first] = found;
  assert.ok(first !== undefined);
  for (const text of [first.what, first.evidence, first.remedy]) assert.notEqual(text, '');
  return first;
};

test('of a host that is well nothing is found', async () => {
  assert.deepEqual(await findings(), []);
  assert.ok(Object.keys(CHECKS).length > 10);
});

test('each check finds what it looks for', async () => {
  const cases: readonly (readonly [string, Differently])[] = [
    ['error kernel-version', { eye: { kernel: '5.15.0' } }],
    ['warning kernel-btf', { eye: { exists: (path) => path.includes('config') } }],
    ['error bpffs', { eye: { isBpffs: () => false } }],
    ['error pinned-maps', { eye: { exists: (path) => path.includes('btf') } }],
    ['warning open-files', { eye: { entries: () => 60_000 } }],
    ['error tunnel-address', { subject: { addresses: ['172.16.0.1', '172.16.0.9'] } }],
    ['error underlay-down', { links: [link(2, 'eth0', { lowerUp: false }), ...LINKS.slice(1)] }],
    ['error no-route', { eye: { wayOut: (to) => (to.endsWith('3') ? undefined : 2) } }],
    ['error vxlan-port', { links: [...LINKS, link(9, 'flannel.1', { vxlanPort: 6677 })] }],
    ['error tunnel-device', { files: { '/proc/net/udp': '' }, links: LINKS.slice(0, 2) }],
    [
      'warning interface-down',
      {
        links: [
          link(2, 'eth0'),
          link(3, 'vm1', { lowerUp: false, kind: 'veth' }),
          link(4, 'mnvx0'),
        ],
      },
    ],
    [
      'warning rp-filter',
      {
        files: { '/proc/sys/net/ipv4/conf/eth0/rp_filter': '1\n' },
        eye: { wayOut: (to) => (to.endsWith('3') ? 7 : 2) },
      },
    ],
    ['warning lro', { outputs: { 'ethtool -k eth0': 'large-receive-offload: on\n' } }],
    [
      'error firewall',
      { outputs: { 'iptables-save': '-A INPUT -p udp -m udp --dport 6677 -j DROP' } },
    ],
    [
      'error firewall',
      { outputs: { 'iptables-save': '-A INPUT -p udp -m udp --dport 6678 -j DROP' } },
    ],
  ];
  for (const [expected, differently] of cases) {
    const { severity, check } = await only(differently);
    assert.equal(`${severity} ${check}`, expected);
  }
});

test('whoever has the port of a tunnel that is down is found', async () => {
  const found = await findings({ links: LINKS.slice(0, 2) });
  assert.deepEqual(
    found.map(({ check }) => check),
    ['tunnel-device', 'udp-port'],
  );
  assert.match(found[1]?.evidence ?? '', /inodes 4710$/);
});

test('a check that fails is told, and stops no other', async () => {
  const broken = { links: () => assert.fail('no netlink'), isBpffs: () => false } as Partial<Eye>;
  const found = await findings({ eye: broken });
  assert.ok(found.some(({ check }) => check === 'bpffs'));
  assert.ok(
    found.some(({ check, evidence }) => check === 'tunnel-device' && /netlink/.test(evidence)),
  );
});

/** As nft 1.0.6 prints it. */
const rule = (handle: number, chain: string, expr: readonly object[]): object => ({
  rule: { family: 'inet', table: 't', chain, handle, expr },
});
const dport = (right: unknown, op = '=='): object => ({
  match: { op, left: { payload: { protocol: 'udp', field: 'dport' } }, right },
});

test('rules of nft that drop the port are found, others are not', () => {
  const rules = [
    rule(4, 'input', [dport(6677), { counter: { packets: 3, bytes: 9 } }, { drop: null }]),
    rule(5, 'input', [dport({ set: [53, { range: [6000, 7000] }] }), { reject: {} }]),
    rule(6, 'input', [dport(6677), { accept: null }]),
    rule(7, 'input', [dport(4789), { drop: null }]),
    rule(8, 'input', [dport(6677, '!='), { drop: null }]),
    rule(9, 'input', [
      { match: { op: '==', left: { meta: { key: 'l4proto' } }, right: 'tcp' } },
      dport(6677),
      { drop: null },
    ]),
    rule(10, 'input', [{ drop: null }]),
  ];
  const text = JSON.stringify({ nftables: [{ metainfo: { version: '1.0.6' } }, ...rules] });
  assert.deepEqual(
    nftDrops(text, 6677).map(({ remedy }) => remedy),
    ['nft delete rule inet t input handle 4', 'nft delete rule inet t input handle 5'],
  );
});

test('rules of iptables that drop the port are found, others are not', () => {
  const text = `*filter
:INPUT ACCEPT [0:0]
-A INPUT -p udp -m udp --dport 6677 -j DROP
-A INPUT -i eth0 -p udp -m multiport --dports 53,6600:6700 -j REJECT --reject-with icmp-port-unreachable
-A INPUT -p tcp -m tcp --dport 6677 -j DROP
-A INPUT -p udp -m udp ! --dport 6677 -j DROP
-A INPUT -p udp -m udp --dport 6677 -j ACCEPT
*raw
-A PREROUTING -p udp -m udp --dport 6677 -j DROP
`;
  assert.deepEqual(
    iptablesDrops(text, 6677, 'iptables').map(({ remedy }) => remedy),
    [
      'iptables -t filter -D INPUT -p udp -m udp --dport 6677 -j DROP',
      'iptables -t filter -D INPUT -i eth0 -p udp -m multiport --dports 53,6600:6700 -j REJECT --reject-with icmp-port-unreachable',
      'iptables -t raw -D PREROUTING -p udp -m udp --dport 6677 -j DROP',
    ],
  );
});
