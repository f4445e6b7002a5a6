/**
 * Programs on interfaces, where the kernel has TCX: pinned links, one per interface and direction,
 * named by both.
 *
 * What persists: the pin owns the link, so a bound interface stays isolated, and its flows go on,
 * while no agent runs; a new agent swaps the programs in place, those of another layout too. What
 * does not: an interface that is deleted takes its link along, so a tap that is deleted and made
 * again under the same name while no agent runs is an ordinary interface of the host until the
 * guard (`guard.ts`) sees it, or the agent is back and adds it.
 *
 * A pin whose interface has vanished is removed when it is seen: at the start, and when the port is
 * let go. Until then it says which names are bound.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DpPort } from '#flow/flow.ts';
import { ATTACH, attachTcx, linkIfindex, openPinned, pin, updateLink } from '#os/bpf.ts';
import { closeFd } from '#os/libc.ts';
import { linkByIndex } from '#os/netlink/links.ts';
import type { Link } from '#os/netlink/links.ts';
import type { PortPrograms } from './attach.ts';
import { quieten, setDown, takeAll } from './devices.ts';
import { linkDir, makePinDir, otherLayouts, renamePin, unlinkPin, versionDir } from './pins.ts';
import type { LinkDir } from './pins.ts';
import type { Programs } from './programs.ts';

export type Direction = 'in' | 'out';

/** One attached program. */
export interface Attached {
  readonly path: string;
  readonly fd: number;
}

