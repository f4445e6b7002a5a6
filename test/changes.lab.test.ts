/**
 * A firewall that is edited under traffic: what every version of it allows never loses a packet,
 * what none allows never gets one through; what an edit forbids has stopped when `wait` says so.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanLab } from '#lab/clean.ts';
import { announce, makeLab, namespaceOf, waitForAgents, type Lab } from '#lab/lab.ts';
import { until } from '#lab/processes.ts';
import { parseRecipe } from '#lab/recipe.ts';
import { WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { parseFrameText } from '#net/text.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';
import { PacketSocket } from '#os/packet-socket.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const ROUNDS = 40;
const WAIT_MS = 30_000;
/** Frames of each stream between two turns of the event loop, and the pause between these. */
const BURST = 4;
const PAUSE_MS = 2;
const ALLOWED = 'a110ed';
const ANSWERS = 'a45e45';
const DENIED = 'de41ed';

const RECIPE = `
about: two hosts
hosts: [h1, h2]
bridges: { net1: { tenant: alpha, seeded: true } }
workloads:
  vm1: { host: h1, bridge: net1, mac: '02:00:00:00:01:01', addresses: [10.1.0.1/24] }
  vm2: { host: h2, bridge: net1, mac: '02:00:00:00:01:02', addresses: [10.1.0.2/24] }
`;

function socketOf(lab: Lab, workload: string): PacketSocket {
  return inNetns(netnsPath(namespaceOf(lab, workload)), () => {
    const link = linkByName(WORKLOAD_INTERFACE);
    assert.ok(link);
    return new PacketSocket(link.index);
  });
}
function framed(text: string): Uint8Array {
  const frame = parseFrameText(text);
  assert.ok(frame instanceof Uint8Array, JSON.stringify(frame));
  return frame;
}

/** Frames by their data, as they come out. */
class Receiver {
  readonly counts = new Map<string, number>();
  readonly #socket: PacketSocket;

  constructor(socket: PacketSocket) {
    this.#socket = socket;
  }
  take(): void {
    for (let frame = this.#socket.receive(); frame !== undefined; frame = this.#socket.receive()) {
      const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
      for (const mark of [ALLOWED, ANSWERS, DENIED])
        if (bytes.includes(Buffer.from(mark, 'hex')))
          this.counts.set(mark, (this.counts.get(mark) ?? 0) + 1);
    }
  }
  of(mark: string): number {
    this.take();
    return this.counts.get(mark) ?? 0;
  }
}

interface Stream {
  readonly socket: PacketSocket;
  readonly frame: Uint8Array;
  sent: number;
}

