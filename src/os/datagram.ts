/**
 * UDP datagrams that must not be cut on the way: the kernel sets "don't fragment", does not go by
 * what it has learned of the path, and refuses what does not fit the first link (ip(7),
 * IP_PMTUDISC_PROBE). What is sent so arrives whole or not at all.
 */
import { closeFd, ERRNO, errnoName, Memory, must, syscall, syscallHolding, SYS } from './libc.ts';

const SOCK_DGRAM_NONBLOCK = 2 | 0x80000 | 0x800;
const FAMILY = { 4: 2, 16: 10 } as const;
const LEVEL = { ip: 0, ipv6: 41 } as const;
const MTU_DISCOVER = { ip: 10, ipv6: 23, probe: 3 } as const;
const ADDRESS_BYTES = { 4: 16, 16: 28 } as const;
const DATAGRAM_BYTES_MAX = 65_507;

/** `too-big`: for the first link. Else the kernel's own word, such as ENETUNREACH. */
export type SendResult = 'sent' | 'too-big' | (string & {});

/** Sends to addresses of one family, in the network namespace of the calling thread. */
export class WholeDatagrams implements Disposable {
  readonly #fd: number;
  readonly #bytes: 4 | 16;
  readonly #payload = new Memory(DATAGRAM_BYTES_MAX);

  /** `bytes`: of an address. */
  constructor(bytes: 4 | 16) {
    this.#bytes = bytes;
    const what = 'open a socket for probes';
    this.#fd = must(syscall(SYS.socket, FAMILY[bytes], SOCK_DGRAM_NONBLOCK, 0), what);
    const family = bytes === 4 ? 'ip' : 'ipv6';
    const value = new Memory(4).u32(0, MTU_DISCOVER.probe);
    const args = [this.#fd, LEVEL[family], MTU_DISCOVER[family], value.address, value.size];
    try {
      must(syscallHolding([value], SYS.setsockopt, ...args), 'forbid fragments of probes');
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
  }

  send(address: Uint8Array, port: number, payload: Uint8Array): SendResult {
    const to = new Memory(ADDRESS_BYTES[this.#bytes]).u16(0, FAMILY[this.#bytes]);
    to.view.setUint16(2, port);
    to.bytes.set(address, this.#bytes === 4 ? 4 : 8);
    this.#payload.bytes.set(payload);
    const args = [this.#fd, this.#payload.address, payload.length, 0, to.address, to.size];
    let result = syscallHolding([to], SYS.sendto, ...args);
    // An ICMP error about an earlier datagram is told once, with this one not sent.
    if (result < 0 && result !== -ERRNO.EMSGSIZE && result !== -ERRNO.EAGAIN)
      result = syscallHolding([to], SYS.sendto, ...args);
    if (result >= 0) return 'sent';
    return result === -ERRNO.EMSGSIZE ? 'too-big' : errnoName(-result);
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}
