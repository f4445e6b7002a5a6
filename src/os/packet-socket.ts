/**
 * Whole Ethernet frames in and out of one interface (packet(7)), as a workload behind it would send
 * and receive them. The tag that the kernel keeps beside a received frame is put back in its place.
 */
import { closeFd, ERRNO, Memory, must, syscall, syscallHolding, SYS } from './libc.ts';

const AF_PACKET = 17;
const SOCK_RAW_NONBLOCK = 3 | 0x80000 | 0x800;
const ETH_P_ALL_NET = 0x0300;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_ATTACH_FILTER = 26;
const SO_RCVMARK = 75;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_STATISTICS = 6;
const PACKET_AUXDATA = 8;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
const PACKET_OUTGOING = 4;
/** struct sockaddr_ll: its size, and where `sll_pkttype` is in it. */
const ADDRESS = { size: 20, packetType: 10 } as const;
/** struct tpacket_auxdata in its control message (linux/if_packet.h). */
const AUX = { status: 16, tci: 32, tpid: 34, vlanValid: 0x10, tpidValid: 0x40 } as const;
const RECEIVE_BUFFER_BYTES = 32 << 20;
const FRAME_BYTES_MAX = 65536 + 64;
const CONTROL_BYTES = 64;
/** The control message with the mark, when asked for, comes first: its size, where the mark is. */
const MARK = { size: 24, value: 16 } as const;
const TPID_DEFAULT = 0x8100;

export interface PacketSocketOptions {
  /** See what other stations are sent too, and what leaves by the interface. */
  readonly everything?: boolean;
  /** Tell the mark of each frame. */
  readonly marks?: boolean;
  /** Take frames of this EtherType only, and wake nobody for others. */
  readonly etherType?: number;
}

/** Classic BPF (linux/filter.h): whole frames of one EtherType, nothing of others. */
function etherTypeFilter(etherType: number): Memory {
  const LOAD_HALF = 0x28;
  const JUMP_EQUAL = 0x15;
  const RETURN = 0x06;
  const program: readonly (readonly [number, number, number, number])[] = [
    [LOAD_HALF, 0, 0, 12],
    [JUMP_EQUAL, 0, 1, etherType],
    [RETURN, 0, 0, 0xffffffff],
    [RETURN, 0, 0, 0],
  ];
  const memory = new Memory(program.length * 8);
  for (const [i, [code, yes, no, value]] of program.entries()) {
    memory.u16(i * 8, code).u32(i * 8 + 4, value);
    memory.bytes.set([yes, no], i * 8 + 2);
  }
  return memory;
}

export class PacketSocket implements Disposable {
  readonly fd: number;
  readonly #address = new Memory(ADDRESS.size);
  readonly #frame = new Memory(FRAME_BYTES_MAX);
  readonly #control = new Memory(CONTROL_BYTES);
  readonly #vector = new Memory(16);
  readonly #header = new Memory(56);
  readonly #auxAt: number;

  /** In the network namespace of the calling thread; it stays there. */
  constructor(ifindex: number, options: PacketSocketOptions = {}) {
    const { everything = false, marks = false, etherType } = options;
    this.#auxAt = marks ? MARK.size : 0;
    this.fd = must(syscall(SYS.socket, AF_PACKET, SOCK_RAW_NONBLOCK, 0), 'open a packet socket');
    try {
      this.#set(SOL_SOCKET, SO_RCVBUFFORCE, new Memory(4).u32(0, RECEIVE_BUFFER_BYTES));
      if (marks) this.#set(SOL_SOCKET, SO_RCVMARK, new Memory(4).u32(0, 1));
      this.#set(SOL_PACKET, PACKET_AUXDATA, new Memory(4).u32(0, 1));
      this.#set(SOL_PACKET, PACKET_IGNORE_OUTGOING, new Memory(4).u32(0, everything ? 0 : 1));
      const membership = new Memory(16).u32(0, ifindex).u16(4, PACKET_MR_PROMISC);
      if (everything) this.#set(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership);
      if (etherType !== undefined) this.#filter(etherTypeFilter(etherType));
      const address = new Memory(ADDRESS.size).u16(0, AF_PACKET).u16(2, ETH_P_ALL_NET);
      address.u32(4, ifindex);
      const bound = [this.fd, address.address, address.size];
      must(syscallHolding([address], SYS.bind, ...bound), 'bind a packet socket');
    } catch (error) {
      closeFd(this.fd);
      throw error;
    }
    this.#vector.u64(0, this.#frame.address).u64(8, FRAME_BYTES_MAX);
    this.#header.u64(0, this.#address.address);
    this.#header.u64(16, this.#vector.address).u64(24, 1).u64(32, this.#control.address);
  }

