/**
 * A stream between workloads of two hosts, by real stacks over an underlay of either family: large
 * sends stay whole on the way, and nothing is ever cut outside.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { cleanLab } from '#lab/clean.ts';
import { stream } from '#lab/demo/iperf.ts';
import { announce, makeLab, namespaceOf, waitForAgents, type Lab } from '#lab/lab.ts';
import { machineOf, UNDERLAY_INTERFACE } from '#lab/names.ts';
import { ping } from '#lab/ping.ts';
import { until } from '#lab/processes.ts';
import { parseRecipe } from '#lab/recipe.ts';
import { ipBatch } from '#lab/wires.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { run } from '#os/run.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const SECONDS = 1;
/** Of a way that gets narrower; IPv6 takes no less than 1280 outside. */
const NARROW = 1400;
const PING_HEADERS = 28;
const KNOWN_MS = 20_000;
/** A frame of the underlay that is no super-packet has at most its MTU and an Ethernet header. */
const WHOLE_FACTOR = 4;

before(async () => (skip === false ? sweepLabs() : undefined));

const read = (lab: Lab, part: string, file: string): string =>
  inNetns(netnsPath(namespaceOf(lab, part)), () =>
    readFileSync(`/proc/thread-self/net/${file}`, 'utf8'),
  );

/** What left by the underlay's interface: bytes and packets, as many as the kernel handled. */
function sentBy(lab: Lab, part: string): { bytes: number; packets: number } {
  const line = read(lab, part, 'dev')
    .split('\n')
    .find((each) => each.trim().startsWith(`${UNDERLAY_INTERFACE}:`));
  const fields = (line ?? '').split(':')[1]?.trim().split(/\s+/).map(Number) ?? [];
  return { bytes: fields[8] ?? 0, packets: fields[9] ?? 0 };
}

/** Fragments that a host made, of either family. */
function cutBy(lab: Lab, part: string): number {
  const [names = '', values = ''] = read(lab, part, 'snmp')
    .split('\n')
    .filter((line) => line.startsWith('Ip: '));
  const four = Number(values.split(' ')[names.split(' ').indexOf('FragCreates')]);
  const six = /Ip6FragCreates\s+(\d+)/.exec(read(lab, part, 'snmp6'))?.[1] ?? '0';
  return four + Number(six);
}

/** The way gets narrower while both agents run: the workload is told, and what fits passes. */
async function narrow(lab: Lab): Promise<void> {
  const { tunnelAddress } = machineOf(lab.recipe, 'h2');
  const [length, overhead] = tunnelAddress.includes(':') ? [128, 70] : [32, 50];
  const route = `route add ${tunnelAddress}/${length} dev ${UNDERLAY_INTERFACE} mtu ${NARROW}`;
  await ipBatch([route], namespaceOf(lab, 'h1'));
  const fits = NARROW - overhead - PING_HEADERS;
  const passes = async (payloadBytes: number): Promise<boolean> =>
    (await ping(lab, 'vm1', '10.1.0.2', { payloadBytes })).received === 1;
  const told = async (): Promise<boolean> => {
    await passes(fits + 1);
    const vm1 = namespaceOf(lab, 'vm1');
    const { stdout } = await run('ip', ['-n', vm1, 'route', 'get', '10.1.0.2']);
    return stdout.includes(` mtu ${NARROW - overhead} `);
  };
  await until('the workload is told', KNOWN_MS, told);
  assert.equal(await passes(fits + 1), false);
  assert.ok(await passes(fits), 'what fits');
}

/** Less than the workloads' 1500 is left inside. */
const MTU = 1500;

for (const underlay of ['ipv4', 'ipv6'])
  test(`a stream over ${underlay} with an MTU of ${MTU}`, { skip }, async (t) => {
    const recipe = parseRecipe(`
about: two hosts
hosts: [h1, h2]
underlay: ${underlay}
underlayMtu: ${MTU}
bridges: { net1: { tenant: alpha } }
workloads:
  vm1: { host: h1, bridge: net1, mac: '02:00:00:00:01:01', addresses: [10.1.0.1/24, 'fd01::1/64'] }
  vm2: { host: h2, bridge: net1, mac: '02:00:00:00:01:02', addresses: [10.1.0.2/24, 'fd01::2/64'] }
`);
    const journal = announce(testLabName('underlay'), recipe);
    try {
      const lab = await makeLab(journal, () => {});
      await waitForAgents(lab);
      for (const address of ['10.1.0.2', 'fd01::2']) {
        const before = sentBy(lab, 'h1');
        const { error, gbitPerSecond } = await stream(lab, {
          from: 'vm1',
          to: 'vm2',
          address,
          seconds: SECONDS,
        });
        assert.equal(error, undefined);
        const after = sentBy(lab, 'h1');
        const average = (after.bytes - before.bytes) / (after.packets - before.packets);
        t.diagnostic(
          `to ${address}: ${gbitPerSecond.toFixed(1)} Gbit/s, ${Math.round(average)} bytes a frame`,
        );
        assert.ok(gbitPerSecond > 0);
        assert.ok(average > WHOLE_FACTOR * MTU, `${average} bytes a frame`);
      }
      await narrow(lab);
      assert.deepEqual([cutBy(lab, 'h1'), cutBy(lab, 'h2')], [0, 0], 'nothing is cut outside');
    } finally {
      await cleanLab(journal.lab);
    }
  });
