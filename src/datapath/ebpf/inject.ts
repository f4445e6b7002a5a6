/**
 * Sends frames by the actions of a slot: through a packet socket on the private veth, whose egress
 * program reads slot and generation from the frame's mark. The programs run inside the system call,
 * so when `flush` returns every frame is where it goes.
 *
 * Behaviour when full: frames wait in an arena and are sent early when it is full, which keeps
 * their order; a frame that the socket does not take is lost and counted.
 */
import { MARK_SLOT_BITS } from '#flow/layout.ts';
import { closeFd, ERRNO, Memory, must, syscall, SYS, SystemError } from '#os/libc.ts';
import { VNET_BYTES, writeVnetHeader } from './offload.ts';

const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC = 3 | 0x80000;
const SOL_SOCKET = 1;
const SOL_PACKET = 263;
const SO_MARK = 36;
const SO_SNDBUFFORCE = 32;
const PACKET_VNET_HDR = 15;
const MSG_DONTWAIT = 0x40;

/** Full buffers, and frames that the socket takes for broken. */
const LOSSES: readonly number[] = [
  ERRNO.EAGAIN,
  ERRNO.ENOBUFS,
  ERRNO.EINVAL,
  ERRNO.EMSGSIZE,
  ERRNO.ENOMEM,
];

/** Frames sent by one system call. */
export const MESSAGES_MAX = 64;
export const ARENA_BYTES = 1 << 20;
const SEND_BUFFER_BYTES = 32 << 20;
/** The largest IP packet, its Ethernet header and a tag. */
export const FRAME_BYTES_MAX = 65535 + 18;
const MMSGHDR = 64;
const IOVEC = 16;
const CMSG = 24;
const GENERATION_MASK = 2 ** (32 - MARK_SLOT_BITS) - 1;

export class Injector implements Disposable {
  /** Frames that the socket did not take, or that were too long. */
  lost = 0;
  /** What is to be done before frames leave. */
  before = (): void => {};
  readonly #fd: number;
  readonly #arena = new Memory(ARENA_BYTES);
  readonly #headers = new Memory(MESSAGES_MAX * MMSGHDR);
  readonly #vectors = new Memory(MESSAGES_MAX * IOVEC);
  readonly #controls = new Memory(MESSAGES_MAX * CMSG);
  #queued = 0;
  #used = 0;

  /** `ifindex`: the private veth's end with the inject program. */
  constructor(ifindex: number) {
    this.#fd = must(syscall(SYS.socket, AF_PACKET, SOCK_RAW_CLOEXEC, 0), 'open a packet socket');
    const address = new Memory(20).u16(0, AF_PACKET).u32(4, ifindex);
    must(syscall(SYS.bind, this.#fd, address.address, address.size), 'bind the packet socket');
    const option = (level: number, name: number, value: number): number => {
      const word = new Memory(4).u32(0, value);
      return syscall(SYS.setsockopt, this.#fd, level, name, word.address, 4);
    };
    option(SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
    must(option(SOL_PACKET, PACKET_VNET_HDR, 1), 'turn on PACKET_VNET_HDR');
    for (let i = 0; i < MESSAGES_MAX; i++) {
      const control = this.#controls.address + i * CMSG;
      this.#headers
        .u64(i * MMSGHDR + 16, this.#vectors.address + i * IOVEC)
        .u64(i * MMSGHDR + 24, 1);
      this.#headers.u64(i * MMSGHDR + 32, control).u64(i * MMSGHDR + 40, CMSG);
      this.#controls
        .u64(i * CMSG, 20)
        .u32(i * CMSG + 8, SOL_SOCKET)
        .u32(i * CMSG + 12, SO_MARK);
    }
  }

  /** Queues a copy of the frame, to be sent as slot and generation say. */
  push(slot: number, generation: number, frame: Uint8Array, gsoSize: number): void {
    if (frame.length > FRAME_BYTES_MAX) {
      this.lost++;
      return;
    }
    const length = VNET_BYTES + frame.length;
    if (this.#queued === MESSAGES_MAX || this.#used + length > ARENA_BYTES) this.flush();
    const i = this.#queued++;
    const at = this.#used;
    this.#used += length;
    writeVnetHeader(frame, gsoSize, this.#arena.bytes, at);
    this.#arena.bytes.set(frame, at + VNET_BYTES);
    this.#vectors.u64(i * IOVEC, this.#arena.address + at).u64(i * IOVEC + 8, length);
    const mark = ((generation & GENERATION_MASK) << MARK_SLOT_BITS) | (slot + 1);
    this.#controls.u32(i * CMSG + 16, mark);
  }

  /** Sends what is queued. */
  flush(): void {
    if (this.#queued > 0) this.before();
    for (let sent = 0; sent < this.#queued;) {
      const from = this.#headers.address + sent * MMSGHDR;
      const result = syscall(SYS.sendmmsg, this.#fd, from, this.#queued - sent, MSG_DONTWAIT);
      if (result > 0) {
        sent += result;
        continue;
      }
      // An error stands for the first message only; the programs' own drops are not errors.
      this.lost++;
      if (!LOSSES.includes(-result)) throw new SystemError('send a frame', -result);
      sent++;
    }
    this.#queued = 0;
    this.#used = 0;
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}