  #set(level: number, name: number, value: Memory): void {
    const args = [this.fd, level, name, value.address, value.size];
    must(syscallHolding([value], SYS.setsockopt, ...args), 'set up a packet socket');
  }

  /** Before it is bound, so that nothing else is ever queued. */
  #filter(program: Memory): void {
    // struct sock_fprog: a count, then the pointer to the instructions.
    const value = new Memory(16).u16(0, program.size / 8).u64(8, program.address);
    const args = [this.fd, SOL_SOCKET, SO_ATTACH_FILTER, value.address, value.size];
    must(syscallHolding([value, program], SYS.setsockopt, ...args), 'filter a packet socket');
  }

  /** False when the interface's own programs or queue did not take the frame. */
  send(frame: Uint8Array): boolean {
    this.#frame.bytes.set(frame);
    let result = syscall(SYS.sendto, this.fd, this.#frame.address, frame.length);
    // Said once of an interface that was down some time ago (a pending socket error).
    if (result === -ERRNO.ENETDOWN) {
      result = syscall(SYS.sendto, this.fd, this.#frame.address, frame.length);
    }
    if (result === -ERRNO.ENOBUFS || result === -ERRNO.EAGAIN) return false;
    must(result, 'send a frame');
    return true;
  }

  /** The next waiting frame, as a copy; undefined when none waits. */
  receive(): Uint8Array | undefined {
    this.#header.u32(8, ADDRESS.size).u64(40, CONTROL_BYTES);
    const n = syscall(SYS.recvmsg, this.fd, this.#header.address, 0);
    if (n === -ERRNO.EAGAIN || n === -ERRNO.ENETDOWN) return undefined;
    must(n, 'receive a frame');
    const control = this.#control.view;
    const aux = this.#auxAt;
    const status = control.getUint32(aux + AUX.status, true);
    if ((status & AUX.vlanValid) === 0) return this.#frame.bytes.slice(0, n);
    const tpid =
      (status & AUX.tpidValid) === 0 ? TPID_DEFAULT : control.getUint16(aux + AUX.tpid, true);
    const out = new Uint8Array(n + 4);
    out.set(this.#frame.bytes.subarray(0, 12));
    new DataView(out.buffer).setUint16(12, tpid);
    new DataView(out.buffer).setUint16(14, control.getUint16(aux + AUX.tci, true));
    out.set(this.#frame.bytes.subarray(12, n), 16);
    return out;
  }

  /** The mark of the frame that `receive` answered last; only of a socket that tells marks. */
  get mark(): number {
    if (this.#auxAt === 0) throw new Error('this packet socket does not tell marks');
    return this.#control.view.getUint32(MARK.value, true);
  }

  /** Whom the frame that `receive` answered last is for, as the kernel sees it (packet(7)). */
  get packetType(): number {
    return this.#address.bytes[ADDRESS.packetType] ?? 0;
  }

  /** Whether the frame that `receive` answered last was on its way out. */
  get wasOutgoing(): boolean {
    return this.packetType === PACKET_OUTGOING;
  }

  /** Frames the kernel had no room for since this was last asked (struct tpacket_stats). */
  lost(): number {
    const statistics = new Memory(8);
    const size = new Memory(4).u32(0, statistics.size);
    const args = [this.fd, SOL_PACKET, PACKET_STATISTICS, statistics.address, size.address];
    must(
      syscallHolding([statistics, size], SYS.getsockopt, ...args),
      'read the statistics of a packet socket',
    );
    return statistics.view.getUint32(4, true);
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}
