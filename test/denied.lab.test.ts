/**
 * What a firewall denies is dropped where it enters: of 100,000 packets of a workload, and as many
 * from outside, none is seen on the underlay, and nearly none by an agent.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentCounters } from '#client/types.ts';
import { cleanLab } from '#lab/clean.ts';
import { announce, countersWhen, makeLab, namespaceOf, waitForAgents, type Lab } from '#lab/lab.ts';
import { UNDERLAY_INTERFACE } from '#lab/names.ts';
import { ping } from '#lab/ping.ts';
import { until } from '#lab/processes.ts';
import { parseRecipe } from '#lab/recipe.ts';
import { WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { parseFrameText } from '#net/text.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';
import { PacketSocket } from '#os/packet-socket.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const PACKETS = 100_000;
/** Frames between two looks at what came; the socket's queue holds many more. */
const BATCH = 256;
const WAIT_MS = 30_000;
const ALLOWED = 50;
/** What is in every packet, and in nothing else. */
const MARK = 'c0ffee5eed';

const RECIPE = `
about: two hosts and the outside
hosts: [h1, h2]
bridges: { net1: { tenant: alpha, seeded: true } }
routers:
  r0:
    tenant: alpha
    ports:
      r0-net1: { bridge: net1, networks: [10.1.0.254/24] }
      r0-out: { workload: outside, networks: [192.0.2.1/24] }
workloads:
  vm1: { host: h1, bridge: net1, mac: '02:00:00:00:01:01', addresses: [10.1.0.1/24], via: [10.1.0.254] }
  vm2: { host: h2, bridge: net1, mac: '02:00:00:00:01:02', addresses: [10.1.0.2/24], via: [10.1.0.254] }
  outside: { host: h2, mac: '02:00:00:00:f0:01', addresses: [192.0.2.254/24], via: [192.0.2.1] }
`;

function socketIn(namespace: string, name: string, everything = false): PacketSocket {
  return inNetns(netnsPath(namespace), () => {
    const link = linkByName(name);
    assert.ok(link, `${namespace} has no ${name}`);
    return new PacketSocket(link.index, { everything });
  });
}

/** How many packets with the mark have passed since the last look. */
function marked(sockets: readonly PacketSocket[]): number {
  const mark = Buffer.from(MARK, 'hex');
  let seen = 0;
  for (const socket of sockets)
    for (let frame = socket.receive(); frame !== undefined; frame = socket.receive())
      if (Buffer.from(frame.buffer, frame.byteOffset, frame.length).includes(mark)) seen++;
  return seen;
}

const dropsOf = ({ drops }: AgentCounters): number =>
  Object.values(drops).reduce((sum, n) => sum + n, 0);

interface Blast {
  readonly macs: string;
  readonly ends: readonly [from: string, to: string];
}
/** Where a UDP packet over IPv4 has its ports. */
const PORTS_AT = 34;

test('what is denied reaches neither the underlay nor an agent', { skip }, async (t) => {
  await sweepLabs();
  const journal = announce(testLabName('denied'), parseRecipe(RECIPE));
  const sockets: PacketSocket[] = [];
  try {
    const lab = await makeLab(journal, () => {});
    await waitForAgents(lab);
    const underlay = ['h1', 'h2'].map((host) =>
      socketIn(namespaceOf(lab, host), UNDERLAY_INTERFACE, true),
    );
    sockets.push(...underlay);
    const send = (from: string, { macs, ends: [a, b] }: Blast, count: number): number => {
      using socket = socketIn(namespaceOf(lab, from), WORKLOAD_INTERFACE);
      const frame = parseFrameText(`${macs} udp ${a}:1 > ${b}:1 data ${MARK}`);
      assert.ok(frame instanceof Uint8Array, JSON.stringify(frame));
      const view = new DataView(frame.buffer, frame.byteOffset);
      let seen = 0;
      for (let i = 0; i < count;) {
        view.setUint16(PORTS_AT, 1_024 + (i % 50_000));
        view.setUint16(PORTS_AT + 2, 1 + (i % 60_000));
        // The checksum is wrong then: nobody gets so far as to look at it.
        if (socket.send(frame)) i++;
        if (i % BATCH === 0) seen += marked(underlay);
      }
      return seen + marked(underlay);
    };
    await deny(lab);
    const outer = (await lab.client.get('port', 'r0-out')) as unknown as { mac: string };
    const ways = [
      {
        from: 'vm1',
        host: 'h1',
        macs: '02:00:00:00:01:01 > 02:00:00:00:01:02',
        ends: ['10.1.0.1', '10.1.0.2'],
      },
      {
        from: 'outside',
        host: 'h2',
        macs: `02:00:00:00:f0:01 > ${outer.mac}`,
        ends: ['192.0.2.254', '10.1.0.1'],
      },
    ] as const;
    for (const { from, host, ...blast } of ways) {
      const denied = await countersWhen(lab, host, () => true);
      const had = dropsOf(denied);
      const seen = send(from, blast, PACKETS);
      const now = await countersWhen(lab, host, (told) => dropsOf(told) - had >= PACKETS);
      const up = now.upcalls - denied.upcalls;
      t.diagnostic(
        `${PACKETS} from ${from}: ${seen} on the underlay, dropped on ${host}: ` +
          `${JSON.stringify(now.drops)}, ${up} handed up`,
      );
      assert.equal(seen, 0, 'none on the underlay');
      // While the first is decided, others may be handed up: as many as the port's budget has.
      assert.ok(up < PACKETS / 10, `${up} were handed up`);
    }
    // That they would have been seen: the same, allowed.
    await filterBy(lab, null);
    for (const { from, ...blast } of ways) {
      let seen = send(from, blast, ALLOWED);
      await until('allowed packets are seen', WAIT_MS, async () => {
        seen += marked(underlay);
        return seen >= ALLOWED;
      });
    }
  } finally {
    for (const socket of sockets) socket[Symbol.dispose]();
    await cleanLab(journal.lab);
  }
});

/** Everybody knows his neighbours; then nothing but ARP is let in. */
async function deny(lab: Lab): Promise<void> {
  await until('vm1 and the outside reach each other', WAIT_MS, async () => {
    const { received } = await ping(lab, 'vm1', '192.0.2.254', {});
    return received === 1;
  });
  const { objects } = await lab.client.create('chain', { name: 'closed' });
  const chain = objects[0]?.id ?? '';
  await lab.client.create('rule', { chain, action: 'accept', etherType: 'arp' });
  await lab.client.create('rule', { chain, action: 'drop' });
  await filterBy(lab, chain);
}

async function filterBy(lab: Lab, chain: string | null): Promise<void> {
  let revision = 0;
  for (const name of ['vm1', 'vm2'])
    ({ revision } = await lab.client.update('port', name, { outboundFilter: chain }));
  await lab.client.wait(revision, WAIT_MS);
}
