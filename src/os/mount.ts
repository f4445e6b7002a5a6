/**
 * Own bpffs mounts: where pinned maps and links outlive the process.
 *
 * The pins live as long as the mount does. A mount made in a private mount namespace (`ip netns
 * exec` makes one) ends with its last process, and the pins with it. Start agents with `nsenter
 * --net=…` instead, or mount beforehand outside.
 */
import { mkdirSync, statfsSync } from 'node:fs';
import { ERRNO, Memory, must, syscallHolding, SYS } from './libc.ts';

/** linux/magic.h */
const BPF_FS_MAGIC = 0xcafe4a11;

export function isBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC;
  } catch {
    return false;
  }
}

/** Mounts a bpffs of its own at `path`, which is made; nothing happens when there is one. */
export function mountBpffs(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (isBpffs(path)) return;
  const held = [Memory.text('bpf'), Memory.text(path), Memory.text('mode=0700')] as const;
  const [type, target, data] = held;
  const result = syscallHolding(
    held,
    SYS.mount,
    type.address,
    target.address,
    type.address,
    0,
    data.address,
  );
  must(result, `mount a bpffs at ${path}`);
}

const MNT_DETACH = 2;

/** Unmounts whatever is mounted there; nothing happens when nothing is. */
export function unmount(path: string): void {
  const target = Memory.text(path);
  const result = syscallHolding([target], SYS.umount2, target.address, MNT_DETACH);
  if (result !== -ERRNO.EINVAL && result !== -ERRNO.ENOENT) must(result, `unmount ${path}`);
}