/** bpffs refuses dots in names; interface names may have any byte but / and blanks. */
const escape = (name: string): string =>
  name.replaceAll(/[^A-Za-z0-9_-]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
const fileName = (direction: Direction, ifindex: number, name: string): string =>
  `${direction}-${ifindex}-${escape(name)}`;

/** What a pin's file name says; undefined: it is none of ours. */
export function parsePinName(file: string): PinName | undefined {
  const [, direction, index, name = ''] = /^(in|out)-(\d+)-(.*)$/.exec(file) ?? [];
  if (direction !== 'in' && direction !== 'out') return undefined;
  const unescape = (_: string, hex: string): string => String.fromCharCode(parseInt(hex, 16));
  return { direction, port: Number(index), name: name.replaceAll(/%(\w\w)/g, unescape) };
}
export interface PinName {
  readonly direction: Direction;
  readonly port: number;
  readonly name: string;
}

/** Attaches a program to an interface and pins it; the descriptor is the caller's. */
export function attachPinned(
  dir: string,
  direction: Direction,
  program: number,
  { index, name }: Pick<Link, 'index' | 'name'>,
): Attached {
  const path = join(dir, fileName(direction, index, name));
  const where = direction === 'in' ? ATTACH.tcxIngress : ATTACH.tcxEgress;
  const fd = attachTcx(program, index, where);
  pin(fd, path);
  return { path, fd };
}

const ownLinkDir = (runDir: string, which: LinkDir): string =>
  linkDir({ dir: versionDir(runDir) }, which);
/** Where links of a kind can be: ours, then those of other layouts. */
const linkDirs = (runDir: string, which: LinkDir): string[] =>
  [{ dir: versionDir(runDir) }, ...otherLayouts(runDir)]
    .map((layout) => linkDir(layout, which))
    .filter((dir) => existsSync(dir));

export class Ports implements PortPrograms {
  readonly #dir: string;
  readonly #programs: Programs;
  readonly #ports = new Map<DpPort, Map<Direction, Attached>>();

  constructor(runDir: string, programs: Programs) {
    this.#dir = ownLinkDir(runDir, 'ports');
    this.#programs = programs;
    makePinDir(this.#dir);
    for (const dir of linkDirs(runDir, 'ports'))
      for (const name of readdirSync(dir)) this.#adopt(dir, name);
    for (const [port, links] of this.#ports) if (links.size < 2) this.#attach(port);
  }

  /** From our directory, or from another layout's: the program is ours before the pin is. */
  #adopt(dir: string, name: string): void {
    const pinned = parsePinName(name);
    const fd = pinned && openPinned(join(dir, name));
    if (fd === undefined || pinned === undefined) return;
    const { direction } = pinned;
    const port = pinned.port as DpPort;
    const good = linkIfindex(fd) === port && this.#ports.get(port)?.has(direction) !== true;
    if (!good || !updateLink(fd, this.#program(direction))) {
      closeFd(fd);
      unlinkPin(join(dir, name));
      return;
    }
    const path = join(this.#dir, name);
    if (dir !== this.#dir) renamePin(join(dir, name), path);
    this.#links(port).set(direction, { path, fd });
  }

  #program(direction: Direction): number {
    return direction === 'in' ? this.#programs.port_in : this.#programs.port_out;
  }
  #links(port: DpPort): Map<Direction, Attached> {
    let links = this.#ports.get(port);
    if (links === undefined) this.#ports.set(port, (links = new Map()));
    return links;
  }

  /** Isolates first: programs before anything that could make the host's stack speak. */
  #attach(port: DpPort): void {
    const link = linkByIndex(port);
    if (link === undefined) throw new Error(`datapath: there is no interface ${port}`);
    for (const direction of ['in', 'out'] as const) {
      if (this.#ports.get(port)?.has(direction) === true) continue;
      const attached = attachPinned(this.#dir, direction, this.#program(direction), link);
      this.#links(port).set(direction, attached);
    }
    quieten(link);
    takeAll(link);
  }

  add(port: DpPort): void {
    if (this.#ports.get(port)?.size === 2 && !this.#vanished(port)) return;
    this.remove(port);
    try {
      this.#attach(port);
    } catch (error) {
      this.remove(port);
      throw error;
    }
  }

  /**
   * Lets the interface go for good. It is set down first: whoever is behind it must not find the
   * host's own stack there just because a port was unbound. Whoever wants it otherwise sets it up.
   */
  release(port: DpPort): void {
    if (this.#ports.has(port) && !this.#vanished(port)) setDown(port);
    this.remove(port);
  }

  /** Takes our programs off; pins are removed whether the interface is still there or not. */
  remove(port: DpPort): void {
    for (const { path, fd } of this.#ports.get(port)?.values() ?? []) {
      unlinkPin(path);
      closeFd(fd);
    }
    this.#ports.delete(port);
  }

  has(port: DpPort): boolean {
    return this.#ports.has(port);
  }
  /** The kernel took their programs off: another interface may have their number by now. */
  vanished(): DpPort[] {
    return this.list().filter((port) => this.#vanished(port));
  }
  #vanished(port: DpPort): boolean {
    return [...(this.#ports.get(port)?.values() ?? [])].some(({ fd }) => linkIfindex(fd) !== port);
  }
  list(): DpPort[] {
    return [...this.#ports.keys()];
  }

  /** The attachments stay: only the descriptors are closed. */
  [Symbol.dispose](): void {
    for (const links of this.#ports.values()) for (const { fd } of links.values()) closeFd(fd);
  }
}

export interface OwnLink {
  readonly name: string;
  readonly ifindex: number;
  readonly program: number;
  readonly hook: 'ingress' | 'egress';
}

/**
 * The program of one of the datapath's own devices: adopted, from another layout too, or attached
 * anew when the device is.
 */
export function attachOwn(runDir: string, { name, ifindex, program, hook }: OwnLink): void {
  const path = join(ownLinkDir(runDir, 'own'), name);
  makePinDir(ownLinkDir(runDir, 'own'));
  let attached = false;
  for (const dir of linkDirs(runDir, 'own')) {
    const found = openPinned(join(dir, name));
    if (found === undefined) continue;
    const good: boolean = !attached && linkIfindex(found) === ifindex && updateLink(found, program);
    closeFd(found);
    if (!good) unlinkPin(join(dir, name));
    else if (join(dir, name) !== path) renamePin(join(dir, name), path);
    attached ||= good;
  }
  if (attached) return;
  const where = hook === 'ingress' ? ATTACH.tcxIngress : ATTACH.tcxEgress;
  const fd = attachTcx(program, ifindex, where);
  try {
    pin(fd, path);
  } finally {
    closeFd(fd);
  }
}
