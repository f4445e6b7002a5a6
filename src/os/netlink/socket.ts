/**
 * A NETLINK_ROUTE socket: requests with their answers, synchronously. The socket belongs to the
 * network namespace in which its thread was when it was made.
 */
import { closeFd, ERRNO, Memory, must, syscall, SYS, SystemError } from '../libc.ts';
import { decodeMessages, encodeMessage, errorOf, MESSAGE, NLM } from './codec.ts';
import type { Message } from './codec.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0x80000;
const SOCK_NONBLOCK = 0x800;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const MSG_TRUNC = 0x20;
/** The kernel's dumps come in pieces of at most 32 KiB. */
const RECEIVE_BYTES = 256 * 1024;
const ANSWER_WITHIN_S = 10;

export function openNetlink(groups: number, nonBlocking: boolean): number {
  const type = SOCK_RAW_CLOEXEC | (nonBlocking ? SOCK_NONBLOCK : 0);
  const fd = must(syscall(SYS.socket, AF_NETLINK, type, NETLINK_ROUTE), 'open a netlink socket');
  const address = new Memory(12).u16(0, AF_NETLINK).u32(8, groups);
  const timeout = new Memory(16).u64(0, ANSWER_WITHIN_S);
  syscall(SYS.setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, timeout.address, timeout.size);
  must(syscall(SYS.bind, fd, address.address, address.size), 'bind a netlink socket');
  return fd;
}

/** One datagram: its messages, undefined when none came; throws ENOBUFS when some were lost. */
export function receive(fd: number, buffer: Memory): Message[] | undefined {
  let n: number;
  do n = syscall(SYS.recvfrom, fd, buffer.address, buffer.size, MSG_TRUNC);
  while (n === -ERRNO.EINTR);
  if (n === -ERRNO.EAGAIN) return undefined;
  must(n, 'receive from netlink');
  return decodeMessages(buffer.bytes.slice(0, Math.min(n, buffer.size)));
}

/** A socket for requests. Not for use by two threads. */
export class Netlink implements Disposable {
  readonly #fd = openNetlink(0, false);
  readonly #buffer = new Memory(RECEIVE_BYTES);
  #sequence = 0;

  /**
   * Sends one request and waits for its end. Answers the messages of a dump; throws what the kernel
   * refused.
   */
  request(what: string, type: number, flags: number, body: Uint8Array): Message[] {
    const sequence = ++this.#sequence;
    // The bits of a dump mean something else in requests that make things.
    const wanted = flags | NLM.request | (flags === NLM.dump ? 0 : NLM.ack);
    const request = Memory.of(encodeMessage({ type, flags: wanted, sequence, body }));
    must(syscall(SYS.sendto, this.#fd, request.address, request.size), what);
    const answers: Message[] = [];
    for (;;) {
      const messages = receive(this.#fd, this.#buffer);
      if (messages === undefined) throw new Error(`${what}: the kernel did not answer`);
      for (const message of messages) {
        if (message.sequence !== sequence) continue;
        const errno = errorOf(message);
        if (errno !== undefined && errno !== 0) throw new SystemError(what, errno);
        if (errno === 0 || message.type === MESSAGE.done) return answers;
        answers.push(message);
      }
    }
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}
