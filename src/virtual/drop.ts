/**
 * Every reason for which a frame is dropped, by the simulation, the agent or the kernel program.
 *
 * A closed list: nothing is dropped for an unnamed reason and nothing is dropped uncounted. The
 * code is what the kernel counts by; codes are never reused, because counters outlive an upgrade.
 * `about` says what happened, `remedy` what an operator can do about it.
 */
interface Drop {
  readonly code: number;
  readonly about: string;
  readonly remedy: string;
}
export const DROPS = {
  'port-down': {
    code: 1,
    about: 'The port is administratively down.',
    remedy: '`mn port update PORT --admin-state-up true`, if it is not meant to be down.',
  },
  'bridge-down': {
    code: 2,
    about: 'The bridge is administratively down.',
    remedy: '`mn bridge update BRIDGE --admin-state-up true`, if it is not meant to be down.',
  },
  'source-not-unicast': {
    code: 3,
    about: 'The source MAC is a group address or zero (IEEE 802.3 §3.2.3).',
    remedy:
      'Find the sender: no station may send with such an address. A broken driver, or an attack.',
  },
  'same-port': {
    code: 4,
    about: 'The destination is behind the port the frame came from, and hairpin is off.',
    remedy:
      'None is needed on a segment that hears its own frames. Stations behind one port that reach each other only through the bridge need `mn port update PORT --hairpin true`.',
  },
  'no-recipient': {
    code: 5,
    about: 'The flood has nobody to reach: no other port of the bridge is up.',
    remedy:
      'Bind or link another port to the bridge, or set one up. A lone workload asking for its neighbours is normal.',
  },
  'not-located': {
    code: 6,
    about: 'The destination port is not up on any host, or its host has no tunnel address.',
    remedy:
      '`mn status` says which ports are down and why; `mn tunnel-zone show ZONE` which hosts have an address.',
  },
  'flood-limit': {
    code: 7,
    about:
      'The flood has more recipients than one flow can carry, or more bridges to reach than 256.',
    remedy: 'Divide the bridge: join parts of it by a router instead of links.',
  },
  'no-port': {
    code: 8,
    about: 'The frame came from an interface, or for a key, that no virtual port owns.',
    remedy: 'Bind the interface to a port. Shortly after a port was deleted it is normal.',
  },
  malformed: {
    code: 9,
    about: 'The frame is too short for the headers it claims to have.',
    remedy:
      'Capture at the sender. A tunnel path that cuts frames, or a workload that makes its own headers.',
  },
  'unknown-sender': {
    code: 10,
    about: 'A tunnel frame came from a host that may not send on this network.',
    remedy:
      'Let the zone hold the address that the host really sends from (`ip route get` there). From no host at all: somebody on the underlay is probing.',
  },
  'unknown-key': {
    code: 11,
    about: 'A tunnel frame carries a key that no port here owns.',
    remedy:
      'Shortly after a port was deleted or moved it is normal. If it lasts, the sender lags: `mn status`.',
  },
  'upcall-lost': {
    code: 12,
    about: 'The queue of first packets to the agent was full.',
    remedy:
      'The agent is slower than first packets come: see its CPU time, and which port sends most (`mn agent stats`).',
  },
  'not-ours': {
    code: 13,
    about: "The host's own stack tried to talk through a bound interface.",
    remedy:
      'Take addresses, routes and services off the interface: it belongs to the virtual network. A few frames when an interface appears are normal.',
  },
  'stale-injection': {
    code: 14,
    about: 'A re-injected frame named a flow that had just been invalidated.',
    remedy:
      'None: the sender sends again. If it grows all the time, find what edits the network so often (`mn watch`).',
  },
  'reserved-group': {
    code: 17,
    about:
      'The destination is a group that no bridge forwards: 01:80:c2:00:00:0x (IEEE 802.1Q §8.6.3).',
    remedy:
      'None: such frames (spanning tree, LACP, LLDP) are for the next station only. Switch them off in the workload to quieten the counter.',
  },
  'injection-lost': {
    code: 18,
    about: 'A frame of the agent, a first packet or an answer, was not taken by the kernel.',
    remedy: 'See the host for lack of memory; the sender sends again.',
  },
  'router-down': {
    code: 19,
    about: 'The router is administratively down.',
    remedy: '`mn router update ROUTER --admin-state-up true`, if it is not meant to be down.',
  },
  'not-for-router': {
    code: 20,
    about: 'The frame is not for the router: another MAC, tagged, a group, or neither IP nor ARP.',
    remedy:
      "Look at the sender's neighbour table: the MAC of its gateway is an old one, or the frame is tagged or no IP.",
  },
  'no-route': {
    code: 21,
    about: 'The router has no route to the destination.',
    remedy: '`mn route list --where router=ROUTER`: add a route, or a default route.',
  },
  'route-blackhole': {
    code: 22,
    about: 'The route to the destination is a blackhole.',
    remedy: 'None, if the blackhole is meant. `mn route list` shows it.',
  },
  'route-reject': {
    code: 23,
    about: 'The route to the destination rejects it.',
    remedy: 'None, if the rejection is meant. `mn route list` shows it.',
  },
  'ttl-exceeded': {
    code: 24,
    about: 'The TTL or hop limit ran out at the router.',
    remedy:
      'Traceroute does this. Otherwise look for routes that lead in a circle: `mn trace` shows the way.',
  },
  'too-big': {
    code: 25,
    about: 'The packet is larger than the MTU of the way on, and must not be cut.',
    remedy:
      'Give the workload the MTU that fits, or the underlay a larger one; let ICMP errors reach the sender.',
  },
  'neighbour-unreachable': {
    code: 26,
    about: 'The next hop did not answer ARP or neighbour solicitations.',
    remedy:
      'See that the next hop is up and in the network of the port: `mn trace`, and ARP inside the workload.',
  },
  'neighbour-limit': {
    code: 27,
    about: 'Too many packets, or addresses, wait for the MAC of a next hop already.',
    remedy:
      'Somebody scans addresses that nobody has: find the sender by port. Otherwise wait for the neighbours to answer.',
  },
  'too-many-hops': {
    code: 28,
    about: 'The frame crossed more virtual devices than a walk may.',
    remedy:
      'Look for devices that are linked in a circle, or shorten the way: `mn trace` lists them.',
  },
  'vlan-mismatch': {
    code: 29,
    about: 'The frame is not of the VLAN that the link between two bridges carries.',
    remedy:
      'Send without the tag that the link takes off and puts on, or give the port the right `--vlan`.',
  },
  'not-forwardable': {
    code: 30,
    about:
      'No router forwards to or from this address: multicast, broadcast, loopback, link-local (RFC 1812 §5.3).',
    remedy:
      'None: link-local and multicast end at the link. Otherwise the workload has the wrong address.',
  },
  'local-refused': {
    code: 31,
    about: "The packet is for the router's own address, where nothing listens for it.",
    remedy:
      "None: a router answers echo requests, not services. Scans of a gateway's ports end here.",
  },
  'reassembly-limit': {
    code: 32,
    about:
      'A fragment for a router came to nothing: others are missing, contradict it, or too many.',
    remedy:
      'Ping the router with less than the MTU. From many senders it is an attack with fragments; each port pays for its own.',
  },
  'upcall-budget': {
    code: 33,
    about: 'The port, or the host behind the tunnel, sent more first packets than its share.',
    remedy:
      'The port opens more new flows than its share: find out why (a scan, a storm), or raise `mn agent --port-upcalls`.',
  },
  'address-hidden': {
    code: 40,
    about:
      'An IPv6 address was to be changed, but extension headers hide one that the checksum covers.',
    remedy:
      'Let the workload send without a routing header or home address option where its addresses are rewritten.',
  },
  'upcall-share': {
    code: 41,
    about: "The port's part of the queue of first packets to the agent was full.",
    remedy:
      'As with `upcall-budget`: the port sends more first packets than are decided. Other ports are not affected.',
  },
  'filter-drop': {
    code: 42,
    about: 'A rule of a filter drops the packet.',
    remedy: '`mn trace` names the chain and the rule. None, if it is meant to be dropped.',
  },
  'filter-reject': {
    code: 43,
    about: 'A rule of a filter rejects the packet; its sender is told where that is allowed.',
    remedy: '`mn trace` names the chain and the rule. None, if it is meant to be rejected.',
  },
  'filter-limit': {
    code: 50,
    about: 'The chains of a filter lead on for too long: 32 deep, or 256 rules that match.',
    remedy: 'Let rules of the first chain decide more, and jump less: `mn trace` lists the jumps.',
  },
  'connection-limit': {
    code: 51,
    about: 'There was no room for one more connection record on the host.',
    remedy:
      'More room: `mn agent --connections`. A port never has more than half of it, so several ports have very many.',
  },
  'spoofed-mac': {
    code: 44,
    about: 'The source MAC is not one that the port may send from, or is secured at another port.',
    remedy:
      'The trace names it. If it is meant, add it: `mn port update PORT --allowed-addresses ip=ADDRESS,mac=MAC`. Otherwise find out what the workload does.',
  },
  'spoofed-ip': {
    code: 45,
    about:
      'The source address is not one that the port may send from with that MAC, or the frame is of a type in which that cannot be seen.',
    remedy:
      'The trace names it. If it is meant (a router, a shared address), add it to `--allowed-addresses`. Types but ARP, IPv4 and IPv6, and second tags, need `--security off`.',
  },
  'spoofed-arp': {
    code: 46,
    about:
      'An ARP message claims an address, or a MAC for it, that the port may not have, or that is secured at another port.',
    remedy:
      'The trace names it. If a shared address is meant, add it to `--allowed-addresses`. Otherwise the workload tries to take over an address.',
  },
  'spoofed-nd': {
    code: 47,
    about:
      'A message of neighbour discovery claims an address, or a MAC for it, that the port may not have, or that is secured at another port, or cannot be read whole.',
    remedy:
      'The trace names it. Addresses that IPv6 hosts make themselves (RFC 7217, RFC 8981) must be in `--allowed-addresses`: fe80::/64, or the prefix of the network.',
  },
  'dhcp-server': {
    code: 48,
    about: 'A DHCP or DHCPv6 message to a client or a relay, from a port that may offer none.',
    remedy:
      'A DHCP server or relay of your own needs a port with `--security off`. Otherwise the workload runs one that it should not.',
  },
  'router-advertisement': {
    code: 49,
    about:
      'A router advertisement or redirect, or a packet that could hide one, from a port that may offer no routes.',
    remedy:
      'A router of your own needs a port with `--security off`. Packets whose first fragment hides the upper header, or with more than 6 IPv6 extension headers, are never let through.',
  },
  'nat-exhausted': {
    code: 53,
    about:
      'No public port was left for one more connection: of those that this host owns, and none more could be had.',
    remedy:
      '`mn connections --ports` shows who owns them. Give the snat rule more addresses, or wait for connections to end; without the API a host keeps to what it owns.',
  },
  'translations-limit': {
    code: 54,
    about: 'More than 4 rules on the way have translated one connection.',
    remedy: 'The trace names them. Translate once where the packet leaves, not at every router.',
  },
  'vip-down': {
    code: 55,
    about: 'The VIP, or its load balancer, is administratively down: it takes no new connection.',
    remedy:
      '`mn vip update VIP --admin-state-up true`, or that of the load balancer, if it is not meant to be down.',
  },
  'no-member': {
    code: 56,
    about: 'No member of the pool, nor of its backup, could take one more connection.',
    remedy:
      '`mn load-balancer status LB` shows which members are down and why, drained, or administratively down.',
  },
  'session-limit': {
    code: 57,
    about: 'The VIP has as many connections as it may have.',
    remedy:
      '`mn vip show VIP` has the limit: raise it, or wait for connections to end. A client that opens very many may be an attack.',
  },
  'member-lost': {
    code: 58,
    about: 'The connection was with a member that is down or gone; nobody else knows it.',
    remedy:
      '`mn load-balancer status LB` shows why a member is down. A client opens a new connection by itself; with `--on-member-down keep` connections wait for their member.',
  },
  'unknown-answer': {
    code: 59,
    about:
      'A member of a pool answered a new connection, and the host that opened it did not say whether it was one to a VIP.',
    remedy:
      'None while an agent starts anew: the member sends it again. If it lasts, see the agent of the host where the client is: `mn status`, `mn doctor`.',
  },
  'upcall-refused': {
    code: 16,
    about: 'The agent was not ready to decide: no topology yet.',
    remedy:
      'Wait for the agent to reach the API: `mn status` shows the host. After a start it is normal for moments.',
  },
} as const satisfies Record<string, Drop>;

export type DropReason = keyof typeof DROPS;
/** Codes of reasons that counters have room for. */
export const DROP_CODES_MAX = 64;

const byCode = new Map<number, DropReason>(
  (Object.keys(DROPS) as DropReason[]).map((reason) => [DROPS[reason].code, reason]),
);
export const dropReasonOf = (code: number): DropReason | undefined => byCode.get(code);
