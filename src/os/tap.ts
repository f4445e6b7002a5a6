/**
 * Tap devices (linux/if_tun.h): an interface whose other end is a file that a virtual machine
 * holds open. Here for who makes one, and for tests that are the machine.
 *
 * Every frame comes and goes with a struct virtio_net_hdr before it, which says what of its
 * checksum and segmentation is still to be done. An interface has a carrier while its file is open,
 * and, unless it was made to stay, goes with it.
 */
import { openSync, constants } from 'node:fs';
import { closeFd, ERRNO, Memory, must, syscall, syscallHolding, SYS } from './libc.ts';

const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOFFLOAD = 0x400454d0;
const IFF = { tap: 2, noPacketInfo: 0x1000, vnetHeader: 0x4000 } as const;
/** struct ifreq: its size, and where `ifr_flags` is in it. */
const REQUEST = { size: 40, flags: 16 } as const;
const NAME_BYTES_MAX = 15;
/** struct virtio_net_hdr. */
export const VNET_HEADER_BYTES = 10;
const FRAME_BYTES_MAX = VNET_HEADER_BYTES + 65536 + 64;

/** What the holder of a tap takes from it undone: checksums, and TCP in large segments. */
export const OFFLOAD = { checksum: 1, tcp4: 2, tcp6: 4 } as const;

export interface TapOptions {
  /** OFFLOAD bits; 0 unless told: frames come whole and ready. */
  readonly offload?: number;
}

/** A frame as it came out of the interface. */
export interface TapFrame {
  readonly header: Uint8Array;
  readonly frame: Uint8Array;
}

export class Tap implements Disposable {
  readonly #fd: number;
  readonly #buffer = new Memory(FRAME_BYTES_MAX);

  /**
   * Opens the interface of that name, making it when there is none, in the network namespace of the
   * calling thread. EBUSY when somebody else has it open.
   */
  constructor(name: string, { offload = 0 }: TapOptions = {}) {
    if (Buffer.byteLength(name) > NAME_BYTES_MAX)
      throw new RangeError(`an interface's name has at most ${NAME_BYTES_MAX} bytes: ${name}`);
    this.#fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
    try {
      const request = new Memory(REQUEST.size);
      request.bytes.set(new TextEncoder().encode(name));
      request.u16(REQUEST.flags, IFF.tap | IFF.noPacketInfo | IFF.vnetHeader);
      const set = syscallHolding([request], SYS.ioctl, this.#fd, TUNSETIFF, request.address);
      must(set, `open the tap ${name}`);
      must(syscall(SYS.ioctl, this.#fd, TUNSETOFFLOAD, offload), `set up the tap ${name}`);
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
  }

  /** Whether the interface stays when this is closed. */
  persist(stays: boolean): void {
    must(syscall(SYS.ioctl, this.#fd, TUNSETPERSIST, Number(stays)), 'make a tap stay');
  }

  /**
   * The frame enters by the interface; false when that is down. `header`: VNET_HEADER_BYTES;
   * nothing is left to do unless told.
   */
  send(frame: Uint8Array, header: Uint8Array = new Uint8Array(VNET_HEADER_BYTES)): boolean {
    this.#buffer.bytes.set(header);
    this.#buffer.bytes.set(frame, VNET_HEADER_BYTES);
    const length = VNET_HEADER_BYTES + frame.length;
    const sent = syscall(SYS.write, this.#fd, this.#buffer.address, length);
    if (sent === -ERRNO.EIO) return false;
    must(sent, 'write to a tap');
    return true;
  }

  /** The next frame that left by the interface, as a copy; undefined when none waits. */
  receive(): TapFrame | undefined {
    const length = syscall(SYS.read, this.#fd, this.#buffer.address, this.#buffer.size);
    if (length === -ERRNO.EAGAIN) return undefined;
    must(length, 'read from a tap');
    return {
      header: this.#buffer.bytes.slice(0, VNET_HEADER_BYTES),
      frame: this.#buffer.bytes.slice(VNET_HEADER_BYTES, length),
    };
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}
