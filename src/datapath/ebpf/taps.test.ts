/**
 * Ports that virtual machines are behind: taps. They differ from cables in what is behind them (a
 * file, and a carrier only while it is open) and in what frames bring along: super-packets and
 * unfinished checksums, which must leave as they came.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Actions, DpPort, FlowRef } from '#flow/flow.ts';
import { EXACT } from '#flow/mask.ts';
import { checksum, fold, pseudoSum } from '#net/checksum.ts';
import type { Ip4 } from '#net/ip.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { addAddress } from '#os/netlink/addresses.ts';
import { deleteLink, linkByName, setLink } from '#os/netlink/links.ts';
import { PacketSocket } from '#os/packet-socket.ts';
import { readSysctl } from '#os/sysctl.ts';
import { OFFLOAD, Tap } from '#os/tap.ts';
import { ethernet, flowOf, hex, PORT_KEY, put, REMOTE, to, udp } from '../contract/frames.ts';
import { until } from '../contract/rig.ts';
import { writeVnetHeader } from './offload.ts';
import type { EbpfDatapath } from './open.ts';
import { encapsulate, isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
const NETWORK = 0x800005;
const MSS = 1000;
const SEGMENTS = 7;
const ALL_OFFLOADS = OFFLOAD.checksum | OFFLOAD.tcp4 | OFFLOAD.tcp6;
const VNET_BYTES = 10;
const AT = { ip: 14, tcp: 34, payload: 54 } as const;

/** A super-packet as a guest sends it: TCP, and only the pseudo-header's sum in its checksum. */
function superPacket(id: number): { frame: Uint8Array; header: Uint8Array } {
  const size = 40 + MSS * SEGMENTS;
  const frame = ethernet({ src: 1, dst: 2, vlan: undefined, type: 0x0800 }, size);
  put(frame, AT.ip, 0x45000000 + size, 4);
  put(frame, AT.ip + 4, id, 2);
  frame.set([64, 6], AT.ip + 8);
  put(frame, AT.ip + 12, 0x0a000001, 4);
  put(frame, AT.ip + 16, 0x0a000002, 4);
  put(frame, AT.ip + 10, checksum(frame, AT.ip, AT.tcp), 2);
  put(frame, AT.tcp, 1000, 2);
  put(frame, AT.tcp + 2, 2000, 2);
  put(frame, AT.tcp + 4, id * 100_000, 4);
  frame.set([0x50, 0x10], AT.tcp + 12);
  put(frame, AT.tcp + 14, 5000, 2);
  for (let i = AT.payload; i < frame.length; i++) frame[i] = i * 7 + (i >> 8);
  const pseudo = { src: 0x0a000001 as Ip4, dst: 0x0a000002 as Ip4, protocol: 6 };
  put(frame, AT.tcp + 16, fold(pseudoSum({ ...pseudo, length: size - 20 })), 2);
  const header = new Uint8Array(VNET_BYTES);
  writeVnetHeader(frame, MSS, header, 0);
  return { frame, header };
}

/** Whether what a frame says of its own TCP checksum is true. */
function isWhole(frame: Uint8Array): boolean {
  const length = frame.length - AT.tcp;
  const sum = pseudoSum({ src: 0x0a000001 as Ip4, dst: 0x0a000002 as Ip4, protocol: 6, length });
  return checksum(frame, AT.tcp, frame.length, sum) === 0;
}

/** Taps in the host of a testbed, made to stay, quiet. */
function makeTap(testbed: Testbed, name: string): DpPort {
  using tap = new Tap(name);
  tap.persist(true);
  return testbed.port(name);
}

/** Opens a tap as its guest, when the kernel takes frames for it: a moment later (noop_qdisc). */
async function openTap(name: string, options?: ConstructorParameters<typeof Tap>[1]): Promise<Tap> {
  const tap = new Tap(name, options);
  try {
    await until(`${name} runs`, () => linkByName(name)?.running || undefined);
  } catch (error) {
    tap[Symbol.dispose]();
    throw error;
  }
  return tap;
}

