/**
 * Where a lab keeps everything: namespaces `mn.LAB.PART`, files under /run/midonet/labs/LAB,
 * addresses of the underlay. Only names made here are ever created, and only these are ever
 * removed.
 */
import { workloadsOf, type Recipe } from './recipe.ts';

export const LABS_DIR = '/run/midonet/labs';

/** The namespace that holds the underlay's bridge, and the one that holds the API. */
export const UNDERLAY_PART = 'net';
export const API_PART = 'api';
/** The interface of hosts, outsiders and API on the underlay. */
export const UNDERLAY_INTERFACE = 'ul0';
/** Room for the bytes of VXLAN (RFC 7348 §5), so that workloads keep 1500. */
export const UNDERLAY_MTU = { ipv4: 1550, ipv6: 1570 } as const;
export const underlayMtu = ({ underlay, underlayMtu: mtu }: Recipe): number =>
  mtu ?? UNDERLAY_MTU[underlay];
export const API_PORT = 8470;
/** The UDP port of the overlay: the agent's default. */
export const TUNNEL_UDP_PORT = 6677;

const OUTSIDER_FIRST = 200;
const API_LAST_OCTET = 254;

export function checkLabName(name: string): string {
  if (/^[a-z][a-z0-9-]{0,19}$/.test(name)) return name;
  throw new Error(`a lab's name must be 1 to 20 lower-case letters, digits or -, not '${name}'`);
}

export const labDir = (lab: string): string => `${LABS_DIR}/${lab}`;
export const apiUrl = `http://172.30.0.${API_LAST_OCTET}:${API_PORT}`;
export const apiSocket = (lab: string): string => `${labDir(lab)}/api.sock`;
export const apiListen = `172.30.0.${API_LAST_OCTET}:${API_PORT}`;

/** The network namespace of one part of a lab, as `ip netns` knows it. */
export const netnsOf = (lab: string, part: string): string => `mn.${lab}.${part}`;

/**
 * Every part of a lab that is a namespace of its own; the underlay first. VMs are in their host's.
 */
export const partsOf = (recipe: Recipe): string[] => [
  UNDERLAY_PART,
  API_PART,
  ...recipe.hosts,
  ...recipe.outsiders,
  ...workloadsOf(recipe, 'namespace').map(([name]) => name),
];

export const namespacesOf = (lab: string, recipe: Recipe): string[] =>
  partsOf(recipe).map((part) => netnsOf(lab, part));

/** One machine on the underlay. */
export interface Machine {
  readonly part: string;
  readonly address: string;
  /** By which the tunnels of other hosts reach it. */
  readonly tunnelAddress: string;
  readonly mac: string;
  /** The end of its cable on the underlay's bridge. */
  readonly cable: string;
}

const machine = ({ underlay }: Recipe, part: string, lastOctet: number): Machine => ({
  part,
  address: `172.30.0.${lastOctet}`,
  tunnelAddress: underlay === 'ipv6' ? `fd30::${lastOctet.toString(16)}` : `172.30.0.${lastOctet}`,
  mac: `02:1a:b0:00:00:${lastOctet.toString(16).padStart(2, '0')}`,
  cable: `ul-${part}`,
});

export const machinesOf = (recipe: Recipe): Machine[] => [
  ...recipe.hosts.map((host, i) => machine(recipe, host, i + 1)),
  ...recipe.outsiders.map((part, i) => machine(recipe, part, OUTSIDER_FIRST + i)),
  machine(recipe, API_PART, API_LAST_OCTET),
];

export function machineOf(recipe: Recipe, part: string): Machine {
  const found = machinesOf(recipe).find((m) => m.part === part);
  if (found === undefined) throw new Error(`${part} is no machine of this lab`);
  return found;
}
