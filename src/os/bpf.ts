/**
 * bpf(2): one attribute builder per command, because the kernel refuses non-zero bytes behind the
 * fields of a command, and because each builder keeps alive what its attribute points to. Offsets:
 * union bpf_attr in linux/bpf.h. Descriptors are plain numbers; whoever opened one closes it.
 */
import {
  ERRNO,
  Memory,
  must,
  syscall,
  syscallHolding,
  SYS,
  SystemError,
  withSignalsBlocked,
} from './libc.ts';

const COMMAND = {
  mapCreate: 0,
  lookup: 1,
  update: 2,
  delete: 3,
  nextKey: 4,
  progLoad: 5,
  pin: 6,
  get: 7,
  testRun: 10,
  infoByFd: 15,
  lookupBatch: 24,
  updateBatch: 26,
  deleteBatch: 27,
  linkCreate: 28,
  linkUpdate: 29,
} as const;

export const MAP_TYPE = {
  hash: 1,
  array: 2,
  progArray: 3,
  perCpuHash: 5,
  perCpuArray: 6,
  ringbuf: 27,
} as const;
export const MAP_FLAG = { noPrealloc: 1, mmapable: 1024 } as const;
export const ATTACH = { tcxIngress: 46, tcxEgress: 47 } as const;
/** BPF_ANY */
const ANY = 0;
const NAME_SIZE = 16;

const command = (cmd: number, attr: Memory): number =>
  syscall(SYS.bpf, cmd, attr.address, attr.size);
const putName = (attr: Memory, at: number, name: string): void => {
  attr.bytes.set(new TextEncoder().encode(name.slice(0, NAME_SIZE - 1)), at);
};

export interface MapSpec {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly entries: number;
  readonly flags?: number;
}

export function createMap(spec: MapSpec): number {
  const attr = new Memory(48);
  attr.u32(0, spec.type).u32(4, spec.keySize).u32(8, spec.valueSize).u32(12, spec.entries);
  attr.u32(16, spec.flags ?? 0);
  putName(attr, 28, spec.name);
  return must(command(COMMAND.mapCreate, attr), `create map ${spec.name}`);
}

/** A map's shape as the kernel has it. */
export function mapInfo(fd: number): Omit<MapSpec, 'name'> {
  const info = objectInfo(fd, 88);
  const u32 = (at: number): number => info.view.getUint32(at, true);
  return { type: u32(0), keySize: u32(8), valueSize: u32(12), entries: u32(16), flags: u32(20) };
}

/** The interface a TCX link is attached to; 0 when that has vanished. */
export const linkIfindex = (fd: number): number => objectInfo(fd, 64).view.getUint32(16, true);

function objectInfo(fd: number, size: number): Memory {
  const info = new Memory(size);
  const attr = new Memory(16).u32(0, fd).u32(4, size).u64(8, info.address);
  const result = syscallHolding([attr, info], SYS.bpf, COMMAND.infoByFd, attr.address, attr.size);
  must(result, 'ask for a BPF object');
  return info;
}

/** A map with one key and one value to work on: fill `key` and `value`, then call. */
export class BpfMap {
  readonly fd: number;
  readonly key: Memory;
  readonly value: Memory;
  readonly #element: Memory;
  readonly #onlyKey: Memory;
  readonly #next: Memory;

  /** `valueSize`: for per-CPU maps the size of all CPUs' values together. */
  constructor(fd: number, keySize: number, valueSize: number) {
    this.fd = fd;
    this.key = new Memory(keySize);
    this.value = new Memory(valueSize);
    this.#element = new Memory(32).u32(0, fd).u64(8, this.key.address).u64(16, this.value.address);
    this.#onlyKey = new Memory(32).u32(0, fd).u64(8, this.key.address);
    this.#next = new Memory(32).u32(0, fd).u64(16, this.key.address);
  }
  /** False when there is no such key. */
  lookup(): boolean {
    return this.#found(command(COMMAND.lookup, this.#element), 'look up in a map');
  }
  /** Puts `value` under `key`. ENOSPC and E2BIG (full) are thrown. */
  update(): void {
    this.#element.u64(24, ANY);
    must(command(COMMAND.update, this.#element), 'update a map');
  }
  /** False when there was no such key. */
  delete(): boolean {
    return this.#found(command(COMMAND.delete, this.#onlyKey), 'delete from a map');
  }
  /** Moves `key` on to the next key in the map; from the start when `first`. False at the end. */
  next(first: boolean): boolean {
    this.#next.u64(8, first ? 0 : this.key.address);
    return this.#found(command(COMMAND.nextKey, this.#next), 'walk a map');
  }
  #found(result: number, what: string): boolean {
    if (result === -ERRNO.ENOENT) return false;
    must(result, what);
    return true;
  }
}

/** Many elements of a hash map in one call. Fill `keys` and `values` from the front, then call. */
export class BpfBatch {
  readonly size: number;
  readonly keys: Memory;
  readonly values: Memory;
  readonly #attr: Memory;
  readonly #position = new Memory(16);
  #walking = false;

