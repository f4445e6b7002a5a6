/**
 * Cables for `mn attach`: made with their far end in the workload's namespace already, so that a
 * cable is there as a whole or not at all, whenever the maker is killed.
 *
 * Invariant: the host's end is left down. Only the agent sets it up, once it is isolated: before,
 * nothing of the workload reaches the host, and nothing of the host the workload.
 */
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  WireError,
  type AgentHere,
  type Cable,
  type InterfaceHere,
  type Wires,
} from '#client/wires.ts';
import { ownerOfDevices } from '#datapath/ebpf/lock.ts';
import {
  formatIp,
  isIp6,
  parseIp,
  readIp4,
  readIp6,
  writeIp4,
  writeIp6,
  type Ip,
} from '#net/ip.ts';
import { formatMac, parseMac, readMac, writeMac } from '#net/mac.ts';
import { formatPrefix, parseNetwork } from '#net/prefix.ts';
import { ERRNO, SystemError } from '#os/libc.ts';
import { addAddress, listAddresses } from '#os/netlink/addresses.ts';
import { createVeth, deleteLink, linkByName, setLink, type Link } from '#os/netlink/links.ts';
import { addDefaultRoute, defaultRoutes } from '#os/netlink/routes.ts';
import { killPoint } from '#os/kill-point.ts';
import { inNetns, netnsPath } from '#os/netns.ts';

/** In an agent's run directory: the id of its host. */
export const HOST_FILE = 'host';
const OWN_NETNS = '/proc/thread-self/ns/net';

const bytesOf = (ip: Ip): Uint8Array => {
  const bytes = new Uint8Array(isIp6(ip) ? 16 : 4);
  if (isIp6(ip)) writeIp6(bytes, 0, ip);
  else writeIp4(bytes, 0, ip);
  return bytes;
};
const ipOf = (bytes: Uint8Array): Ip =>
  bytes.length === 4 ? readIp4(bytes, 0) : readIp6(bytes, 0);
const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

function macBytes(text: string): Uint8Array {
  const mac = parseMac(text);
  if (mac === undefined) throw new WireError(`${text} is no MAC address`);
  const bytes = new Uint8Array(6);
  writeMac(bytes, 0, mac);
  return bytes;
}

/** Runs it; what the machine refuses is told with what was to be done. */
function told<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof SystemError)
      throw new WireError(
        `${what}: ${error.message}${error.code === ERRNO.EPERM ? ' (it needs root)' : ''}`,
      );
    // Of a file: the namespace, or its process, went meanwhile.
    if (error instanceof Error && 'syscall' in error)
      throw new WireError(`${what}: ${error.message}`);
    throw error;
  }
}

function agent(): AgentHere | undefined {
  const runDir = ownerOfDevices();
  if (runDir === undefined) return undefined;
  try {
    return { runDir, host: readFileSync(join(runDir, HOST_FILE), 'utf8').trim() };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new WireError(`${runDir}: ${code}: reading it needs root`);
  }
}

function interfaceNamed(name: string): InterfaceHere | undefined {
  const link = linkByName(name);
  if (link === undefined) return undefined;
  const addresses = listAddresses()
    .filter(({ index }) => index === link.index)
    .map(({ address, prefixLength }) => ({ address: ipOf(address), length: prefixLength }))
    .filter(({ address }) => !formatIp(address).startsWith('fe80:'))
    .map(formatPrefix);
  return { name, addresses, enslaved: link.master !== undefined };
}

const inode = (path: string): number => statSync(path).ino;

function netnsOf(of: { readonly pid: number } | { readonly name: string }): string {
  const path =
    'pid' in of ? `/proc/${of.pid}/ns/net` : of.name.includes('/') ? of.name : netnsPath(of.name);
  const what = 'pid' in of ? `process ${of.pid}` : path;
  if (!existsSync(path))
    throw new WireError(`there is no ${'pid' in of ? what : `namespace ${what}`}`);
  if (inode(path) !== inode(OWN_NETNS)) return path;
  throw new WireError(`${what} is in the host's own network namespace: name the interface instead`);
}

