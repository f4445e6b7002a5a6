/**
 * UDP datagrams of both families through one descriptor: an IPv6 socket that takes IPv4 as mapped
 * addresses (RFC 3493 §3.7), or an IPv4 one where the kernel has no IPv6. Nothing blocks; what does
 * not fit into a buffer of the kernel is lost, as it could be on the way.
 */
import { closeFd, ERRNO, Memory, must, syscall, syscallHolding, SYS, SystemError } from './libc.ts';

const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0x80000 | 0x800;
const FAMILY = { ip4: 2, ip6: 10 } as const;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_SNDBUFFORCE = 32;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const ADDRESS_BYTES = { ip4: 16, ip6: 28 } as const;
/** What the kernel keeps until it is read. */
const BUFFER_BYTES = 8 * 1024 * 1024;
const DATAGRAM_BYTES_MAX = 2_048;
/** Bytes before an IPv4 address that is written as an IPv6 one (RFC 4291 §2.5.5.2). */
const MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** Bound to a port of every address of the calling thread's network namespace. */
export class RecordSocket implements Disposable {
  readonly fd: number;
  readonly #family: keyof typeof FAMILY;
  readonly #payload = new Memory(DATAGRAM_BYTES_MAX);
  readonly #address = new Memory(ADDRESS_BYTES.ip6);
  readonly #length = new Memory(4);
  /** Datagrams that the kernel did not take. */
  lost = 0;

  /** Throws a SystemError: EADDRINUSE where somebody else has the port. */
  constructor(port: number) {
    const six = syscall(SYS.socket, FAMILY.ip6, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
    this.#family = six >= 0 ? 'ip6' : 'ip4';
    const four = (): number => syscall(SYS.socket, FAMILY.ip4, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
    this.fd = six >= 0 ? six : must(four(), 'open the record socket');
    try {
      if (six >= 0) this.#set(IPPROTO_IPV6, IPV6_V6ONLY, 0);
      this.#set(SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES);
      this.#set(SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES);
      const size = ADDRESS_BYTES[this.#family];
      const address = new Memory(size).u16(0, FAMILY[this.#family]);
      address.view.setUint16(2, port);
      const result = syscallHolding([address], SYS.bind, this.fd, address.address, size);
      must(result, `bind the record socket to UDP port ${port}`);
    } catch (error) {
      closeFd(this.fd);
      throw error;
    }
  }
  #set(level: number, name: number, value: number): void {
    const word = new Memory(4).u32(0, value);
    syscallHolding([word], SYS.setsockopt, this.fd, level, name, word.address, word.size);
  }

  /** `to`: the 4 or 16 bytes of an address. */
  send(to: Uint8Array, port: number, bytes: Uint8Array): void {
    if (bytes.length > DATAGRAM_BYTES_MAX) throw new Error('record socket: too long a datagram');
    const { bytes: address, view } = this.#address;
    address.fill(0);
    view.setUint16(0, FAMILY[this.#family], true);
    view.setUint16(2, port);
    if (this.#family === 'ip4') {
      if (to.length !== 4) return this.#lose();
      address.set(to, 4);
    } else {
      if (to.length === 4) address.set(MAPPED, 8);
      address.set(to, 24 - to.length);
    }
    this.#payload.bytes.set(bytes);
    const length = ADDRESS_BYTES[this.#family];
    const [from, at] = [this.#payload.address, this.#address.address];
    if (syscall(SYS.sendto, this.fd, from, bytes.length, 0, at, length) < 0) this.#lose();
  }
  #lose(): void {
    this.lost += 1;
  }

  /** Hands over what has come, at most `max`; both are valid during the call. */
  receive(take: (from: Uint8Array, bytes: Uint8Array) => void, max: number): number {
    for (let n = 0; n < max; n++) {
      this.#length.u32(0, this.#address.size);
      const [to, from] = [this.#payload.address, this.#address.address];
      const size = this.#payload.size;
      const result = syscall(SYS.recvfrom, this.fd, to, size, 0, from, this.#length.address);
      if (result === -ERRNO.EAGAIN) return n;
      if (result === -ERRNO.EBADF) throw new SystemError('receive a datagram', -result);
      // An ICMP error about what was sent, or a signal: there may be more.
      if (result >= 0) take(this.#from(), this.#payload.bytes.subarray(0, result));
    }
    return max;
  }
  #from(): Uint8Array {
    const { bytes } = this.#address;
    if (this.#family === 'ip4') return bytes.subarray(4, 8);
    return MAPPED.every((byte, i) => bytes[8 + i] === byte)
      ? bytes.subarray(20, 24)
      : bytes.subarray(8, 24);
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}
