/**
 * Named network namespaces (/run/netns, as `ip netns` keeps them), and running a function inside
 * one.
 *
 * Only the calling thread moves, and only for the synchronous call: sockets, netlink and BPF links
 * opened inside stay in that namespace for their life.
 */
import { closeSync, openSync } from 'node:fs';
import { must, syscall, SYS } from './libc.ts';

const CLONE_NEWNET = 0x40000000;

export const netnsPath = (name: string): string => `/run/netns/${name}`;

/** Moves this thread for good. `path`: such as /run/netns/NAME or /proc/PID/ns/net. */
export function enterNetns(path: string): void {
  const fd = openSync(path, 'r');
  try {
    must(syscall(SYS.setns, fd, CLONE_NEWNET), `enter ${path}`);
  } finally {
    closeSync(fd);
  }
}

/** The namespace this thread is in, held open so that it can come back. */
export class HeldNetns implements Disposable {
  readonly #fd = openSync('/proc/thread-self/ns/net', 'r');

  enter(): void {
    must(syscall(SYS.setns, this.#fd, CLONE_NEWNET), 'return to a network namespace');
  }
  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** Calls `inside` in the namespace at `path` and comes back, also when it throws. */
export function inNetns<T>(path: string, inside: () => T): T {
  using home = new HeldNetns();
  enterNetns(path);
  try {
    return inside();
  } finally {
    home.enter();
  }
}

/**
 * A new namespace without a name, as a file descriptor: it is there as long as that, or anything in
 * it, is open, so it goes with this process however that ends.
 */
export function openNewNetns(): number {
  using home = new HeldNetns();
  must(syscall(SYS.unshare, CLONE_NEWNET), 'make a network namespace');
  try {
    return openSync('/proc/thread-self/ns/net', 'r');
  } finally {
    home.enter();
  }
}
