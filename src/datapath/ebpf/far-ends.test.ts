/**
 * Frames for a container go straight to its interface, as if they had come by its cable; and where
 * that would be wrong, or the other end is not in another namespace, they do not.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import type { DpPort, FlowRef } from '#flow/flow.ts';
import { EXACT } from '#flow/mask.ts';
import type { Actions } from '#flow/flow.ts';
import { BROADCAST } from '#net/mac.ts';
import type { PacketSocket } from '#os/packet-socket.ts';
import { fieldSet } from '#virtual/match.ts';
import { flowOf, hex, mac, PORT_KEY, put, REMOTE, to, udp } from '../contract/frames.ts';
import { until } from '../contract/rig.ts';
import type { EbpfDatapath, EbpfOptions } from './open.ts';
import { encapsulate, isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
const NETWORK = 0x800005;
const LOOK_MS = 60_000;
/** Whom a frame is for (linux/if_packet.h). */
const TYPE = { host: 0, broadcast: 1, otherHost: 3 } as const;

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });

/** Frames that left by an interface the ordinary way. */
function sent(testbed: Testbed, name: string): number {
  const [link] = JSON.parse(ip('-n', testbed.host, '-j', '-s', 'link', 'show', 'dev', name)) as [
    { readonly stats64: { readonly tx: { readonly packets: number } } },
  ];
  return link.stats64.tx.packets;
}

/** Port `a` with `g1` behind it, and `b` with `g2`, each of its MAC of the suite. */
class Pair {
  readonly testbed: Testbed;
  readonly a: DpPort;
  readonly b: DpPort;
  dp: EbpfDatapath;
  #slot = 0;

  constructor(testbed: Testbed, settings: Partial<EbpfOptions> = {}) {
    testbed.answerTo(mac);
    this.testbed = testbed;
    this.a = testbed.port('v1');
    this.b = testbed.port('v2');
    this.dp = testbed.open(settings);
    for (const port of [this.a, this.b]) this.dp.addPort(port);
  }

  install(frame: Uint8Array, actions: Actions, fields = EXACT): FlowRef {
    const ref = { slot: this.#slot++, generation: 1 };
    this.dp.install(ref, flowOf({ port: this.a }, frame, actions, fields));
    this.dp.commit();
    return ref;
  }

  /** Sends by `send`; answers the frame as it came to `receiver`, and whether it came straight. */
  async carried(receiver: PacketSocket, send: () => void) {
    const before = sent(this.testbed, 'v2');
    send();
    const frame = await until('a frame arrives', () => receiver.receive());
    const { mark, packetType } = receiver;
    const straight = sent(this.testbed, 'v2') === before;
    return { frame: hex(frame), mark, packetType, straight };
  }
}

const dst = (frame: Uint8Array, address: number): Uint8Array => {
  put(frame, 0, address, 6);
  return frame;
};

/** While somebody looks the way is the same, and the frame is shown as it leaves. */
async function isShown(
  pair: Pair,
  receiver: PacketSocket,
  { send, frame }: { readonly send: () => void; readonly frame: string },
): Promise<void> {
  const { dp, b } = pair;
  const untilMs = dp.now() + LOOK_MS;
  const rate = { perSecond: 1_000, burst: 1_000 };
  dp.sights.look(0, { port: b, matches: [], snapBytes: 2_000, untilMs, ...rate });
  const shown: string[] = [];
  const { straight, frame: got } = await pair.carried(receiver, send);
  assert.deepEqual({ straight, got }, { straight: true, got: frame });
  await until('the frame is shown', () => {
    dp.sights.drain(({ where, frame: seen }) => void shown.push(`${where} ${hex(seen)}`), 8);
    return shown.length > 0 ? true : undefined;
  });
  assert.deepEqual(shown, [`out ${frame}`]);
  dp.sights.end(0);
}

test('what is for a container goes straight to it, and nothing else', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    const pair = new Pair(testbed);
    using _ = pair.dp;
    const { dp, b } = pair;
    using sender = testbed.socket('g1');
    using far = testbed.socket('u1');
    using receiver = testbed.socket('g2', testbed.guest, { marks: true });
    dp.setKey({ key: PORT_KEY, port: b, network: NETWORK });
    dp.allowSender(dp.addPeer(REMOTE), NETWORK);

    const rows = [
      { frame: udp({ id: 1 }), packetType: TYPE.host, straight: true },
      { frame: udp({ id: 2, dst: 9 }), packetType: TYPE.otherHost, straight: false },
      { frame: dst(udp({ id: 3 }), BROADCAST), packetType: TYPE.broadcast, straight: false },
      // The kernel takes the tag off, and on again for this socket.
      { frame: udp({ id: 4, vlan: 7 }), packetType: TYPE.host, straight: false },
    ];
    for (const { frame, packetType, straight } of rows) {
      const want = { frame: hex(frame), mark: 0, packetType, straight };
      pair.install(frame, to(b));
      assert.deepEqual(await pair.carried(receiver, () => void sender.send(frame)), want);
      const outer = encapsulate({ source: REMOTE, key: PORT_KEY }, frame);
      assert.deepEqual(await pair.carried(receiver, () => void far.send(outer)), want);
    }

    // By what it is rewritten to, and not where the flow is of several addresses.
    const other = udp({ id: 5, dst: 9 });
    pair.install(other, { ...to(b), ethDst: mac(2) });
    const rewritten = { packetType: TYPE.host, mark: 0, straight: true };
    assert.deepEqual(await pair.carried(receiver, () => void sender.send(other)), {
      frame: hex(dst(udp({ id: 5, dst: 9 }), mac(2))),
      ...rewritten,
    });
    await isShown(pair, receiver, {
      send: () => void sender.send(other),
      frame: hex(dst(udp({ id: 5, dst: 9 }), mac(2))),
    });
    const known = udp({ id: 1 });
    await isShown(pair, receiver, {
      send: () => void far.send(encapsulate({ source: REMOTE, key: PORT_KEY }, known)),
      frame: hex(known),
    });
    const wide = udp({ id: 6, src: 4 });
    pair.install(wide, to(b), fieldSet(['ethSrc']));
    const ordinary = await pair.carried(receiver, () => void sender.send(wide));
    assert.deepEqual([ordinary.frame, ordinary.straight], [hex(wide), false]);

    // The agent's own frames cannot.
    const ref = pair.install(udp({ id: 7 }), to(b));
    const injected = await pair.carried(receiver, () => {
      dp.inject(ref, udp({ id: 7 }), 0);
      dp.commit();
    });
    assert.deepEqual(injected, {
      frame: hex(udp({ id: 7 })),
      packetType: TYPE.host,
      mark: 0,
      straight: false,
    });
    assert.equal(dp.stats(ref).packets, 1);
    const { hits, tunnelHits, drops } = dp.counters();
    // One of each besides, while somebody looked.
    assert.deepEqual([hits, tunnelHits, drops], [rows.length + 3, rows.length + 1, {}]);
  } finally {
    testbed.close();
  }
});

