/**
 * Programs on interfaces where the kernel has no TCX links: filters in direct action on the clsact
 * qdisc, one per interface and direction.
 *
 * What persists: a filter stays on its interface when its process ends, with no pin, and is told by
 * its place and its name (NAMES); a new agent puts its programs in their places without a gap. An
 * interface that is deleted takes its filters along, as it does with links.
 *
 * Somebody else's filters stay. Ours come first, at the priority that nothing is before, and answer
 * for every frame: so whatever another program filters there never sees a frame while ours is on.
 * When the place is taken by a filter of another kind, or the qdisc by another than clsact, the
 * interface is refused. A clsact that was there stays; one of ours (its filters' names say so) goes
 * with them, unless somebody has put filters there since.
 */
import type { DpPort } from '#flow/flow.ts';
import { ERRNO, SystemError } from '#os/libc.ts';
import {
  addClsact,
  deleteFilter,
  findFilter,
  FIRST_PRIORITY,
  HOOKS,
  listFilters,
  listQdiscs,
  putFilter,
  removeClsact,
} from '#os/netlink/filters.ts';
import type { FilterPlace, Hook } from '#os/netlink/filters.ts';
import { linkByIndex } from '#os/netlink/links.ts';
import type { PortPrograms } from './attach.ts';
import { quieten, setDown, takeAll } from './devices.ts';
import type { Programs } from './programs.ts';

/** Chosen not to meet others', whose handles are counted from 1. */
const HANDLE = 0x6d6e6574;
const PREFIX = 'midonet/';
/** Behind the name of a filter whose clsact is ours, too. */
const OWN_QDISC = '+clsact';
const PORT_PROGRAM = { ingress: 'port_in', egress: 'port_out' } as const;

const at = (ifindex: number, hook: Hook): FilterPlace => ({
  ifindex,
  hook,
  priority: FIRST_PRIORITY,
  handle: HANDLE,
});

/** The name of our filter there, without the prefix; undefined when there is none. */
function ours(ifindex: number, hook: Hook): string | undefined {
  const name = findFilter(at(ifindex, hook))?.name;
  return name?.startsWith(PREFIX) === true ? name.slice(PREFIX.length) : undefined;
}

/** Whether the clsact under our filters is ours; undefined when there is no filter of ours. */
function ownsQdisc(ifindex: number): boolean | undefined {
  for (const hook of HOOKS) {
    const name = ours(ifindex, hook);
    if (name !== undefined) return name.endsWith(OWN_QDISC);
  }
  return undefined;
}

/** Makes sure that there is a clsact; answers whether it is ours. */
function ensureQdisc(ifindex: number): boolean {
  const owned = ownsQdisc(ifindex);
  if (owned !== undefined) return owned;
  if (addClsact(ifindex)) return true;
  const others = listQdiscs().filter((each) => each.ifindex === ifindex);
  if (others.some(({ kind }) => kind === 'clsact')) return false;
  throw new Error(
    `interface ${ifindex} has an ingress qdisc in the place of clsact: remove it (tc qdisc del)`,
  );
}

function put(ifindex: number, hook: Hook, name: string, program: number): void {
  try {
    putFilter(at(ifindex, hook), name, program);
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== ERRNO.EINVAL) throw error;
    const [first] = listFilters(ifindex, hook);
    if (first?.priority !== FIRST_PRIORITY) throw error;
    throw new Error(
      `a filter (${first.kind}) at the ${hook} of interface ${ifindex} has the priority ` +
        `${FIRST_PRIORITY} that isolation needs: give it another one`,
      { cause: error },
    );
  }
}

/** Puts a program on, or in the place of ours. */
function attach(ifindex: number, hook: Hook, what: string, program: number): void {
  const suffix = ensureQdisc(ifindex) ? OWN_QDISC : '';
  put(ifindex, hook, `${PREFIX}${what}${suffix}`, program);
}

/** Takes off what is ours; whoever is behind the interface is no longer isolated then. */
function detach(ifindex: number): void {
  const own = ownsQdisc(ifindex);
  if (own === undefined) return;
  for (const hook of HOOKS) if (ours(ifindex, hook) !== undefined) deleteFilter(at(ifindex, hook));
  const isEmpty = HOOKS.every((hook) => listFilters(ifindex, hook).length === 0);
  if (own && isEmpty) removeClsact(ifindex);
}

const interfacesWithClsact = (): number[] =>
  listQdiscs()
    .filter(({ kind }) => kind === 'clsact')
    .map(({ ifindex }) => ifindex);

const isProgram = (name: string | undefined, what: string): boolean =>
  name === what || name === `${what}${OWN_QDISC}`;
const holds = (port: number, hook: Hook): boolean =>
  isProgram(ours(port, hook), PORT_PROGRAM[hook]);

export class ClsactPorts implements PortPrograms {
  readonly #programs: Programs;
  readonly #ports = new Set<DpPort>();

  constructor(programs: Programs) {
    this.#programs = programs;
    for (const ifindex of interfacesWithClsact()) {
      if (!HOOKS.some((hook) => holds(ifindex, hook))) continue;
      // It may go while we look.
      if (this.#attach(ifindex as DpPort)) this.#ports.add(ifindex as DpPort);
    }
  }

  /** Isolates first, as TCX does. False when there is no such interface. */
  #attach(port: DpPort): boolean {
    const link = linkByIndex(port);
    if (link === undefined) return false;
    for (const hook of HOOKS) {
      const what = PORT_PROGRAM[hook];
      attach(port, hook, what, this.#programs[what]);
    }
    quieten(link);
    takeAll(link);
    return true;
  }

  add(port: DpPort): void {
    if (this.#ports.has(port) && !this.#hasVanished(port)) return;
    try {
      if (!this.#attach(port)) throw new Error(`datapath: there is no interface ${port}`);
    } catch (error) {
      this.#remove(port);
      throw error;
    }
    this.#ports.add(port);
  }

  release(port: DpPort): void {
    if (this.#ports.has(port) && !this.#hasVanished(port)) setDown(port);
    this.#remove(port);
  }
  #remove(port: DpPort): void {
    this.#ports.delete(port);
    detach(port);
  }

  has(port: DpPort): boolean {
    return this.#ports.has(port);
  }
  list(): DpPort[] {
    return [...this.#ports];
  }
  vanished(): DpPort[] {
    return this.list().filter((port) => this.#hasVanished(port));
  }
  #hasVanished(port: DpPort): boolean {
    return !HOOKS.every((hook) => holds(port, hook));
  }

  /** The filters stay, and nothing else is held. */
  [Symbol.dispose](): void {
    this.#ports.clear();
  }
}

export interface OwnFilter {
  readonly name: string;
  readonly ifindex: number;
  readonly program: number;
  readonly hook: Hook;
}

/** The program of one of the datapath's own devices: swapped, or attached when there is none. */
export function attachOwnFilter({ name, ifindex, program, hook }: OwnFilter): void {
  attach(ifindex, hook, name, program);
}

/** Takes all our filters off the interfaces of this network namespace. */
export function removeAllFilters(): void {
  for (const ifindex of interfacesWithClsact()) detach(ifindex);
}
