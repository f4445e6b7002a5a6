/** For tests: a bench of the contract suite whose ports are taps, each open as by a machine. */
import type { DpPort } from '#flow/flow.ts';
import { setLink } from '#os/netlink/links.ts';
import { PacketSocket } from '#os/packet-socket.ts';
import { Tap } from '#os/tap.ts';
import type { Bench } from '../contract.ts';
import type { EbpfOptions } from './open.ts';
import { openBench } from './testbed.ts';

const TAPS = 3;
/** What the suite's largest frames need. */
const WIDE_BYTES = 2000;

export function openTapBench(options: Partial<EbpfOptions> = {}): Bench {
  const bench = openBench(options);
  const taps = new Map<DpPort, Tap>();
  const close = (): void => {
    for (const tap of taps.values()) tap[Symbol.dispose]();
    void bench.close();
  };
  try {
    for (let i = 1; i <= TAPS; i++) {
      const tap = new Tap(`tap${i}`);
      const port = bench.testbed.port(`tap${i}`);
      taps.set(port, tap);
      setLink(port, { mtu: WIDE_BYTES });
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    ...bench,
    ports: [...taps.keys()],
    // Of one that was let go, and is down, the frame is lost.
    send: (port, frame) => void taps.get(port)?.send(frame),
    received: (port) => {
      const frames: Uint8Array[] = [];
      const tap = taps.get(port);
      for (let got = tap?.receive(); got !== undefined; got = tap?.receive())
        frames.push(got.frame);
      return Promise.resolve(frames);
    },
    hostSends: (port, frame) => {
      using socket = new PacketSocket(port);
      socket.send(frame);
    },
    close,
  };
}
