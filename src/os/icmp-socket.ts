/**
 * ICMP and ICMPv6 messages of a host to one address, as ping(8) sends them (raw(7), ipv6(7)).
 * Needs CAP_NET_RAW. In the network namespace of the thread that opens it.
 */
import { closeFd, ERRNO, Memory, must, syscall, syscallHolding, SYS } from './libc.ts';

const [AF_INET, AF_INET6] = [2, 10];
const SOCK_RAW_NONBLOCK = 3 | 0x80000 | 0x800;
const [IPPROTO_ICMP, IPPROTO_ICMPV6] = [1, 58];
const MESSAGE_BYTES_MAX = 2_048;
/** Of a message that came with its IPv4 header: that one's length is in the low half of a byte. */
const HEADER_WORDS = 0x0f;

export class IcmpSocket implements Disposable {
  readonly fd: number;
  readonly #six: boolean;
  readonly #to: Memory;
  readonly #buffer = new Memory(MESSAGE_BYTES_MAX);

  /** `address`: 4 or 16 bytes. */
  constructor(address: Uint8Array) {
    this.#six = address.length === 16;
    // struct sockaddr_in, and sockaddr_in6, where the address is behind flow information.
    this.#to = new Memory(this.#six ? 28 : 16).u16(0, this.#six ? AF_INET6 : AF_INET);
    this.#to.bytes.set(address, this.#six ? 8 : 4);
    const [family, protocol] = this.#six ? [AF_INET6, IPPROTO_ICMPV6] : [AF_INET, IPPROTO_ICMP];
    this.fd = must(syscall(SYS.socket, family, SOCK_RAW_NONBLOCK, protocol), 'open an ICMP socket');
  }

  /** A message from its type on; of ICMPv6 the kernel fills in the checksum. */
  send(message: Uint8Array): void {
    const memory = Memory.of(message);
    const [to, size] = [this.#to.address, this.#to.size];
    const args = [this.fd, memory.address, message.length, 0, to, size];
    must(syscallHolding([memory, this.#to], SYS.sendto, ...args), 'send an ICMP message');
  }

  /** The next message from its type on, of whoever sent it; undefined: there is none. */
  receive(): Uint8Array | undefined {
    const { address, size, bytes } = this.#buffer;
    const got = syscallHolding([this.#buffer], SYS.recvfrom, this.fd, address, size, 0, 0, 0);
    if (got === -ERRNO.EAGAIN) return undefined;
    const length = must(got, 'receive an ICMP message');
    const at = this.#six ? 0 : ((bytes[0] ?? 0) & HEADER_WORDS) * 4;
    return bytes.slice(at, length);
  }
  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}
