/** What packets of the tunnel look like outside, and what becomes of their marks inside. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Output, TunnelKey } from '#flow/flow.ts';
import { checksum } from '#net/checksum.ts';
import { createVxlan, deleteLink, linkByName } from '#os/netlink/links.ts';
import {
  FLOOD_KEY,
  hex,
  ours,
  PORT_KEY,
  put,
  REMOTE,
  REMOTE6,
  udp,
  udp6,
} from '../contract/frames.ts';
import { until } from '../contract/rig.ts';
import { TUNNEL_DEVICE } from './devices.ts';
import { decapsulate, encapsulate, isRoot, sweep, Testbed, TUNNEL_UDP_PORT } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
/** Expedited forwarding (RFC 3246), as a TOS; ECT(0) (RFC 3168 §5). */
const EF = 46 * 4;
const ECT = 2;
const EF_ECT = EF + ECT;
const CE = 3;

/** With a TOS or traffic class. */
function marked(frame: Uint8Array, tos: number, ip = 14): Uint8Array {
  const view = new DataView(frame.buffer);
  if ((frame[ip] ?? 0) >> 4 === 6) {
    view.setUint16(ip, 0x6000 | (tos << 4));
    return frame;
  }
  frame[ip + 1] = tos;
  view.setUint16(ip + 10, 0);
  view.setUint16(ip + 10, checksum(frame, ip, ip + 20));
  return frame;
}

for (const [setting, outside] of [
  ['copy', EF],
  [0, 0],
  [10 * 4, 10 * 4],
] as const)
  test(`the mark outside: ${setting}`, options, async () => {
    sweep();
    const testbed = new Testbed();
    try {
      using datapath = testbed.open({ tunnelTos: setting });
      using far = testbed.socket('u1');
      const arp = udp();
      put(arp, 12, 0x0806, 2);
      const cases = [
        // The device adds what the frame says of congestion.
        [marked(udp(), EF_ECT), outside + ECT],
        [marked(udp6(), EF_ECT), outside + ECT],
        [marked(udp({ vlan: 5 }), EF, 18), outside],
        [marked(udp6({ vlan: 5 }), EF, 18), outside],
        [arp, setting === 'copy' ? 0 : outside],
      ] as const;
      for (const address of [REMOTE, REMOTE6])
        for (const [frame, tos] of cases) {
          const remote = datapath.addPeer(address);
          const outputs: Output[] = [{ key: PORT_KEY, remote }];
          datapath.execute(frame, { outputs }, 0);
          datapath.commit();
          const got = await until('a packet outside', () => {
            for (let bytes = far.receive(); bytes !== undefined; bytes = far.receive()) {
              const packet = decapsulate(bytes);
              if (packet !== undefined && ours(packet.frame)) return packet;
            }
            return undefined;
          });
          assert.equal(hex(got.frame), hex(frame));
          const { dontFragment, udpChecksum } = got;
          assert.deepEqual(
            { remote: got.remote, tos: got.tos, dontFragment, udpChecksum },
            { remote: address, tos, dontFragment: address === REMOTE, udpChecksum: 0 },
          );
        }
    } finally {
      testbed.close();
    }
  });

test('congestion told outside is told inside, to whom can hear it', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    using datapath = testbed.open();
    const port = testbed.port('v1');
    datapath.addPort(port);
    datapath.setKey({ key: PORT_KEY, port, network: FLOOD_KEY });
    using far = testbed.socket('u1');
    using guest = testbed.socket('g1');
    for (const source of [REMOTE, REMOTE6]) {
      datapath.allowSender(datapath.addPeer(source), FLOOD_KEY);
      const send = (tos: number, frame: Uint8Array) =>
        void far.send(encapsulate({ source, key: PORT_KEY as TunnelKey, tos }, frame));
      // Who cannot hear it gets nothing: RFC 6040 §4.2.
      send(CE, marked(udp({ id: 1 }), 0));
      send(CE, marked(udp({ id: 2 }), EF_ECT));
      send(0, marked(udp({ id: 3 }), EF_ECT));
      const got: string[] = [];
      await until('two frames inside', () => {
        for (let frame = guest.receive(); frame !== undefined; frame = guest.receive())
          if (ours(frame)) got.push(hex(frame));
        return got.length >= 2 ? true : undefined;
      });
      assert.deepEqual(got, [
        hex(marked(udp({ id: 2 }), EF_ECT | CE)),
        hex(marked(udp({ id: 3 }), EF_ECT)),
      ]);
    }
  } finally {
    testbed.close();
  }
});

test('a tunnel device that takes no packets over IPv6 is made anew', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    testbed.open()[Symbol.dispose]();
    const right = linkByName(TUNNEL_DEVICE);
    assert.equal(right?.zeroChecksum6, true);
    testbed.open()[Symbol.dispose]();
    assert.equal(linkByName(TUNNEL_DEVICE)?.index, right.index, 'and else stays');
    deleteLink(right.index);
    createVxlan({
      name: TUNNEL_DEVICE,
      udpPort: TUNNEL_UDP_PORT,
      mtu: 1500,
      zeroChecksum6: false,
    });
    testbed.open()[Symbol.dispose]();
    assert.equal(linkByName(TUNNEL_DEVICE)?.zeroChecksum6, true);
    assert.throws(() => testbed.open({ tunnelTos: 256 }), /tunnelTos must be/);
  } finally {
    testbed.close();
  }
});
