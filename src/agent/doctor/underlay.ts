/** Checks of the network between hosts as this host sees it, and of interfaces of ports. */
import type { Link } from '#os/netlink/links.ts';
import { type Check, type Eye, finding, type Subject } from './eye.ts';

const quoted = (names: readonly string[]): string => names.join(', ');

/** The interfaces that carry the host's tunnel addresses. */
function carriers(eye: Eye, { addresses }: Subject): Link[] {
  const own = eye.addresses().filter(({ address }) => addresses.includes(address));
  return eye.links().filter(({ index }) => own.some((each) => each.index === index));
}

export const tunnelAddress: Check = (eye, { addresses }) => {
  const own = eye.addresses();
  return addresses
    .filter((address) => !own.some((each) => each.address === address))
    .map((address) =>
      finding('error', 'tunnel-address', {
        what: `no interface has the tunnel address ${address}: other hosts drop what is sent`,
        evidence: `addresses here: ${quoted(own.map((each) => each.address)).slice(0, 500)}`,
        remedy: `ip address add ${address} dev INTERFACE; or correct the zone: mn tunnel-zone update ZONE --add-members host=HOST,address=ADDRESS`,
      }),
    );
};

export const underlayLink: Check = (eye, subject) =>
  carriers(eye, subject)
    .filter(({ up, lowerUp }) => !up || !lowerUp)
    .map(({ name, up }) =>
      finding('error', 'underlay-down', {
        what: `${name}, which has the tunnel address, is down`,
        evidence: up ? 'it has no carrier' : 'it is set down',
        remedy: up ? `look at its cable: ip link show ${name}` : `ip link set ${name} up`,
      }),
    );

export const routes: Check = (eye, { peers }) => {
  const unreachable = peers.filter((peer) => (eye.wayOut(peer) ?? 0) === 0);
  if (unreachable.length === 0) return [];
  return [
    finding('error', 'no-route', {
      what: `there is no route to ${unreachable.length} of ${peers.length} other hosts`,
      evidence: quoted(unreachable.slice(0, 10)),
      remedy: `ip route get ${unreachable[0] ?? ''}; add a route, or bring the underlay up`,
    }),
  ];
};

/**
 * Strict filtering (RFC 3704) drops what comes by another interface than answers would leave by.
 */
export const reversePath: Check = (eye, subject) => {
  const strict = (name: string): boolean => {
    const of = (which: string): number =>
      Number(eye.read(`/proc/sys/net/ipv4/conf/${which}/rp_filter`) ?? 0);
    return Math.max(of('all'), of(name)) === 1;
  };
  const links = carriers(eye, subject).filter(({ name }) => strict(name));
  if (links.length === 0) return [];
  const elsewhere = subject.peers.filter((peer) => {
    const out = peer.includes(':') ? undefined : eye.wayOut(peer);
    return out !== undefined && !links.some(({ index }) => index === out);
  });
  if (elsewhere.length === 0) return [];
  const [{ name } = { name: '' }] = links;
  return [
    finding('warning', 'rp-filter', {
      what: `${name} filters by reverse path strictly, and answers to ${elsewhere.length} hosts leave elsewhere`,
      evidence: `net.ipv4.conf.${name}.rp_filter is 1; the way to ${elsewhere[0] ?? ''} leads by another interface`,
      remedy: `sysctl -w net.ipv4.conf.${name}.rp_filter=2 net.ipv4.conf.all.rp_filter=0`,
    }),
  ];
};

export const tunnelDevice: Check = (eye, { tunnelDevice: name, tunnelUdpPort: port }) => {
  const links = eye.links();
  const own = links.find((link) => link.name === name);
  const found = links
    .filter((link) => link.vxlanPort === port && link.name !== name)
    .map((link) =>
      finding('error', 'vxlan-port', {
        what: `${link.name} is a VXLAN device on the overlay's UDP port ${port} too`,
        evidence: `ip -d link show ${link.name}`,
        remedy: `ip link delete ${link.name}; or give one another port: mn agent --tunnel-port N, on every host`,
      }),
    );
  if (own === undefined || !own.up)
    found.push(
      finding('error', 'tunnel-device', {
        what: `${name}, the tunnel's device, is ${own === undefined ? 'gone' : 'down'}`,
        evidence: `ip link show ${name}`,
        remedy: 'restart the agent: it makes the device anew',
      }),
    );
  return found;
};

/**
 * Who has the overlay's port where the tunnel's device has not: while that is up, the socket there
 * is its own, and the kernel gives the port to nobody else.
 */
export const udpPort: Check = ({ read, links }, { tunnelUdpPort, tunnelDevice: name }) => {
  if (links().some((link) => link.name === name && link.up)) return [];
  const local = `:${tunnelUdpPort.toString(16).toUpperCase().padStart(4, '0')}`;
  const sockets = ['/proc/net/udp', '/proc/net/udp6'].flatMap((path) =>
    (read(path) ?? '')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[1]?.endsWith(local)),
  );
  if (sockets.length === 0) return [];
  return [
    finding('error', 'udp-port', {
      what: `another program has the overlay's UDP port ${tunnelUdpPort}`,
      evidence: `${name} is not up, and there are sockets: inodes ${quoted(sockets.map((fields) => fields[9] ?? ''))}`,
      remedy: `ss -ulpn sport = :${tunnelUdpPort}; stop it, or move the overlay: mn agent --tunnel-port N, on every host`,
    }),
  ];
};

export const portInterfaces: Check = (eye, { interfaces }) => {
  const links = eye.links();
  return interfaces.flatMap((name) => {
    const link = links.find((each) => each.name === name);
    // That an interface is not there, the agent says of the port.
    if (link === undefined || (link.up && link.lowerUp)) return [];
    return [
      finding('warning', 'interface-down', {
        what: `${name} carries a port, and nothing comes or goes by it`,
        evidence: link.up ? 'it has no carrier: its other end is down' : 'it is set down',
        remedy: link.up
          ? 'bring up its other end, in the container or VM'
          : `ip link set ${name} up`,
      }),
    ];
  });
};

/** Merged in hardware, segments cannot be taken apart again when they are sent on. */
export const largeReceive: Check = async (eye, subject) => {
  const names = new Set([...subject.interfaces, ...carriers(eye, subject).map(({ name }) => name)]);
  const hardware = eye.links().filter(({ name, kind }) => names.has(name) && kind === undefined);
  const found = [];
  for (const { name } of hardware.slice(0, OFFLOADS_LOOKED_AT_MAX)) {
    const features = (await eye.output('ethtool', '-k', name)) ?? '';
    if (!/^large-receive-offload: on/m.test(features)) continue;
    found.push(
      finding('warning', 'lro', {
        what: `${name} merges received segments in hardware: sent on, they are broken`,
        evidence: 'large-receive-offload: on',
        remedy: `ethtool -K ${name} lro off`,
      }),
    );
  }
  return found;
};
const OFFLOADS_LOOKED_AT_MAX = 32;