class Flows {
  readonly #dp: EbpfDatapath;
  #slot = 0;
  constructor(dp: EbpfDatapath) {
    this.#dp = dp;
  }
  install(port: DpPort, frame: Uint8Array, actions: Actions): FlowRef {
    const ref = { slot: this.#slot++, generation: 1 };
    this.#dp.install(ref, flowOf({ port }, frame, actions, EXACT));
    this.#dp.commit();
    return ref;
  }
}

const next = (tap: Tap) => until('a frame comes out of a tap', () => tap.receive());

test('super-packets of a guest leave as they came, or as segments', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    const [a, b, c] = ['tap1', 'tap2', 'tap3'].map((name) => makeTap(testbed, name)) as [
      DpPort,
      DpPort,
      DpPort,
    ];
    using dp = testbed.open();
    for (const port of [a, b, c]) dp.addPort(port);
    using guest = await openTap('tap1');
    using other = await openTap('tap2', { offload: ALL_OFFLOADS });
    using plain = await openTap('tap3');
    const flows = new Flows(dp);
    const { frame, header } = superPacket(1);

    // Handed up, with the size of its segments, and sent again by the agent.
    guest.send(frame, header);
    await until('it is handed up', () => {
      let seen: true | undefined;
      dp.upcalls((upcall) => {
        assert.deepEqual([hex(upcall.frame), upcall.gsoSize], [hex(frame), MSS]);
        dp.execute(upcall.frame, to(b), upcall.gsoSize);
        seen = true;
      }, 8);
      return seen;
    });
    dp.commit();
    const again = await next(other);
    assert.deepEqual([hex(again.frame), hex(again.header)], [hex(frame), hex(header)]);

    // By a flow, which counts its segments.
    const ref = flows.install(a, frame, to(b));
    guest.send(frame, header);
    const sent = await next(other);
    assert.deepEqual([hex(sent.frame), hex(sent.header)], [hex(frame), hex(header)]);
    assert.deepEqual(dp.stats(ref), { ...dp.stats(ref), packets: SEGMENTS + 1 });

    // To a guest that takes no such thing the kernel cuts it, and finishes every checksum.
    dp.remove([ref]);
    flows.install(a, frame, to(c));
    guest.send(frame, header);
    const payload: Uint8Array[] = [];
    for (let i = 0; i < SEGMENTS; i++) {
      const segment = await next(plain);
      assert.deepEqual([...segment.header], [...new Uint8Array(VNET_BYTES)]);
      assert.ok(isWhole(segment.frame));
      payload.push(segment.frame.subarray(AT.payload));
    }
    assert.equal(hex(Buffer.concat(payload)), hex(frame.subarray(AT.payload)));
    assert.equal(plain.receive(), undefined);
  } finally {
    testbed.close();
  }
});

test(
  'super-packets of a guest stay whole through the tunnel, and from there',
  options,
  async () => {
    sweep();
    const testbed = new Testbed();
    try {
      setLink(testbed.port('u0'), { mtu: 2000 });
      inNetns(netnsPath(testbed.guest), () =>
        setLink(testbed.guestLink('u1').index, { mtu: 2000 }),
      );
      const a = makeTap(testbed, 'tap1');
      using dp = testbed.open();
      dp.addPort(a);
      using guest = await openTap('tap1', { offload: ALL_OFFLOADS });
      using far = testbed.socket('u1');
      const { frame, header } = superPacket(1);
      new Flows(dp).install(a, frame, { outputs: [{ key: PORT_KEY, remote: dp.addPeer(REMOTE) }] });
      guest.send(frame, header);
      // One frame on the underlay, with 50 bytes before it: it was not cut.
      const outer = await until('it leaves by the tunnel', () => {
        const got = far.receive();
        return got !== undefined && got.length > frame.length ? got : undefined;
      });
      assert.equal(outer.length, 50 + frame.length);
      assert.equal(hex(outer.subarray(50 + AT.payload)), hex(frame.subarray(AT.payload)));

      // A frame that comes for the guest's port, by key.
      dp.setKey({ key: PORT_KEY, port: a, network: NETWORK });
      dp.allowSender(dp.addPeer(REMOTE), NETWORK);
      far.send(encapsulate({ source: REMOTE, key: PORT_KEY }, udp({ id: 3 })));
      assert.equal(hex((await next(guest)).frame), hex(udp({ id: 3 })));
    } finally {
      testbed.close();
    }
  },
);