/** The end inside, if the cable leads there. */
const farEnd = (near: Link, { netns, inside }: Cable): Link | undefined => {
  const far = inNetns(netns, () => linkByName(inside));
  return far !== undefined && far.index === near.link && far.kind === 'veth' ? far : undefined;
};

/** The pair, made or found. */
function pair(cable: Cable): { far: Link; made: boolean } {
  const { outside, inside, netns, mtu, mac } = cable;
  const there = linkByName(outside);
  if (there !== undefined) {
    const far = there.kind === 'veth' ? farEnd(there, cable) : undefined;
    if (far !== undefined) return { far, made: false };
    throw new WireError(
      `the port's cable ${outside} leads elsewhere, not to ${inside} in ${netns}: detach it first`,
    );
  }
  if (inNetns(netns, () => linkByName(inside)) !== undefined)
    throw new WireError(
      `there is an interface ${inside} in ${netns} already: name another, --inside`,
    );
  const fd = openSync(netns, 'r');
  killPoint();
  try {
    createVeth({
      name: outside,
      peer: inside,
      peerNetnsFd: fd,
      peerMac: mac === undefined ? undefined : macBytes(mac),
      ...(mtu !== undefined && { mtu }),
    });
  } finally {
    closeSync(fd);
  }
  const near = linkByName(outside);
  const far = near && farEnd(near, cable);
  if (far === undefined) throw new WireError(`the cable ${outside} went as it was made: try again`);
  return { far, made: true };
}

/** MAC, MTU, addresses, carrier and routes of the end inside. */
function setUpInside(far: Link, { inside, mac, mtu, addresses, gateways }: Cable): void {
  const wanted = mac === undefined ? undefined : macBytes(mac);
  killPoint();
  if (wanted !== undefined && !sameBytes(wanted, far.mac)) setLink(far.index, { mac: wanted });
  if (mtu !== undefined && mtu !== far.mtu) setLink(far.index, { mtu });
  for (const text of addresses) {
    const network = parseNetwork(text);
    if (network === undefined)
      throw new WireError(`${text} is no address with a length, such as 10.0.0.5/24`);
    const { address, length } = network;
    const own = { index: far.index, address: bytesOf(address), prefixLength: length };
    killPoint();
    told(`${inside} cannot have ${text}`, () => addAddress(own, { detect: false }));
  }
  killPoint();
  if (!far.up) setLink(far.index, { up: true });
  for (const text of gateways) {
    const ip = parseIp(text);
    if (ip === undefined) throw new WireError(`${text} is no address of a gateway`);
    const route = { index: far.index, gateway: bytesOf(ip) };
    killPoint();
    if (told(`no default route by ${text}`, () => addDefaultRoute(route))) continue;
    const isThere = defaultRoutes().some(
      ({ index, gateway }) => index === far.index && sameBytes(gateway, route.gateway),
    );
    if (!isThere)
      throw new WireError(`there is another default route already: leave out --gateway ${text}`);
  }
}

function plug(cable: Cable): { mac: string; made: boolean } {
  return told(`cable ${cable.outside}`, () => {
    const { far, made } = pair(cable);
    const near = linkByName(cable.outside);
    const { mtu } = cable;
    killPoint();
    if (near !== undefined && mtu !== undefined && near.mtu !== mtu) setLink(near.index, { mtu });
    return inNetns(cable.netns, () => {
      setUpInside(far, cable);
      const now = linkByName(cable.inside);
      return { mac: formatMac(readMac((now ?? far).mac, 0)), made };
    });
  });
}

function unplug(outside: string): boolean {
  return told(`cable ${outside}`, () => {
    const link = linkByName(outside);
    if (link === undefined || link.kind !== 'veth') return false;
    killPoint();
    deleteLink(link.index);
    return true;
  });
}

/** The network namespace in which the process runs. */
export const hostWires: Wires = {
  agent,
  interface: interfaceNamed,
  netns: netnsOf,
  plug,
  unplug,
};
