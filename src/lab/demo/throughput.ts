/**
 * Act: one TCP stream across hosts through the virtual network, beside the kernel's own bridge and
 * VXLAN device between the same namespaces. Figures, not a race: only a stream that moves nothing
 * fails.
 */
import { namespaceOf, type Lab } from '../lab.ts';
import { machineOf, UNDERLAY_INTERFACE } from '../names.ts';
import { cableLine, ipBatch } from '../wires.ts';
import { type Act, hostOf } from './act.ts';
import { stream } from './iperf.ts';

const RUNS = 2;
const SECONDS = 3;
const BRIDGE = 'ref';
const TUNNEL = 'refvx';
/** The IANA port of VXLAN (RFC 7348 §8.1): not ours, so the two do not meet. */
const TUNNEL_PORT = 4789;
const KEY = 42;
const INTERFACE = 'eth1';
const ADDRESSES = ['10.99.0.1', '10.99.0.2'] as const;

export async function throughput(act: Act, from: string, to: string): Promise<void> {
  const { lab, cast, report } = act;
  const address = cast.station(cast.numberOf(to)).ip4;
  await makeReference(lab, [from, to]);
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let i = 0; i < RUNS; i++) {
    ours.push((await stream(lab, { from, to, address, seconds: SECONDS })).gbitPerSecond);
    theirs.push(
      (await stream(lab, { from, to, address: ADDRESSES[1], seconds: SECONDS })).gbitPerSecond,
    );
  }
  await removeReference(lab, [from, to]);
  const mean = (runs: readonly number[]): number => runs.reduce((a, b) => a + b, 0) / runs.length;
  const show = (runs: readonly number[]): string => runs.map((run) => run.toFixed(2)).join(' and ');
  const holds = (runs: readonly number[]): boolean => runs.every((run) => run > 0);
  report.check(holds(ours), `this network:               ${show(ours)} Gbit/s`, {
    expected: '> 0',
    actual: show(ours),
  });
  report.check(holds(theirs), `Linux bridge, kernel VXLAN: ${show(theirs)} Gbit/s`, {
    expected: '> 0',
    actual: show(theirs),
  });
  const ratio = mean(ours) / mean(theirs);
  report.note(`ratio of the means: ${ratio.toFixed(2)} (a busy machine moves this by 15 %)`);
}

type Two = readonly [string, string];

async function makeReference(lab: Lab, pair: Two): Promise<void> {
  const hosts = pair.map((name) => hostOf(lab, name));
  for (const [i, name] of pair.entries()) {
    const host = hosts[i] ?? '';
    const remote = machineOf(lab.recipe, hosts[1 - i] ?? '').address;
    const { address: local } = machineOf(lab.recipe, host);
    const far = { namespace: namespaceOf(lab, host), interface: `ref-${i}` };
    const mac = `02:00:00:00:99:0${i + 1}`;
    await ipBatch([
      cableLine({ namespace: namespaceOf(lab, name), interface: INTERFACE, mac, mtu: 1500, far }),
    ]);
    await ipBatch(
      [
        `link add name ${BRIDGE} type bridge`,
        `link add name ${TUNNEL} type vxlan id ${KEY} dstport ${TUNNEL_PORT}` +
          ` local ${local} remote ${remote} dev ${UNDERLAY_INTERFACE}`,
        ...[far.interface, TUNNEL].map((port) => `link set dev ${port} up master ${BRIDGE}`),
        `link set dev ${BRIDGE} up`,
      ],
      namespaceOf(lab, host),
    );
    await ipBatch(
      [`address add ${ADDRESSES[i]}/24 dev ${INTERFACE}`, `link set dev ${INTERFACE} up`],
      namespaceOf(lab, name),
    );
  }
}

async function removeReference(lab: Lab, pair: Two): Promise<void> {
  for (const name of pair) {
    await ipBatch([`link delete dev ${INTERFACE}`], namespaceOf(lab, name));
    const links = [TUNNEL, BRIDGE].map((link) => `link delete dev ${link}`);
    await ipBatch(links, namespaceOf(lab, hostOf(lab, name)));
  }
}
