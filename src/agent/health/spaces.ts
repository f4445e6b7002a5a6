/**
 * The namespaces from which a host checks members: one for each router, behind a port of it.
 *
 * They have no names: a namespace is there as long as this process holds it, and its cable goes
 * with it, so nothing is left however the process ends. Invariant: one thread makes and enters
 * them, and is elsewhere only while a socket is made, one at a time.
 */
import { closeFd } from '#os/libc.ts';
import { linkByName, setLink } from '#os/netlink/links.ts';
import { enterNetns, HeldNetns, inNetns, openNewNetns } from '#os/netns.ts';
import { hostWires } from '../wires.ts';
import type { Check, Space } from './duties.ts';
import type { Inside } from './prober.ts';

interface Made {
  readonly fd: number;
  readonly text: string;
}
const INSIDE = 'eth0';
const pathOf = (fd: number): string => `/proc/self/fd/${fd}`;

export class Spaces implements Disposable {
  readonly #made = new Map<string, Made>();
  readonly #home = new HeldNetns();
  #turn: Promise<unknown> = Promise.resolve();

  /** Makes what is wanted and not there, ends what is not wanted; tells what could not be made. */
  follow(spaces: readonly Space[], failed: (space: string, error: unknown) => void): void {
    const wanted = new Map(spaces.map((space) => [space.interface, space]));
    for (const [name, { text }] of this.#made) {
      const space = wanted.get(name);
      if (space === undefined || JSON.stringify(space) !== text) this.#end(name);
    }
    for (const [name, space] of wanted) {
      // Its cable may have been taken away.
      if (this.#made.has(name) && linkByName(name) === undefined) this.#end(name);
      if (this.#made.has(name)) continue;
      try {
        this.#make(space);
      } catch (error) {
        this.#end(name);
        failed(name, error);
      }
    }
  }
  #make(space: Space): void {
    const fd = openNewNetns();
    this.#made.set(space.interface, { fd, text: JSON.stringify(space) });
    inNetns(pathOf(fd), () => {
      const loopback = linkByName('lo');
      if (loopback !== undefined) setLink(loopback.index, { up: true });
    });
    const { interface: outside, addresses, gateways } = space;
    // What an earlier process has left of it leads nowhere.
    hostWires.unplug(outside);
    hostWires.plug({
      ...{ outside, inside: INSIDE, netns: pathOf(fd) },
      ...{ addresses, gateways, mac: undefined, mtu: undefined },
    });
  }
  #end(name: string): void {
    const made = this.#made.get(name);
    if (made === undefined) return;
    this.#made.delete(name);
    hostWires.unplug(name);
    closeFd(made.fd);
  }

  readonly inside: Inside = (check, begin) => {
    const turn = this.#turn.then(() => this.#within(check, begin));
    this.#turn = turn.catch(() => undefined);
    return turn;
  };
  async #within<T>({ space }: Check, begin: () => Promise<T> | T): Promise<T> {
    const made = this.#made.get(space);
    if (made === undefined) throw new Error('there is no namespace to check from yet');
    enterNetns(pathOf(made.fd));
    try {
      return await begin();
    } finally {
      this.#home.enter();
    }
  }

  [Symbol.dispose](): void {
    for (const name of [...this.#made.keys()]) this.#end(name);
    this.#home[Symbol.dispose]();
  }
}