test('a guest that is started again, and a tap made anew', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    const a = makeTap(testbed, 'tap1');
    const b = testbed.port('v2');
    using dp = testbed.open();
    for (const port of [a, b]) dp.addPort(port);
    using cable = testbed.socket('g2');
    const flows = new Flows(dp);
    flows.install(a, udp(), to(b));
    flows.install(b, udp({ src: 2, dst: 1 }), to(a));
    const carrier = () => linkByName('tap1')?.lowerUp;
    const talk = async (tap: Tap): Promise<void> => {
      assert.equal(carrier(), true);
      tap.send(udp());
      const got = await until('a frame arrives at the cable', () => cable.receive());
      assert.equal(hex(got), hex(udp()));
      // Right after the file was opened the kernel may still lose frames.
      const back = await until('a frame arrives at the guest', () => {
        cable.send(udp({ src: 2, dst: 1 }));
        return tap.receive();
      });
      assert.equal(hex(back.frame), hex(udp({ src: 2, dst: 1 })));
    };
    assert.equal(carrier(), false);
    for (let run = 0; run < 2; run++) {
      using tap = new Tap('tap1');
      await talk(tap);
    }
    assert.equal(carrier(), false, 'no guest: nobody takes frames');
    cable.send(udp({ src: 2, dst: 1 }));
    assert.deepEqual(dp.ports(), [a, b]);

    // Made anew: another interface, also under the same number, until it is taken over.
    deleteLink(a);
    assert.deepEqual(dp.ports(), [b]);
    const again = makeTap(testbed, 'tap1');
    dp.addPort(again);
    flows.install(again, udp(), to(b));
    flows.install(b, udp({ src: 2, dst: 1 }), to(again));
    using tap = new Tap('tap1');
    await talk(tap);
  } finally {
    testbed.close();
  }
});

test('a guest and the host do not hear each other', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    const a = makeTap(testbed, 'tap1');
    addAddress({ index: a, address: Uint8Array.of(10, 0, 0, 2), prefixLength: 24 });
    using guest = new Tap('tap1');
    const arp = ethernet({ src: 1, dst: 2, vlan: undefined, type: 0x0806 }, 46);
    arp.fill(0xff, 0, 6);
    put(arp, 14, 0x00010800, 4);
    put(arp, 18, 0x06040001, 4);
    arp.set(arp.subarray(6, 12), 22);
    put(arp, 28, 0x0a000001, 4);
    put(arp, 38, 0x0a000002, 4);
    {
      setLink(a, { up: true });
      guest.send(arp);
      await until('unbound, the host answers, so that the rest could fail', () => {
        const got = guest.receive()?.frame;
        return got !== undefined && got[12] === 8 && got[21] === 2 ? true : undefined;
      });
    }
    using dp = testbed.open();
    dp.addPort(a);
    assert.equal(readSysctl('net/ipv6/conf/tap1/disable_ipv6'), '1');
    while (guest.receive() !== undefined);
    guest.send(arp);
    assert.equal(
      await until('the question is handed up', () => dp.upcalls(() => {}, 8) || undefined),
      1,
    );
    using host = new PacketSocket(a);
    host.send(udp());
    assert.equal(dp.counters().drops['not-ours'], 1);
    // The first that comes out is what the datapath sends: neither an answer nor the host's frame.
    dp.execute(udp({ id: 9 }), to(a), 0);
    dp.commit();
    assert.equal(hex((await next(guest)).frame), hex(udp({ id: 9 })));
    assert.equal(guest.receive(), undefined);
  } finally {
    testbed.close();
  }
});
