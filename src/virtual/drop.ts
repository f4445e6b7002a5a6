/**
 * Every reason for which a frame is dropped, by the simulation, the agent or the kernel program.
 *
 * A closed list: nothing is dropped for an unnamed reason and nothing is dropped uncounted. The
 * code is what the kernel counts by; codes are never reused, because counters outlive an upgrade.
 */
export const DROPS = {
  'port-down': { code: 1, about: 'The port is administratively down.' },
  'bridge-down': { code: 2, about: 'The bridge is administratively down.' },
  'source-not-unicast': {
    code: 3,
    about: 'The source MAC is a group address or zero (IEEE 802.3 §3.2.3).',
  },
  'same-port': {
    code: 4,
    about: 'The destination is behind the port the frame came from, and hairpin is off.',
  },
  'no-recipient': {
    code: 5,
    about: 'The flood has nobody to reach: no other port of the bridge is up.',
  },
  'not-located': {
    code: 6,
    about: 'The destination port is not up on any host, or its host has no tunnel address.',
  },
  'flood-limit': {
    code: 7,
    about:
      'The flood has more recipients than one flow can carry, or more bridges to reach than 256.',
  },
  'no-port': {
    code: 8,
    about: 'The frame came from an interface, or for a key, that no virtual port owns.',
  },
  malformed: { code: 9, about: 'The frame is too short for the headers it claims to have.' },
  'unknown-sender': {
    code: 10,
    about: 'A tunnel frame came from a host that may not send on this network.',
  },
  'unknown-key': { code: 11, about: 'A tunnel frame carries a key that no port here owns.' },
  'upcall-lost': { code: 12, about: 'The queue of first packets to the agent was full.' },
  'not-ours': { code: 13, about: "The host's own stack tried to talk through a bound interface." },
  'stale-injection': {
    code: 14,
    about: 'A re-injected frame named a flow that had just been invalidated.',
  },
  'reserved-group': {
    code: 17,
    about:
      'The destination is a group that no bridge forwards: 01:80:c2:00:00:0x (IEEE 802.1Q §8.6.3).',
  },
  'injection-lost': {
    code: 18,
    about: 'A frame of the agent, a first packet or an answer, was not taken by the kernel.',
  },
  'router-down': { code: 19, about: 'The router is administratively down.' },
  'not-for-router': {
    code: 20,
    about: 'The frame is not for the router: another MAC, tagged, a group, or neither IP nor ARP.',
  },
  'no-route': { code: 21, about: 'The router has no route to the destination.' },
  'route-blackhole': { code: 22, about: 'The route to the destination is a blackhole.' },
  'route-reject': { code: 23, about: 'The route to the destination rejects it.' },
  'ttl-exceeded': { code: 24, about: 'The TTL or hop limit ran out at the router.' },
  'too-big': {
    code: 25,
    about: 'The packet is larger than the MTU of the way on, and must not be cut.',
  },
  'neighbour-unreachable': {
    code: 26,
    about: 'The next hop did not answer ARP or neighbour solicitations.',
  },
  'neighbour-limit': {
    code: 27,
    about: 'Too many packets, or addresses, wait for the MAC of a next hop already.',
  },
  'too-many-hops': { code: 28, about: 'The frame crossed more virtual devices than a walk may.' },
  'vlan-mismatch': {
    code: 29,
    about: 'The frame is not of the VLAN that the link between two bridges carries.',
  },
  'not-forwardable': {
    code: 30,
    about:
      'No router forwards to or from this address: multicast, broadcast, loopback, link-local (RFC 1812 §5.3).',
  },
  'local-refused': {
    code: 31,
    about: "The packet is for the router's own address, where nothing listens for it.",
  },
  'reassembly-limit': {
    code: 32,
    about:
      'A fragment for a router came to nothing: others are missing, contradict it, or too many.',
  },
  'upcall-budget': {
    code: 33,
    about: 'The port, or the host behind the tunnel, sent more first packets than its share.',
  },
  'address-hidden': {
    code: 40,
    about:
      'An IPv6 address was to be changed, but extension headers hide one that the checksum covers.',
  },
  'upcall-share': {
    code: 41,
    about: "The port's part of the queue of first packets to the agent was full.",
  },
  'upcall-refused': { code: 16, about: 'The agent was not ready to decide: no topology yet.' },
} as const;

export type DropReason = keyof typeof DROPS;
export const DROP_CODES_MAX = 64;

const byCode = new Map<number, DropReason>(
  (Object.keys(DROPS) as DropReason[]).map((reason) => [DROPS[reason].code, reason]),
);
export const dropReasonOf = (code: number): DropReason | undefined => byCode.get(code);
