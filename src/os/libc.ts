/**
 * Every native call of the product: one libc entry point, `syscall(2)`, and memory that the kernel
 * may write.
 *
 * Why one door: a wrong address corrupts the process without a trace, so addresses are made only
 * here, by `Memory`, which owns its bytes. Invariant: a `Memory` must be reachable from a
 * long-lived object, or from the argument list of the call, for as long as the kernel may touch it;
 * addresses alone keep nothing alive. Socket calls act in the network namespace of the calling
 * thread.
 */
import koffi from 'koffi';
import { hasKillPoints, killPoint } from './kill-point.ts';

const libc = koffi.load('libc.so.6');
const native = libc.func(
  'long syscall(long, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t)',
);

const X64 = {
  read: 0,
  rt_sigprocmask: 14,
  ioctl: 16,
  write: 1,
  close: 3,
  mmap: 9,
  munmap: 11,
  socket: 41,
  sendto: 44,
  recvfrom: 45,
  recvmsg: 47,
  bind: 49,
  setsockopt: 54,
  getsockopt: 55,
  flock: 73,
  mount: 165,
  umount2: 166,
  timerfd_create: 283,
  timerfd_settime: 286,
  eventfd2: 290,
  epoll_create1: 291,
  epoll_ctl: 233,
  epoll_pwait: 281,
  sendmmsg: 307,
  setns: 308,
  unshare: 272,
  bpf: 321,
  clockGettime: 228,
} as const;
const ARM64: Readonly<Record<keyof typeof X64, number>> = {
  read: 63,
  rt_sigprocmask: 135,
  ioctl: 29,
  write: 64,
  close: 57,
  mmap: 222,
  munmap: 215,
  socket: 198,
  sendto: 206,
  recvfrom: 207,
  recvmsg: 212,
  bind: 200,
  setsockopt: 208,
  getsockopt: 209,
  flock: 32,
  mount: 40,
  umount2: 39,
  timerfd_create: 85,
  timerfd_settime: 86,
  eventfd2: 19,
  epoll_create1: 20,
  epoll_ctl: 21,
  epoll_pwait: 22,
  sendmmsg: 269,
  setns: 268,
  unshare: 97,
  bpf: 280,
  clockGettime: 113,
};
/** System call numbers of this machine (asm/unistd_64.h, asm-generic/unistd.h). */
export const SYS: Readonly<Record<keyof typeof X64, number>> =
  process.arch === 'arm64' ? ARM64 : X64;

/** The errors that callers tell apart (asm-generic/errno.h). */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  ENOLINK: 67,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  ENOBUFS: 105,
  ENETDOWN: 100,
} as const;

/** Some numbers have two names (EAGAIN is EWOULDBLOCK): those above win. */
const names = new Map<number, string>(
  [...Object.entries(koffi.os.errno), ...Object.entries(ERRNO)].map(([name, code]) => [code, name]),
);

/** ENOENT for 2, and so on. */
export const errnoName = (code: number): string => names.get(code) ?? `errno ${code}`;

/** The kernel refused. `code` is the positive errno. */
export class SystemError extends Error {
  readonly code: number;
  constructor(what: string, code: number) {
    super(`${what}: ${errnoName(code)}`);
    this.name = 'SystemError';
    this.code = code;
  }
}

function call(nr: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  const result: number = native(nr, a, b, c, d, e, f);
  return result === -1 ? -koffi.errno() : result;
}
/** The result, or minus errno. Pointers are numbers (user space addresses fit 47 bits). */
export const syscall: typeof call = hasKillPoints
  ? (nr, ...args) => {
      if (nr === SYS.bpf || nr === SYS.mount || nr === SYS.umount2) killPoint();
      return call(nr, ...args);
    }
  : call;

/** The result; throws a SystemError that opens with `what`. */
export function must(result: number, what: string): number {
  if (result < 0) throw new SystemError(what, -result);
  return result;
}

/** Bytes outside the garbage collector's moving heap, with their address. */
export class Memory {
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly address: number;
  readonly size: number;