test('with the setting off, and after a new start with it off, nothing does', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    using sender = testbed.socket('g1');
    using receiver = testbed.socket('g2', testbed.guest, { marks: true });
    const pair = new Pair(testbed);
    pair.install(udp(), to(pair.b));
    const straight = async () =>
      (await pair.carried(receiver, () => void sender.send(udp()))).straight;
    assert.equal(await straight(), true);
    for (const peerRedirect of [false, true]) {
      pair.dp[Symbol.dispose]();
      pair.dp = testbed.open({ peerRedirect });
      assert.equal(await straight(), peerRedirect, 'also for flows that were there before');
    }
    pair.dp[Symbol.dispose]();
  } finally {
    testbed.close();
  }
});

test('an end that is moved, also into the host, keeps getting its frames', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    const pair = new Pair(testbed);
    using sender = testbed.socket('g1');
    using far = testbed.socket('u1');
    pair.install(udp(), to(pair.b));
    pair.dp.setKey({ key: PORT_KEY, port: pair.b, network: NETWORK });
    pair.dp.allowSender(pair.dp.addPeer(REMOTE), NETWORK);
    const outer = encapsulate({ source: REMOTE, key: PORT_KEY }, udp());
    let at = testbed.guest;
    const move = (namespace: string): void => {
      ip('-n', at, 'link', 'set', 'g2', 'netns', namespace);
      ip('-n', namespace, 'link', 'set', 'g2', 'up', 'arp', 'off');
      at = namespace;
    };
    const check = async (straight: boolean): Promise<void> => {
      using receiver = testbed.socket('g2', at, { marks: true });
      for (const send of [() => void sender.send(udp()), () => void far.send(outer)]) {
        const carried = await pair.carried(receiver, send);
        assert.deepEqual([carried.frame, carried.straight], [hex(udp()), straight]);
      }
    };
    await check(true);
    const [host, elsewhere] = [testbed.host, testbed.workload('g3', '10.9.0.3/24')];
    for (const namespace of [host, elsewhere, host, testbed.guest]) {
      move(namespace);
      // As the agent does when it is told of its interfaces.
      assert.deepEqual(pair.dp.ports(), [pair.a, pair.b]);
      await check(namespace !== host);
    }
    // Moved while no agent runs: found at the next start.
    pair.dp[Symbol.dispose]();
    move(host);
    pair.dp = testbed.open();
    await check(false);
    pair.dp[Symbol.dispose]();
  } finally {
    testbed.close();
  }
});