  constructor(fd: number, keySize: number, valueSize: number, size: number) {
    this.size = size;
    this.keys = new Memory(keySize * size);
    this.values = new Memory(valueSize * size);
    this.#attr = new Memory(56).u64(16, this.keys.address).u64(24, this.values.address).u32(36, fd);
  }
  /**
   * Updates the first `n`; how many were done before an element failed, and the errno of that one
   * or 0.
   */
  update(n: number): { readonly done: number; readonly errno: number } {
    return this.#run(COMMAND.updateBatch, n);
  }
  /** Deletes the first `n` keys; stops at one that is not there (ENOENT). */
  delete(n: number): { readonly done: number; readonly errno: number } {
    return this.#run(COMMAND.deleteBatch, n);
  }
  #run(cmd: number, n: number): { readonly done: number; readonly errno: number } {
    this.#attr.u64(0, 0).u64(8, 0).u32(32, n);
    const result = command(cmd, this.#attr);
    // The count is written back only when the command ran; EFAULT and EINVAL leave what we put
    // there.
    const count = this.#attr.view.getUint32(32, true);
    if (result >= 0) return { done: n, errno: 0 };
    return { done: count < n ? count : 0, errno: -result };
  }
  /** Walks the map: reads the next elements to the front and answers how many; 0 at the end. */
  read(first: boolean): number {
    if (first) this.#walking = true;
    if (!this.#walking) return 0;
    const position = this.#position.address;
    this.#attr
      .u64(0, first ? 0 : position)
      .u64(8, position)
      .u32(32, this.size);
    const result = command(COMMAND.lookupBatch, this.#attr);
    if (result === -ERRNO.ENOENT) this.#walking = false;
    else must(result, 'read a map');
    return this.#attr.view.getUint32(32, true);
  }
}

const PROG_TYPE_SCHED_CLS = 3;
/** No helper that the programs call asks for more. */
const LICENSE = 'Apache-2.0';
const LOG_SIZE = 1 << 20;
const LOG_SHOWN = 4000;
/**
 * The verifier gives up with EAGAIN when a signal is pending for the thread. Signals are held back,
 * but not those that cannot be.
 */
const LOAD_TRIES_MAX = 10;

/**
 * Loads a traffic classifier. When the kernel refuses, the error carries the end of the verifier's
 * log.
 */
export function loadProgram(name: string, instructions: Uint8Array): number {
  const code = Memory.of(instructions);
  const result = tryLoad(name, code, undefined);
  if (result >= 0) return result;
  const log = new Memory(LOG_SIZE);
  const again = tryLoad(name, code, log);
  if (again >= 0) return again;
  const text = new TextDecoder().decode(log.bytes.subarray(0, Math.max(0, log.bytes.indexOf(0))));
  throw new SystemError(`load BPF program ${name}: ${text.slice(-LOG_SHOWN)}`, -result);
}

function tryLoad(name: string, code: Memory, log: Memory | undefined): number {
  const license = Memory.text(LICENSE);
  const attr = new Memory(128).u32(0, PROG_TYPE_SCHED_CLS).u32(4, code.size / 8);
  attr.u64(8, code.address).u64(16, license.address);
  if (log !== undefined) attr.u32(24, 1).u32(28, log.size).u64(32, log.address);
  putName(attr, 48, name);
  const held = log === undefined ? [code, license, attr] : [code, license, attr, log];
  for (let tries = 1; ; tries++) {
    const result = withSignalsBlocked(() =>
      syscallHolding(held, SYS.bpf, COMMAND.progLoad, attr.address, attr.size),
    );
    if (result !== -ERRNO.EAGAIN || tries === LOAD_TRIES_MAX) return result;
  }
}

/** Gives a descriptor a name in a bpffs: the object stays while the name does. */
export function pin(fd: number, path: string): void {
  const name = Memory.text(path);
  const attr = new Memory(16).u64(0, name.address).u32(8, fd);
  must(syscallHolding([name, attr], SYS.bpf, COMMAND.pin, attr.address, attr.size), `pin ${path}`);
}

/** Opens what is pinned there; undefined when nothing is. */
export function openPinned(path: string): number | undefined {
  const name = Memory.text(path);
  const attr = new Memory(16).u64(0, name.address);
  const fd = syscallHolding([name, attr], SYS.bpf, COMMAND.get, attr.address, attr.size);
  return fd === -ERRNO.ENOENT ? undefined : must(fd, `open pinned ${path}`);
}

/**
 * Attaches a program to an interface of this namespace (TCX, kernel 6.6); the link's descriptor
 * owns it.
 */
export function attachTcx(program: number, ifindex: number, where: number): number {
  const attr = new Memory(64).u32(0, program).u32(4, ifindex).u32(8, where);
  return must(command(COMMAND.linkCreate, attr), `attach a program to interface ${ifindex}`);
}

/** No interface has this number. */
const NO_INTERFACE = 0x7fffffff;

/** Whether the kernel has TCX; `program`: any loaded classifier. */
export function hasTcx(program: number): boolean {
  const attr = new Memory(64).u32(0, program).u32(4, NO_INTERFACE).u32(8, ATTACH.tcxIngress);
  // Who knows the hook looks for the interface; who does not refuses the command.
  return command(COMMAND.linkCreate, attr) === -ERRNO.ENODEV;
}

/** Swaps a link's program without a gap. False when the link's interface has vanished. */
export function updateLink(link: number, program: number): boolean {
  const result = command(COMMAND.linkUpdate, new Memory(32).u32(0, link).u32(4, program));
  if (result === -ERRNO.ENOLINK) return false;
  must(result, 'swap the program of a link');
  return true;
}

/** Of runs that signals end; one is what it takes. */
const TEST_RUN_TRIES_MAX = 16;
const SKB_CONTEXT_SIZE = 192;
/** struct __sk_buff: mark, ifindex */
const SKB = { mark: 8, ifindex: 40 } as const;

export interface TestRun {
  readonly verdict: number;
  readonly nsPerRun: number;
  /** The frame afterwards. */
  readonly frame: Uint8Array;
  readonly mark: number;
}

/**
 * Runs a classifier on a frame without sending it: the verdict is an answer, redirects do not
 * happen.
 */
export function testRun(program: number, frame: Uint8Array, context: TestContext = {}): TestRun {
  const input = Memory.of(frame);
  const output = new Memory(frame.length + 256);
  const skb = new Memory(SKB_CONTEXT_SIZE)
    .u32(SKB.mark, context.mark ?? 0)
    .u32(SKB.ifindex, context.ifindex ?? 1);
  const skbOut = new Memory(SKB_CONTEXT_SIZE);
  const attr = new Memory(80).u32(0, program).u32(8, input.size).u32(12, output.size);
  attr
    .u64(16, input.address)
    .u64(24, output.address)
    .u32(32, context.repeat ?? 1);
  attr.u32(40, skb.size).u32(44, skbOut.size).u64(48, skb.address).u64(56, skbOut.address);
  const held = [input, output, skb, skbOut, attr];
  let result = -ERRNO.EINTR;
  // A signal of the runtime's own ends repeated runs between two of them.
  for (let tries = 0; result === -ERRNO.EINTR && tries < TEST_RUN_TRIES_MAX; tries++)
    result = syscallHolding(held, SYS.bpf, COMMAND.testRun, attr.address, attr.size);
  must(result, 'run a program on a test frame');
  const u32 = (at: number): number => attr.view.getUint32(at, true);
  const mark = skbOut.view.getUint32(SKB.mark, true);
  return { verdict: u32(4), nsPerRun: u32(36), frame: output.bytes.slice(0, u32(12)), mark };
}
export interface TestContext {
  readonly ifindex?: number;
  readonly mark?: number;
  readonly repeat?: number;
}