  constructor(size: number) {
    this.buffer = new ArrayBuffer(size);
    this.bytes = new Uint8Array(this.buffer);
    this.view = new DataView(this.buffer);
    this.address = size === 0 ? 0 : Number(koffi.address(this.buffer));
    this.size = size;
  }

  static of(bytes: Uint8Array): Memory {
    const memory = new Memory(bytes.length);
    memory.bytes.set(bytes);
    return memory;
  }

  /** A NUL-terminated string. */
  static text(text: string): Memory {
    return Memory.of(new TextEncoder().encode(`${text}\0`));
  }

  u16(at: number, value: number): this {
    this.view.setUint16(at, value, true);
    return this;
  }
  u32(at: number, value: number): this {
    this.view.setUint32(at, value >>> 0, true);
    return this;
  }
  /** A non-negative integer below 2^53. */
  u64(at: number, value: number): this {
    this.view.setUint32(at, value >>> 0, true);
    this.view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
    return this;
  }
}

/**
 * Calls with memories whose lifetime ends with the call: naming them here keeps them alive until it
 * is over. The addresses must already be in `args`, or inside one of `held`.
 */
export function syscallHolding(
  held: readonly Memory[],
  nr: number,
  ...args: readonly number[]
): number {
  const [a, b, c, d, e, f] = args;
  const result = syscall(nr, a, b, c, d, e, f);
  alive = held.length;
  return result;
}
let alive = 0;
/**
 * How many memories the last call held: reading it is what keeps the store above from being
 * dropped.
 */
export const lastHeld = (): number => alive;

export const PAGE_SIZE = 4096;
const PROT = { read: 1, write: 2 } as const;
const MAP_SHARED = 1;

/**
 * A shared mapping of a file descriptor. Writing to a mapping that is not `writable` ends the
 * process.
 */
export function mapShared(
  fd: number,
  length: number,
  options: { offset?: number; writable: boolean },
): Mapping {
  const prot = options.writable ? PROT.read | PROT.write : PROT.read;
  const address = must(
    syscall(SYS.mmap, 0, length, prot, MAP_SHARED, fd, options.offset ?? 0),
    'mmap',
  );
  return new Mapping(address, length);
}

/**
 * A mapping seen as an ArrayBuffer; nothing is copied. After `unmap()` any access ends the process.
 */
export class Mapping {
  readonly buffer: ArrayBuffer;
  readonly #address: number;
  readonly #length: number;

  constructor(address: number, length: number) {
    this.#address = address;
    this.#length = length;
    this.buffer = koffi.view(BigInt(address), length);
  }
  unmap(): void {
    syscall(SYS.munmap, this.#address, this.#length);
  }
}

export const closeFd = (fd: number): void => {
  syscall(SYS.close, fd);
};

const SIGNALS = { block: 0, setMask: 2, bytes: 8 } as const;
/** Calls with every signal of this thread held back until it returns. */
export function withSignalsBlocked<T>(call: () => T): T {
  const all = new Memory(SIGNALS.bytes);
  const before = new Memory(SIGNALS.bytes);
  all.bytes.fill(0xff);
  const { block, setMask, bytes } = SIGNALS;
  must(syscall(SYS.rt_sigprocmask, block, all.address, before.address, bytes), 'block signals');
  try {
    return call();
  } finally {
    syscall(SYS.rt_sigprocmask, setMask, before.address, 0, bytes);
  }
}

const LOCK = { exclusiveNonBlocking: 2 | 4 } as const;
/**
 * Takes flock(2) on an open file; false when somebody else holds it. Freed when the file is closed.
 */
export function tryLock(fd: number): boolean {
  const result = syscall(SYS.flock, fd, LOCK.exclusiveNonBlocking);
  if (result === -ERRNO.EAGAIN) return false;
  must(result, 'flock');
  return true;
}

/**
 * Calls back from this thread's event loop whenever `fd` is readable. A callback that throws ends
 * the process like any other.
 */
export function onReadable(fd: number, callback: () => void): Disposable {
  const handle = koffi.node.poll(fd, { readable: true }, () => {
    callback();
    // Called from outside Node's own callbacks: what it resolved would wait for another event.
    setImmediate(() => {});
  });
  return { [Symbol.dispose]: () => handle.close() };
}