test('edits under traffic lose nothing and let nothing through', { skip }, async (t) => {
  await sweepLabs();
  const journal = announce(testLabName('changes'), parseRecipe(RECIPE));
  const closing = new DisposableStack();
  try {
    const lab = await makeLab(journal, () => {});
    await waitForAgents(lab);
    const { client } = lab;
    const create = async (kind: 'chain' | 'address-group' | 'rule', fields: object) =>
      (await client.create(kind, fields as never)).objects[0]!.id;
    const group = await create('address-group', { name: 'peers', addresses: ['10.1.0.1'] });
    const chain = await create('chain', { name: 'in-vm2' });
    const answers = await create('chain', { name: 'in-vm1' });
    await create('rule', { chain, position: 10, action: 'accept', etherType: 'arp' });
    const service = { action: 'accept', protocol: 'udp', sourceGroup: group };
    const wider = { ...service, destinationPorts: '50-60' };
    await create('rule', { chain, position: 500, ...service, destinationPorts: '53' });
    await create('rule', { chain, position: 900, action: 'drop' });
    await create('rule', { chain: answers, action: 'accept', connection: ['established'] });
    await create('rule', { chain: answers, action: 'drop', etherType: 'ip' });
    await client.update('port', 'vm1', { outboundFilter: answers });
    const { revision } = await client.update('port', 'vm2', { outboundFilter: chain });
    await client.wait(revision, WAIT_MS);

    const [vm1, vm2] = [closing.use(socketOf(lab, 'vm1')), closing.use(socketOf(lab, 'vm2'))];
    const [at1, at2] = [new Receiver(vm1), new Receiver(vm2)];
    const forth = '02:00:00:00:01:01 > 02:00:00:00:01:02 udp 10.1.0.1:4000 > 10.1.0.2';
    const back = '02:00:00:00:01:02 > 02:00:00:00:01:01 udp 10.1.0.2:53 > 10.1.0.1';
    const streams: readonly [Stream, Stream, Stream, Stream] = [
      { socket: vm1, frame: framed(`${forth}:53 data ${ALLOWED}`), sent: 0 },
      { socket: vm2, frame: framed(`${back}:4000 data ${ANSWERS}`), sent: 0 },
      { socket: vm1, frame: framed(`${forth}:9 data ${DENIED}`), sent: 0 },
      { socket: vm2, frame: framed(`${back}:4001 data ${DENIED}`), sent: 0 },
    ];
    const [allowed, answered] = streams;
    let going = true;
    const traffic = (async (): Promise<void> => {
      while (going) {
        for (const stream of streams)
          for (let i = 0; i < BURST; i++) if (stream.socket.send(stream.frame)) stream.sent += 1;
        at1.take();
        at2.take();
        await sleep(PAUSE_MS);
      }
    })();
    await until('both streams arrive', WAIT_MS, () =>
      Promise.resolve(at2.of(ALLOWED) > 0 && at1.of(ANSWERS) > 0),
    );
    // What was sent before its connection was known is nobody's loss.
    const late = {
      allowed: allowed.sent - at2.of(ALLOWED),
      answers: answered.sent - at1.of(ANSWERS),
    };

    const rowOf = async (position: number) => {
      const rules = await client.listAll('rule', { chain });
      return rules.find((each) => (each as { position?: number }).position === position)!.id;
    };
    let edits = 0;
    const done = async (written: { revision: number }): Promise<void> => {
      await client.wait(written.revision, WAIT_MS);
      edits += 1;
    };
    for (let round = 0; round < ROUNDS; round++) {
      const [here, there] = round % 2 === 0 ? [500, 600] : [600, 500];
      const other = await create('rule', { chain, position: 100, action: 'drop', protocol: 'tcp' });
      await done(await client.update('rule', other, { position: 700 }));
      await done(await client.update('rule', await rowOf(here), { position: there }));
      await done(
        await client.update('address-group', group, { addresses: ['10.1.0.1', '10.9.0.0/16'] }),
      );
      await done(await client.update('address-group', group, { addresses: ['10.1.0.0/24'] }));
      await done(await client.remove('rule', other));
      // The rule is another one, in one step.
      await done(
        await client.transact([
          { op: 'delete', kind: 'rule', id: await rowOf(there) },
          { op: 'create', kind: 'rule', body: { chain, position: there, ...wider } },
        ]),
      );
    }
    going = false;
    await traffic;
    await until('all that was allowed has arrived', WAIT_MS, () =>
      Promise.resolve(
        at2.of(ALLOWED) >= allowed.sent - late.allowed &&
          at1.of(ANSWERS) >= answered.sent - late.answers,
      ),
    ).catch(() => {});
    const denied = at1.of(DENIED) + at2.of(DENIED);
    t.diagnostic(
      `${edits} edits: of ${allowed.sent} packets and ${answered.sent} answers ` +
        `${allowed.sent - at2.of(ALLOWED)} and ${answered.sent - at1.of(ANSWERS)} are missing ` +
        `(${late.allowed} and ${late.answers} from before the first was let in); of ` +
        `${streams[2].sent + streams[3].sent} denied ones ${denied} arrived`,
    );
    assert.ok(at2.of(ALLOWED) >= allowed.sent - late.allowed, 'packets were lost');
    assert.ok(at1.of(ANSWERS) >= answered.sent - late.answers, 'answers were lost');
    assert.equal(denied, 0);

    // What an edit forbids has stopped when it is in force; answers stop with it.
    const rest = await rowOf(ROUNDS % 2 === 0 ? 500 : 600);
    await done(await client.remove('rule', rest));
    const before = at2.of(ALLOWED);
    for (let i = 0; i < 500; i++) vm1.send(allowed.frame);
    await sleep(200);
    assert.equal(at2.of(ALLOWED), before, 'nothing passes after the wait');
  } finally {
    closing.dispose();
    await cleanLab(journal.lab);
  }
});
