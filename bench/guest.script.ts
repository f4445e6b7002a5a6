/**
 * What the row `guest` runs inside an emulated guest: this network, a Linux bridge and the kernel
 * module of Open vSwitch, one host each, side by side on that kernel. Writes samples as JSON to the
 * file named first; then come runs, seconds and, for a kernel that lacks some, the sides.
 */
import { writeFileSync } from 'node:fs';
import { runOk } from '#os/run.ts';
import { inTurn } from './row.ts';
import { IP, MAC } from './sides/recipes.ts';
import { Stage } from './stage.ts';
import { packetsPerSecond, tcpStream } from './tools/traffic.ts';

const [file = '', runs = '1', seconds = '1', chosen = 'bridge,ovs,ours'] = process.argv.slice(2);
const SIDES = { ours: 'one', bridge: 'onekernel', ovs: 'oneovs' } as const;
export type GuestSide = keyof typeof SIDES;
/** Samples of every side: Gbit/s, and packets a second. */
export type GuestSamples = Readonly<Record<GuestSide, { stream: number[]; packets: number[] }>>;

const say = (what: string): void => console.error(`  guest: ${what}`);

const sides = (['bridge', 'ovs', 'ours'] as const).filter((side) => chosen.includes(side));
if (sides.includes('ovs')) await runOk('modprobe', ['openvswitch']);
await using stage = new Stage(say);
const streams: Partial<Record<GuestSide, () => Promise<number>>> = {};
const packets: Partial<Record<GuestSide, () => Promise<number>>> = {};
for (const side of sides) {
  const lab = await stage.side(SIDES[side]);
  const to = side === 'ours' ? 'b' : 'c';
  const way = { lab, from: 'a', to, address: IP[to] };
  await tcpStream(way, 1);
  streams[side] = () => tcpStream(way, Number(seconds)).then((each) => each.gbitPerSecond);
  packets[side] = () =>
    packetsPerSecond(
      { lab, from: 'a', fromMac: MAC.a, fromIp: IP.a, to: 'c', toMac: MAC.c },
      Number(seconds),
    );
}
const all = streams as Record<GuestSide, () => Promise<number>>;
say('streams');
const stream = await inTurn(Number(runs), all);
say('packets');
const packet = await inTurn(Number(runs), packets as typeof all);
const of = (side: GuestSide) => ({ stream: stream[side], packets: packet[side] });
const samples: Partial<GuestSamples> = Object.fromEntries(sides.map((side) => [side, of(side)]));
writeFileSync(file, JSON.stringify(samples));
