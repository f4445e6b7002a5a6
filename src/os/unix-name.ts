/**
 * Abstract names of unix(7) sockets: one holder of a name in each network namespace, and none when
 * its process has ended, however it ended. What a lock file cannot say: that nobody else is in this
 * network namespace.
 */
import { readFileSync } from 'node:fs';
import { closeFd, ERRNO, Memory, must, syscall, syscallHolding, SYS } from './libc.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0x80000;
/** sizeof(sockaddr_un.sun_path), less the zero that abstract names begin with. */
export const NAME_BYTES_MAX = 107;

/**
 * A socket that holds the name, in the calling thread's namespace; undefined: somebody else has.
 */
export function holdName(name: string): number | undefined {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length > NAME_BYTES_MAX)
    throw new RangeError(`the name of a socket has at most ${NAME_BYTES_MAX} bytes`);
  const address = new Memory(3 + bytes.length).u16(0, AF_UNIX);
  address.bytes.set(bytes, 3);
  const fd = must(syscall(SYS.socket, AF_UNIX, SOCK_DGRAM_CLOEXEC, 0), 'open a unix socket');
  const result = syscallHolding([address], SYS.bind, fd, address.address, address.size);
  if (result >= 0) return fd;
  closeFd(fd);
  if (result === -ERRNO.EADDRINUSE) return undefined;
  must(result, `hold the name ${name}`);
  return undefined;
}

/** The names that are held in the calling thread's network namespace. */
export const heldNames = (): string[] =>
  readFileSync('/proc/thread-self/net/unix', 'utf8')
    .split('\n')
    .map((line) => line.split(' ').slice(7).join(' ').trimStart())
    .filter((path) => path.startsWith('@'))
    .map((path) => path.slice(1));
