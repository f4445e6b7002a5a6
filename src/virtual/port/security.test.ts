/** Port security, case by case: what is let in, what is refused and why, what flows match. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeFrame, type Layers } from '#net/frame.ts';
import type { Ip6 } from '#net/ip.ts';
import { linkAddressOption } from '#net/packet/icmp6.ts';
import { ip, mac, Network, seen } from '../network.fixture.ts';
import {
  ALL,
  check,
  LOCAL1,
  M1,
  M2,
  network,
  refusal,
  STRANGER,
  VIRTUAL,
} from './security.fixture.ts';

test('the source MAC, of whatever frame', () => {
  const net = network();
  const strange = `spoofed-mac source ${STRANGER}: not allowed`;
  check(net, 'a', [
    [`${STRANGER} > ${M2} udp 10.0.0.1:1 > 10.0.0.2:2`, strange],
    [`${STRANGER} > ${ALL} vlan 5 udp 10.0.0.1:1 > 10.0.0.2:2`, strange],
    [`${STRANGER} > ${ALL} arp who-has 10.0.0.2 tell 10.0.0.1`, strange],
    [`${STRANGER} > ${ALL} type 0x88cc`, strange],
    [`${M2} > ${ALL} udp 10.0.0.1:1 > 10.0.0.2:2`, `spoofed-mac source ${M2}: not allowed`],
    [`${M1} > ${M2} udp 10.0.0.1:1 > 10.0.0.2:2`, ''],
    [`${VIRTUAL} > ${M2} udp 10.0.5.7:1 > 10.0.0.2:2`, ''],
  ]);
});

test('the source address goes with the MAC, IPv4', () => {
  const net = network();
  const with1 = `not allowed with ${M1}`;
  check(net, 'a', [
    ['udp 10.0.0.1:1 > 192.0.2.1:2', ''],
    ['tcp 10.0.0.100:1 > 192.0.2.1:2 syn', ''],
    ['udp 10.0.0.2:1 > 192.0.2.1:2', `spoofed-ip source 10.0.0.2: ${with1}`],
    ['vlan 5 udp 10.0.0.2:1 > 192.0.2.1:2', `spoofed-ip source 10.0.0.2: ${with1}`],
    ['udp 10.0.5.7:1 > 192.0.2.1:2', `spoofed-ip source 10.0.5.7: ${with1}`],
    ['icmp 224.0.0.1 > 192.0.2.1 echo', `spoofed-ip source 224.0.0.1: ${with1}`],
    [
      `${VIRTUAL} > ${M2} udp 10.0.0.1:1 > 10.0.0.2:2`,
      `spoofed-ip source 10.0.0.1: not allowed with ${VIRTUAL}`,
    ],
    [
      `${VIRTUAL} > ${M2} udp 10.0.6.1:1 > 10.0.0.2:2`,
      `spoofed-ip source 10.0.6.1: not allowed with ${VIRTUAL}`,
    ],
    // A client asks for its address, and joins groups, before it has one.
    ['udp 0.0.0.0:68 > 255.255.255.255:67', ''],
    ['ip 0.0.0.0 > 224.0.0.22 proto 2', ''],
    ['ip 0.0.0.0 > 10.0.0.2 proto 2', `spoofed-ip source 0.0.0.0: ${with1}`],
    ['udp 0.0.0.0:68 > 10.0.0.2:67', `spoofed-ip source 0.0.0.0: ${with1}`],
    ['udp 0.0.0.0:69 > 255.255.255.255:67', `spoofed-ip source 0.0.0.0: ${with1}`],
    ['udp 0.0.0.0:68 > 255.255.255.255:53', `spoofed-ip source 0.0.0.0: ${with1}`],
    ['ip 0.0.0.0 > 255.255.255.255 proto 6', `spoofed-ip source 0.0.0.0: ${with1}`],
  ]);
});

test('the source address goes with the MAC, IPv6', () => {
  const net = network();
  const with1 = `not allowed with ${M1}`;
  check(net, 'a', [
    ['udp [fd00::1]:1 > [2001:db8::1]:2', ''],
    [`icmp6 ${LOCAL1} > ff02::2 router-solicitation`, ''],
    ['udp [fd00::2]:1 > [2001:db8::1]:2', `spoofed-ip source fd00::2: ${with1}`],
    ['udp [fe80::1]:1 > [fe80::2]:2', `spoofed-ip source fe80::1: ${with1}`],
    [`${VIRTUAL} > ${M2} udp [fd00:5::9]:1 > [fd00::2]:2`, ''],
    [
      `${VIRTUAL} > ${M2} udp [${LOCAL1}]:1 > [fd00::2]:2`,
      `spoofed-ip source ${LOCAL1}: not allowed with ${VIRTUAL}`,
    ],
    ['icmp6 :: > ff02::2 router-solicitation', ''],
    ['icmp6 :: > ff02::16 type 143 code 0', ''],
    ['icmp6 :: > ff02::1 echo', `spoofed-ip source ::: ${with1}`],
    ['udp [::]:546 > [ff02::1:2]:547', `spoofed-ip source ::: ${with1}`],
    ['na fd00::1 is-at 02:00:00:00:00:01 to ff02::1', ''],
  ]);
});

test('ARP: who speaks, of which address, at which MAC', () => {
  const net = network();
  const other = (operation: number, changes: object): Layers =>
    ({
      ethernet: { src: mac(M1), dst: mac(ALL) },
      network: {
        kind: 'arp',
        operation,
        senderMac: mac(M1),
        senderIp: ip('10.0.0.1'),
        targetMac: 0,
        targetIp: ip('10.0.0.2'),
        ...changes,
      },
    }) as unknown as Layers;
  const neither = 'spoofed-arp neither request nor reply of IPv4 over Ethernet';
  check(net, 'a', [
    ['arp who-has 10.0.0.2 tell 10.0.0.1', ''],
    ['arp who-has 10.0.0.2 tell 10.0.0.100', ''],
    ['arp who-has 10.0.0.2 tell 10.0.0.3', 'spoofed-arp 10.0.0.3: not allowed'],
    ['vlan 5 arp who-has 10.0.0.2 tell 10.0.0.3', 'spoofed-arp 10.0.0.3: not allowed'],
    [`arp reply 10.0.0.254 is-at ${M1}`, 'spoofed-arp 10.0.0.254: not allowed'],
    [`arp reply 10.0.0.1 is-at ${M1}`, ''],
    [
      `${M1} > ${ALL} arp reply 10.0.0.1 is-at ${STRANGER}`,
      `spoofed-arp 10.0.0.1 is-at ${STRANGER}: not allowed`,
    ],
    [
      `${M1} > ${ALL} arp reply 10.0.0.1 is-at ${M2}`,
      `spoofed-arp 10.0.0.1 is-at ${M2}: not allowed`,
    ],
    [`arp reply 10.0.5.1 is-at ${M1}`, `spoofed-arp 10.0.5.1 is-at ${M1}: not allowed`],
    [`${VIRTUAL} > ${ALL} arp reply 10.0.5.1 is-at ${VIRTUAL}`, ''],
    [other(1, { senderMac: mac(STRANGER) }), `spoofed-arp 10.0.0.1 is-at ${STRANGER}: not allowed`],
    // Probes: for its own address, not for one that another is about to take.
    ['arp who-has 10.0.0.1 tell 0.0.0.0', ''],
    ['arp who-has 10.0.0.3 tell 0.0.0.0', 'spoofed-arp 10.0.0.3: not allowed'],
    [other(2, { senderIp: 0 }), 'spoofed-arp 0.0.0.0: not allowed'],
    [other(9, {}), neither],
    [other(257, {}), neither],
    [
      {
        ...other(1, {}),
        network: undefined,
        ethernet: { src: mac(M1), dst: mac(ALL), type: 0x806 },
      } as Layers,
      neither,
    ],
  ]);
});

const discovery = (changes: {
  readonly type: 135 | 136;
  readonly src: string;
  readonly dst: string;
  readonly target: string;
  readonly links?: readonly (readonly [type: number, mac: string])[];
  readonly hopLimit?: number;
  readonly by?: string;
}): Layers => ({
  ethernet: { src: mac(changes.by ?? M1), dst: mac(M2) },
  network: {
    kind: 'ipv6',
    src: ip(changes.src) as Ip6,
    dst: ip(changes.dst) as Ip6,
    hopLimit: changes.hopLimit ?? 255,
  },
  transport: {
    kind: 'neighbour',
    type: changes.type,
    flags: 0,
    target: ip(changes.target) as Ip6,
    options: (changes.links ?? []).map(([type, at]) => linkAddressOption(type, mac(at))),
  },
});

test('neighbour discovery: source, target, and every option with a link-layer address', () => {
  const net = network();
  const asks = { type: 135, src: 'fd00::1', dst: 'fd00::2', target: 'fd00::2' } as const;
  const tells = { type: 136, src: 'fd00::1', dst: 'fd00::2', target: 'fd00::1' } as const;
  const at = (address: string, link: string): string =>
    `spoofed-nd ${address} is-at ${link}: not allowed`;
  check(net, 'a', [
    ['ns fd00::1 for fd00::2', ''],
    [`ns ${LOCAL1} for fd00::2`, ''],
    ['ns fd00::3 for fd00::2', `spoofed-ip source fd00::3: not allowed with ${M1}`],
    [discovery({ ...asks, links: [[1, STRANGER]] }), at('fd00::1', STRANGER)],
    [discovery({ ...asks, links: [[2, STRANGER]] }), at('fd00::1', STRANGER)],
    [
      discovery({
        ...asks,
        links: [
          [1, M1],
          [1, M2],
        ],
      }),
      at('fd00::1', M2),
    ],
    [discovery({ ...tells, links: [[2, M1]] }), ''],
    [discovery(tells), ''],
    [discovery({ ...tells, target: 'fd00::3' }), at('fd00::3', M1)],
    [discovery({ ...tells, target: 'fd00::254', links: [[2, M1]] }), at('fd00::254', M1)],
    [discovery({ ...tells, links: [[2, STRANGER]] }), at('fd00::1', STRANGER)],
    // Without an option the sender's own MAC is meant.
    [discovery({ ...tells, by: VIRTUAL, src: 'fd00:5::1' }), at('fd00::1', VIRTUAL)],
    // Duplicate address detection: for its own, without a link-layer address.
    ['ns :: for fd00::1', ''],
    ['ns :: for fd00::3', at('fd00::3', M1)],
    [
      discovery({ ...asks, src: '::', dst: 'ff02::1:ff00:1', target: 'fd00::1', links: [[1, M1]] }),
      'spoofed-nd a link-layer address for the unspecified address',
    ],
    [discovery({ ...tells, src: '::' }), `spoofed-ip source ::: not allowed with ${M1}`],
    ['icmp6 fd00::1 > ff02::1 type 141 code 0', 'spoofed-nd icmp6 type 141'],
  ]);
});

test('router solicitations tell a link-layer address too', () => {
  const net = network();
  const solicitation = (src: string, ...body: readonly number[]): Layers => ({
    ethernet: { src: mac(M1), dst: mac('33:33:00:00:00:02') },
    network: { kind: 'ipv6', src: ip(src) as Ip6, dst: ip('ff02::2') as Ip6, hopLimit: 255 },
    transport: { kind: 'icmp6', type: 133, code: 0, id: 0, sequence: 0 },
    payload: Uint8Array.from(body),
  });
  check(net, 'a', [
    [solicitation('fd00::1', 1, 1, 2, 0, 0, 0, 0, 1), ''],
    [
      solicitation('fd00::1', 1, 1, 2, 0, 0, 0, 0, 0x66),
      `spoofed-nd fd00::1 is-at ${STRANGER}: not allowed`,
    ],
    [
      solicitation('::', 1, 1, 2, 0, 0, 0, 0, 1),
      'spoofed-nd a link-layer address for the unspecified address',
    ],
    [solicitation('::'), ''],
    // An option of no length, or of no MAC, says what nobody can know.
    [
      solicitation('fd00::1', 1, 0, 2, 0, 0, 0, 0, 1),
      'spoofed-nd the message cannot be read whole',
    ],
    [
      solicitation('fd00::1', 1, 2, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0),
      'spoofed-nd the message cannot be read whole',
    ],
  ]);
});

test('a discovery message cut short or in fragments cannot be judged', () => {
  const net = network();
  const whole = encodeFrame(
    discovery({ type: 136, src: 'fd00::1', dst: 'fd00::2', target: 'fd00::1', links: [[2, M1]] }),
  );
  assert.equal(refusal(net.send('a', whole)), '');
  assert.match(refusal(net.send('a', whole.slice(0, 62))), /^spoofed-nd the message cannot be/);
  const told = discovery({ type: 136, src: 'fd00::1', dst: 'fd00::2', target: 'fd00::1' });
  const atomic = Uint8Array.of(58, 0, 0, 0, 0, 0, 0, 7);
  const inFragment = encodeFrame({
    ...told,
    network: { ...told.network, nextHeader: 44, extensions: atomic } as Layers['network'],
  } as Layers);
  assert.match(refusal(net.send('a', inFragment)), /^spoofed-nd the message cannot be/);
});

test('DHCP to clients and between relays and servers, routes, redirects', () => {
  const net = network();
  check(net, 'a', [
    ['udp 10.0.0.1:67 > 10.0.0.3:68', 'dhcp-server udp port 68'],
    ['udp 10.0.0.1:67 > 255.255.255.255:68', 'dhcp-server udp port 68'],
    // Clients do not look at the port that an offer came from.
    ['udp 10.0.0.1:9 > 10.0.0.3:68', 'dhcp-server udp port 68'],
    ['udp 10.0.0.1:67 > 10.0.0.3:67', 'dhcp-server udp port 67'],
    ['udp 10.0.0.1:68 > 10.0.0.3:67', ''],
    ['udp [fd00::1]:547 > [fd00::3]:546', 'dhcp-server udp port 546'],
    ['udp [fd00::1]:547 > [ff05::1:3]:547', 'dhcp-server udp port 547'],
    [`udp [${LOCAL1}]:546 > [ff02::1:2]:547`, ''],
    // The ports of the other family are any others.
    ['udp [fd00::1]:67 > [fd00::3]:68', ''],
    [`icmp6 ${LOCAL1} > ff02::1 router-advertisement`, 'router-advertisement icmp6 type 134'],
    [`icmp6 ${LOCAL1} > fd00::3 type 137 code 0`, 'router-advertisement icmp6 type 137'],
    ['icmp 10.0.0.1 > 10.0.0.3 type 5 code 1', 'router-advertisement icmp type 5'],
    ['icmp 10.0.0.1 > 224.0.0.1 type 9 code 0', 'router-advertisement icmp type 9'],
    ['icmp 10.0.0.1 > 10.0.0.3 echo', ''],
    ['icmp6 fd00::1 > fd00::3 echo', ''],
  ]);
});

test('fragments: the first shows what it is, later ones are nothing without it', () => {
  const net = network();
  const part = (offset: number, more: boolean, transport?: Layers['transport']): Layers => ({
    ethernet: { src: mac(M1), dst: mac(M2) },
    network: {
      kind: 'ipv4',
      src: ip('10.0.0.1'),
      dst: ip('10.0.0.2'),
      ttl: 64,
      protocol: 17,
      fragmentOffset: offset,
      moreFragments: more,
    } as Layers['network'],
    ...(transport !== undefined && { transport }),
    payload: new Uint8Array(transport === undefined && offset === 0 ? 0 : 64),
  });
  const spoofed = part(1480, false);
  check(net, 'a', [
    [part(0, true, { kind: 'udp', srcPort: 9, dstPort: 53 }), ''],
    [part(0, true, { kind: 'udp', srcPort: 67, dstPort: 68 }), 'dhcp-server udp port 68'],
    [part(0, true), 'dhcp-server the upper header cannot be seen'],
    [part(1480, false), ''],
    [
      { ...spoofed, network: { ...spoofed.network, src: ip('10.0.0.3') } as Layers['network'] },
      `spoofed-ip source 10.0.0.3: not allowed with ${M1}`,
    ],
  ]);
});

test('frames whose addresses cannot be seen are not let in; those for the bridge end there', () => {
  const net = network();
  const unseen = (type: string): string =>
    `spoofed-ip type ${type}: its addresses cannot be checked`;
  check(net, 'a', [
    [`${M1} > ${M2} type 0x88a8`, unseen('0x88a8')],
    [`${M1} > ${M2} type 0x8847`, unseen('0x8847')],
    [`${M1} > ${M2} vlan 5 type 0x8864`, unseen('0x8864')],
  ]);
  const lldp = net.send('a', `${M1} > 01:80:c2:00:00:0e type 0x88cc`);
  assert.deepEqual(lldp.verdict, { kind: 'drop', reason: 'reserved-group' });
});

test('what a flow matches: addresses and, of UDP, where it goes; never more than decides', () => {
  const net = network();
  const fields = (frame: string): string => {
    const outcome = net.send('a', frame);
    return `${seen(outcome)}${outcome.cacheable ? '' : ' payload'}`;
  };
  const all = 'ethSrc ethDst ethType vlan';
  assert.equal(fields(`${M1} > ${M2} tcp 10.0.0.1:1 > 10.0.0.2:2 syn`), `${all} ipSrc ipProto`);
  assert.equal(fields(`${M1} > ${M2} udp 10.0.0.1:1 > 10.0.0.2:2`), `${all} ipSrc ipProto tpDst`);
  assert.equal(fields(`${M1} > ${M2} udp [fd00::1]:1 > [fd00::2]:2`), `${all} ipSrc ipProto tpDst`);
  assert.equal(fields(`${M1} > ${M2} udp 10.0.0.9:1 > 10.0.0.2:2`), 'ethSrc ethType ipSrc');
  assert.equal(fields(`${STRANGER} > ${M2} udp 10.0.0.9:1 > 10.0.0.2:2`), 'ethSrc');
  assert.equal(
    fields('arp reply 10.0.0.9 is-at 02:00:00:00:00:01'),
    'ethSrc ethType ipSrc ipProto',
  );
  assert.match(fields('arp who-has 10.0.0.2 tell 10.0.0.1'), / payload$/);
  // Where nothing is secured, nothing more is read than before.
  const plain = new Network().bridge('b0').bridgePort('a', 'b0').bridgePort('b', 'b0');
  assert.equal(
    seen(plain.send('a', `${M1} > ${M2} udp 10.0.0.1:1 > 10.0.0.2:2`)),
    'ethSrc ethDst vlan',
  );
});

test('an unspecified source in a prefix of everything is still nobody', () => {
  const net = network();
  net.put('port', 'a', { allowedAddresses: [{ ip: '0.0.0.0/0' }, { ip: '::/0' }] });
  check(net, 'a', [
    ['udp 192.0.2.7:1 > 192.0.2.1:2', ''],
    ['udp 0.0.0.0:1 > 192.0.2.1:2', `spoofed-ip source 0.0.0.0: not allowed with ${M1}`],
    ['udp [::]:1 > [fd00::2]:2', `spoofed-ip source ::: not allowed with ${M1}`],
  ]);
  const probe = encodeFrame(
    discovery({
      type: 135,
      src: '::',
      dst: 'ff02::1:ff00:9',
      target: 'fd00::9',
    }),
  );
  assert.equal(refusal(net.send('a', probe)), '');
});
