/**
 * Programs on interfaces, where the kernel has TCX: pinned links, one per interface and direction,
 * named by both.
 *
 * What persists: the pin owns the link, so a bound interface stays isolated, and its flows go on,
 * while no agent runs; a new agent swaps the programs in place. What does not: an interface that is
 * deleted takes its link along, so a tap that is deleted and made again under the same name while
 * no agent runs is an ordinary interface of the host until the agent is back and adds it.
 *
 * A pin whose interface has vanished is removed when it is seen: at the start, and when the port is
 * let go.
 */
import { closeSync, mkdirSync, openSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { DpPort } from '#flow/flow.ts';
import { ATTACH, attachTcx, linkIfindex, openPinned, pin, updateLink } from '#os/bpf.ts';
import { closeFd } from '#os/libc.ts';
import { linkByIndex } from '#os/netlink/links.ts';
import type { PortPrograms } from './attach.ts';
import { quieten, setDown, takeAll } from './devices.ts';
import { versionDir } from './maps.ts';
import type { Programs } from './programs.ts';

type Direction = 'in' | 'out';

/** One attached program. */
interface Attached {
  readonly path: string;
  readonly fd: number;
}

/** bpffs refuses dots in names; interface names may have any byte but / and blanks. */
const escape = (name: string): string =>
  name.replaceAll(/[^A-Za-z0-9_-]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
const fileName = (direction: Direction, ifindex: number, name: string): string =>
  `${direction}-${ifindex}-${escape(name)}`;

export class Ports implements PortPrograms {
  readonly #dir: string;
  readonly #programs: Programs;
  readonly #ports = new Map<DpPort, Map<Direction, Attached>>();

  constructor(runDir: string, programs: Programs) {
    this.#dir = join(versionDir(runDir), 'ports');
    this.#programs = programs;
    mkdirSync(this.#dir, { recursive: true });
    for (const name of readdirSync(this.#dir)) this.#adopt(name);
    for (const [port, links] of this.#ports) if (links.size < 2) this.#attach(port);
  }

  #adopt(name: string): void {
    const [, direction, index] = /^(in|out)-(\d+)-/.exec(name) ?? [];
    const path = join(this.#dir, name);
    const fd = openPinned(path);
    if (fd === undefined || direction === undefined) return;
    const port = Number(index) as DpPort;
    if (linkIfindex(fd) !== port || !updateLink(fd, this.#program(direction as Direction))) {
      closeFd(fd);
      unlinkSync(path);
      return;
    }
    this.#links(port).set(direction as Direction, { path, fd });
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
      const path = join(this.#dir, fileName(direction, port, link.name));
      const where = direction === 'in' ? ATTACH.tcxIngress : ATTACH.tcxEgress;
      const fd = attachTcx(this.#program(direction), port, where);
      pin(fd, path);
      this.#links(port).set(direction, { path, fd });
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
      unlinkSync(path);
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
 * The program of one of the datapath's own devices: adopted, or attached anew when the device is.
 */
export function attachOwn(runDir: string, { name, ifindex, program, hook }: OwnLink): void {
  const dir = join(versionDir(runDir), 'own');
  mkdirSync(dir, { recursive: true });
  const path = join(dir, name);
  const found = openPinned(path);
  if (found !== undefined) {
    const good = linkIfindex(found) === ifindex && updateLink(found, program);
    closeFd(found);
    if (good) return;
    unlinkSync(path);
  }
  const where = hook === 'ingress' ? ATTACH.tcxIngress : ATTACH.tcxEgress;
  const fd = attachTcx(program, ifindex, where);
  try {
    pin(fd, path);
  } finally {
    closeFd(fd);
  }
}

/** An open file, for its lock. */
export const openLockFile = (runDir: string): number =>
  openSync(join(runDir, 'datapath.lock'), 'a', 0o600);
export const closeLockFile = (fd: number): void => closeSync(fd);
