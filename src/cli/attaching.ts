/**
 * What attaching a workload to a port comes to: the port, found or made; a name for its cable; and
 * whether an agent says that it is up. What is done to the machine is `Wires`' part.
 */
import type { Client, Written } from '#client/types.ts';
import { ApiError } from '#client/errors.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { contains, formatPrefix, parseNetwork } from '#net/prefix.ts';
import { parseIp } from '#net/ip.ts';
import { RefusedError } from './io.ts';
import { type CliIo } from './io.ts';

export type Port = ObjectOf<'port'>;
export interface Seed {
  readonly mac: string;
  readonly ip?: string | undefined;
}

const POLL_MS = 50;
/** The first letters of cables: none of the agent's own devices begins so and goes on in hex. */
const CABLE = 'mn';
const CABLE_DIGITS = 12;

/** The name of the host's end of a port's cable: from the id, so that it is found again. */
export const cableOf = ({ id }: Pick<Port, 'id'>): string =>
  CABLE + id.replaceAll('-', '').slice(0, CABLE_DIGITS);

/** The port of that name or id; undefined when there is none. */
export async function portNamed(client: Client, name: string): Promise<Port | undefined> {
  try {
    return (await client.get('port', name)) as Port;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}

export const portIn = ({ objects }: Written): Port => {
  const [port] = objects;
  if (port === undefined) throw new Error('a port was written, and not answered');
  return port as Port;
};

/** Refuses a port that is somewhere else. */
export function checkFree(
  port: Port,
  at: { readonly host: string; readonly interface: string },
): void {
  const name = port.name;
  if (port.peer !== undefined)
    throw new RefusedError(
      `port ${name} is linked to another port, and cannot carry a workload`,
      `End the link first: mn port unlink ${name}`,
    );
  if (port.host === undefined || (port.host === at.host && port.interface === at.interface)) return;
  throw new RefusedError(
    `port ${name} is bound to ${port.interface} ${port.host === at.host ? 'here' : 'of another host'} already`,
    `Let it go first: mn detach ${name}, or mn port unbind ${name}`,
  );
}

/**
 * The addresses of a port with the lengths of their networks, which the routers linked to its
 * bridge know; and those of which none does.
 */
export async function addressesOf(
  client: Client,
  port: Port,
): Promise<{ readonly known: readonly string[]; readonly unknown: readonly string[] }> {
  const known: string[] = [];
  const unknown: string[] = [];
  const ips = seedsOf(port).flatMap(({ ip }) => (ip === undefined ? [] : [ip]));
  const bridge = port.bridge;
  if (ips.length === 0 || bridge === undefined) return { known, unknown };
  const siblings = (await client.listAll('port', { bridge })) as Port[];
  const networks: string[] = [];
  for (const { peer } of siblings)
    if (peer !== undefined)
      networks.push(...(((await client.get('port', peer)) as Port).networks ?? []));
  for (const text of ips) {
    const ip = parseIp(text);
    const network = networks
      .map(parseNetwork)
      .find((each) => each !== undefined && ip !== undefined && contains(each, ip));
    if (network === undefined || ip === undefined) unknown.push(text);
    else known.push(formatPrefix({ address: ip, length: network.length }));
  }
  return { known, unknown };
}

export const seedsOf = (port: Port): readonly Seed[] => port.addresses ?? [];

/** The seeds of a port with those of a workload among them; undefined: they are there. */
export function seedsWith(
  port: Port,
  mac: string,
  addresses: readonly string[],
): readonly Seed[] | undefined {
  if (port.type !== 'bridge') return undefined;
  const seeds = seedsOf(port);
  const wanted = addresses.map((text) => ({ mac, ip: text.split('/')[0] ?? text }));
  const missing = wanted.filter(
    (seed) => !seeds.some((each) => each.mac === seed.mac && each.ip === seed.ip),
  );
  return missing.length === 0 ? undefined : [...seeds, ...missing];
}

export type Raised =
  | { readonly up: true }
  /** `why` as the agent said it last; undefined: it has said nothing of the port. */
  | { readonly up: false; readonly why: string | undefined; readonly alive: boolean };

/** Waits until the agent of a host says that it carries the port, isolated. */
export async function waitUntilUp(
  { client, signal, sleep = pause }: Pick<CliIo, 'client' | 'signal' | 'sleep'>,
  { port, host }: { readonly port: string; readonly host: string },
  timeoutMs: number,
): Promise<Raised> {
  const attempts = Math.ceil(timeoutMs / POLL_MS);
  let last: Raised = { up: false, why: undefined, alive: false };
  for (let attempt = 0; attempt <= attempts; attempt++) {
    const status = (await client.status()).hosts.find((each) => each.host === host);
    const alive = status?.state === 'alive';
    if (alive && status.report?.portsUp.includes(port) === true) return { up: true };
    const why = status?.report?.portsDown.find((down) => down.port === port)?.why;
    last = { up: false, why, alive };
    if (signal?.aborted === true) break;
    if (attempt < attempts) await sleep(POLL_MS, signal);
  }
  return last;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
