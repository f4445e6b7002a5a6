/**
 * The wires of the compared networks. Peers get the wires of ours: the same number of namespaces,
 * cables of the same kind, made by the same code; only what joins the cables differs.
 *
 *   a, c on the switch of host h1; d on the same switch, on h2; b behind a router of ours, on h1
 */
import { parseRecipe } from '#lab/recipe.ts';

/** Leads nowhere else; the kernel of b (ours) or c (peers) answers for all of it. */
export const FAR = '20.0.0.0/6';
/** The first address of FAR. */
export const FAR_FIRST = 0x14000000;
/** Where questions come from that are each a new flow; a is the way back. */
export const NEAR = '30.0.0.0/8';
export const NEAR_FIRST = 0x1e000000;

export const MAC = {
  a: '02:00:00:be:00:0a',
  b: '02:00:00:be:00:0b',
  c: '02:00:00:be:00:0c',
  d: '02:00:00:be:00:0d',
  routerA: '02:00:00:be:ff:01',
  routerB: '02:00:00:be:ff:02',
} as const;
export const IP = { a: '10.1.0.10', b: '10.2.0.11', c: '10.1.0.12', d: '10.1.0.13' } as const;

const STATIONS = `
  a: { host: h1, bridge: la, mac: '${MAC.a}', addresses: [${IP.a}/16], via: [10.1.0.1] }
  c: { host: h1, bridge: la, mac: '${MAC.c}', addresses: [${IP.c}/16] }
  d: { host: h2, bridge: la, mac: '${MAC.d}', addresses: [${IP.d}/16] }
`;

export const NETWORK = parseRecipe(`
about: A switch across two hosts, and a router to a second switch.
hosts: [h1, h2]
bridges: { la: { tenant: bench, seeded: true }, lb: { tenant: bench, seeded: true } }
routers:
  r:
    tenant: bench
    ports:
      r-a: { bridge: la, networks: [10.1.0.1/16], mac: '${MAC.routerA}' }
      r-b: { bridge: lb, networks: [10.2.0.1/16], mac: '${MAC.routerB}' }
    routes:
      - { destination: ${FAR}, port: r-b, gateway: ${IP.b} }
      - { destination: ${NEAR}, port: r-a, gateway: ${IP.a} }
workloads:
  b: { host: h1, bridge: lb, mac: '${MAC.b}', addresses: [${IP.b}/16], via: [10.2.0.1] }
${STATIONS}
`);

/** The same on one host: what an emulated machine can carry. */
export const ONE_HOST = parseRecipe(`
about: Two switches and a router on one host.
hosts: [h1]
bridges: { la: { tenant: bench, seeded: true }, lb: { tenant: bench, seeded: true } }
routers:
  r:
    tenant: bench
    ports:
      r-a: { bridge: la, networks: [10.1.0.1/16], mac: '${MAC.routerA}' }
      r-b: { bridge: lb, networks: [10.2.0.1/16], mac: '${MAC.routerB}' }
workloads:
  a: { host: h1, bridge: la, mac: '${MAC.a}', addresses: [${IP.a}/16], via: [10.1.0.1] }
  b: { host: h1, bridge: lb, mac: '${MAC.b}', addresses: [${IP.b}/16], via: [10.2.0.1] }
  c: { host: h1, bridge: la, mac: '${MAC.c}', addresses: [${IP.c}/16] }
`);

export const FIREWALL = parseRecipe(`
about: A switch on one host.
hosts: [h1]
bridges: { la: { tenant: bench, seeded: true } }
workloads:
  a: { host: h1, bridge: la, mac: '${MAC.a}', addresses: [${IP.a}/16] }
  c: { host: h1, bridge: la, mac: '${MAC.c}', addresses: [${IP.c}/16] }
`);

export const ROUTED = parseRecipe(`
about: Two switches and a router on one host.
hosts: [h1]
bridges: { la: { tenant: bench, seeded: true }, lb: { tenant: bench, seeded: true } }
routers:
  r:
    tenant: bench
    ports:
      r-a: { bridge: la, networks: [10.1.0.1/16], mac: '${MAC.routerA}' }
      r-b: { bridge: lb, networks: [10.2.0.1/16], mac: '${MAC.routerB}' }
workloads:
  a: { host: h1, bridge: la, mac: '${MAC.a}', addresses: [${IP.a}/16], via: [10.1.0.1] }
  b: { host: h1, bridge: lb, mac: '${MAC.b}', addresses: [${IP.b}/16], via: [10.2.0.1] }
`);

export const ROUTED_PEER = parseRecipe(`
about: The wires of a router on one host.
hosts: [h1]
bridges: { la: { tenant: bench }, lb: { tenant: bench } }
workloads:
  a: { host: h1, bridge: la, mac: '${MAC.a}', addresses: [${IP.a}/16], via: [10.1.0.1] }
  b: { host: h1, bridge: lb, mac: '${MAC.b}', addresses: [${IP.b}/16], via: [10.2.0.1] }
`);

export const ONE_HOST_PEER = parseRecipe(`
about: The wires of a switch on one host.
hosts: [h1]
bridges: { la: { tenant: bench } }
workloads:
  a: { host: h1, bridge: la, mac: '${MAC.a}', addresses: [${IP.a}/16], via: [10.1.0.1] }
  c: { host: h1, bridge: la, mac: '${MAC.c}', addresses: [${IP.c}/16] }
`);

export const PEER_NETWORK = parseRecipe(`
about: The wires of a switch across two hosts.
hosts: [h1, h2]
bridges: { la: { tenant: bench } }
workloads:
${STATIONS}
`);

/** Many, for each port has a budget of first packets of its own. */
export const SENDERS = 24;
export const senderName = (i: number): string => `s${i}`;
export const senderMac = (i: number): string => `02:00:00:be:01:${i.toString(16).padStart(2, '0')}`;
export const senderIp = (i: number): string => `10.1.1.${i + 1}`;
/** Where all that they send goes. */
export const SINK = { name: 'to', mac: '02:00:00:be:02:00', ip: '10.2.0.2' } as const;

const senders = Array.from(
  { length: SENDERS },
  (_, i) =>
    `  ${senderName(i)}: { host: h1, bridge: ba, mac: '${senderMac(i)}',` +
    ` addresses: [${senderIp(i)}/16] }`,
).join('\n');
const sink = (bridge: string): string =>
  `  to: { host: h1, bridge: ${bridge}, mac: '${SINK.mac}', addresses: [${SINK.ip}/16] }`;

export const SET_UPS = parseRecipe(`
about: Senders, a router, and the gateway that all of their packets go to.
hosts: [h1]
bridges: { ba: { tenant: bench, seeded: true }, bb: { tenant: bench, seeded: true } }
routers:
  r:
    tenant: bench
    ports:
      r-a: { bridge: ba, networks: [10.1.0.1/16], mac: '${MAC.routerA}' }
      r-b: { bridge: bb, networks: [10.2.0.1/16], mac: '${MAC.routerB}' }
    routes: [{ destination: ${FAR}, port: r-b, gateway: ${SINK.ip} }]
workloads:
${senders}
${sink('bb')}
`);

export const SET_UPS_PEER = parseRecipe(`
about: The same senders and the same receiver.
hosts: [h1]
bridges: { ba: { tenant: bench } }
workloads:
${senders}
${sink('ba')}
`);
