/**
 * Flow set-ups on real wires: every frame that some workloads send is the first of its flow, goes
 * through bridge, router and bridge, and has to be decided by the agent. Prints how many of those
 * offered in a second arrived, and where the rest went. As root: `npm run bench:setups`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanLab } from '#lab/clean.ts';
import { announce, countersOf, makeLab, namespaceOf, type Lab } from '#lab/lab.ts';
import { PacketSocket } from '#lab/packet-socket.ts';
import { parseRecipe } from '#lab/recipe.ts';
import { WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { parseFrameText } from '#net/text.ts';

const LAB = 'setups';
const RATES = [10_000, 20_000, 40_000, 60_000];
/** So that all fit into the 65,536 flows of an agent. */
const SECONDS = 0.4;
const QUIET_MS = 1_500;
const BATCH_MS = 5;

/** Several, for each port has a budget of its own. */
const SENDERS = ['s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7'];

const recipe = parseRecipe(`
about: A sender, a router, and the gateway that all of its packets go to.
hosts: [h1]
bridges: { ba: { tenant: t, seeded: true }, bb: { tenant: t, seeded: true } }
routers:
  r:
    tenant: t
    ports:
      r-a: { bridge: ba, networks: [10.1.0.1/24], mac: '02:00:00:00:0f:01' }
      r-b: { bridge: bb, networks: [10.2.0.1/24] }
    routes: [{ destination: 20.0.0.0/6, port: r-b, gateway: 10.2.0.2 }]
workloads:
${SENDERS.map((name, i) => `  ${name}: { host: h1, bridge: ba, mac: '02:00:00:00:01:0${i}', addresses: [10.1.0.1${i}/24] }`).join('\n')}
  to: { host: h1, bridge: bb, mac: '02:00:00:00:00:02', addresses: [10.2.0.2/24] }
`);

const socketOf = (lab: Lab, name: string): PacketSocket =>
  new PacketSocket({ namespace: namespaceOf(lab, name), interface: WORKLOAD_INTERFACE });

/** The last four bytes of the destination: another one, another flow. */
const DESTINATION_AT = 30;
let next = 0x14000000;

function frameFrom(sender: number): Uint8Array {
  const text = `02:00:00:00:01:0${sender} > 02:00:00:00:0f:01 udp 10.1.0.1${sender}:1 > 20.0.0.0:2`;
  const frame = parseFrameText(text);
  if (frame instanceof Uint8Array) return frame;
  throw new Error(frame.error);
}

async function offer(lab: Lab, rate: number): Promise<void> {
  using sockets = new DisposableStack();
  const from = SENDERS.map((name) => sockets.use(socketOf(lab, name)));
  const to = sockets.use(socketOf(lab, 'to'));
  const frames = SENDERS.map((_, i) => frameFrom(i));
  const before = await countersOf(lab, 'h1');
  const total = rate * SECONDS;
  let arrived = 0;
  const start = performance.now();
  let lastMs = 0;
  const look = (): void => {
    const before = arrived;
    for (const { outgoing } of to.drain()) if (!outgoing) arrived++;
    if (arrived > before) lastMs = performance.now() - start;
  };
  for (let sent = 0; sent < total;) {
    const due = Math.min(total, Math.floor(((performance.now() - start) / 1000) * rate));
    for (; sent < due; sent++) {
      const at = sent % SENDERS.length;
      const frame = frames[at]!;
      new DataView(frame.buffer).setUint32(DESTINATION_AT, next++);
      from[at]!.send(frame);
      if (sent % 512 === 0) for (const each of from) each.drain();
    }
    look();
    for (const each of from) each.drain();
    await sleep(BATCH_MS);
  }
  const seconds = (performance.now() - start) / 1000;
  let last = -1;
  for (let quietMs = 0; quietMs < QUIET_MS; quietMs += BATCH_MS) {
    look();
    if (last !== arrived) quietMs = 0;
    last = arrived;
    await sleep(BATCH_MS);
  }
  const after = await countersOf(lab, 'h1');
  const drops = Object.entries(after.drops)
    .map(([reason, n]) => [reason, n - (before.drops[reason] ?? 0)] as const)
    .filter(([, n]) => n > 0)
    .map(([reason, n]) => `${reason} ${n}`);
  const offered = Math.round(total / seconds);
  const flows = after.flowsInstalled - before.flowsInstalled;
  const pace = Math.round((arrived / lastMs) * 1000);
  const took = `the last after ${Math.round(lastMs)} ms (${pace}/s)`;
  const lost = drops.join(', ') || 'nothing dropped';
  console.log(
    `offered ${offered}/s: ${arrived} of ${total} arrived, ${took}; ${flows} flows; ${lost}`,
  );
}

const journal = announce(LAB, recipe);
try {
  const lab = await makeLab(journal, () => {});
  for (const rate of RATES) await offer(lab, rate);
} finally {
  await cleanLab(LAB);
}
