/** What is handed up is paid for by its entry: a port, or a host behind the tunnel. */
import assert from 'node:assert/strict';
import type { DpPort } from '#flow/flow.ts';
import { LIMITS } from '#flow/layout.ts';
import type { UpcallBudget } from '../budget.ts';
import { to, ethernet, FLOOD_KEY, REMOTE, STRANGER, udp } from './frames.ts';
import { until } from './rig.ts';
import type { Case, Rig } from './rig.ts';

/** Small enough to be used up, and slow enough that a machine under load does not refill it. */
export const STORM_BUDGET: UpcallBudget = {
  frames: { perSecond: 10, burst: 80 },
  groups: { perSecond: 5, burst: 40 },
};
const STORM = 400;
const GROUP = 0xffffff;

/** Frames of one storm: those of each flow differ. */
type Frames = (i: number) => Uint8Array;
const unicast: Frames = (i) => udp({ sport: 1 + i, id: i });
/** To a group address, which the suite's own are not but for their first bit. */
const toGroup: Frames = (i) => {
  const frame = udp({ sport: 1 + i, id: i, dst: GROUP });
  frame[0]! |= 1;
  return frame;
};

interface Toll {
  readonly up: number;
  readonly refused: number;
  /** Tokens that may have come while it went on. */
  readonly refilled: number;
}
/** Sends, waits until every frame is accounted, and answers what became of them. */
async function storm(
  rig: Rig,
  send: (frame: Uint8Array) => Promise<void>,
  { frames, count = STORM }: { readonly frames: Frames; readonly count?: number },
): Promise<Toll> {
  const [entered, refused, startMs] = [rig.entered(), rig.drops('upcall-budget'), rig.dp.now()];
  const bucket = frames === toGroup ? STORM_BUDGET.groups : STORM_BUDGET.frames;
  let up = 0;
  const drain = (): void => void (up += rig.dp.upcalls(() => {}, 256));
  for (let i = 0; i < count; i++) {
    await send(frames(i));
    drain();
  }
  await until('every frame is accounted', () => {
    drain();
    return rig.entered() >= entered + count ? true : undefined;
  });
  drain();
  const refilled = Math.ceil(((rig.dp.now() - startMs) / 1000) * bucket.perSecond) + 1;
  const toll = { up, refused: rig.drops('upcall-budget') - refused, refilled };
  assert.equal(toll.up + toll.refused, count, 'handed up or refused, and each counted once');
  return toll;
}
const by = (rig: Rig, port: DpPort) => (frame: Uint8Array) => rig.send(port, frame);

function within({ up, refilled }: Toll, burst: number): void {
  assert.ok(up >= burst && up <= burst + refilled, `${up} of ${burst}, refilled ${refilled}`);
}

export const BUDGET: { readonly [what: string]: Case } = {
  'budget: a storm of one port is refused, and nothing of another': async (rig) => {
    const { frames, groups } = STORM_BUDGET;
    within(await storm(rig, by(rig, rig.a), { frames: unicast }), frames.burst);
    const single = await storm(rig, by(rig, rig.b), { frames: unicast, count: 1 });
    assert.equal(single.up, 1, 'the first packet of another port');
    within(await storm(rig, by(rig, rig.a), { frames: toGroup }), groups.burst);
    const flood = await storm(rig, by(rig, rig.b), { frames: toGroup, count: 1 });
    assert.equal(flood.up, 1, 'the first flood of another port');
  },

  'budget: floods and other frames pay each their own': async (rig) => {
    const { frames, groups } = STORM_BUDGET;
    within(await storm(rig, by(rig, rig.a), { frames: toGroup }), groups.burst);
    within(await storm(rig, by(rig, rig.a), { frames: unicast }), frames.burst);
  },

  'budget: a port that used up its own gets tokens again with time, one by one': async (rig) => {
    const spent = await storm(rig, by(rig, rig.a), { frames: unicast });
    assert.ok(spent.refused > 0);
    const beforeMs = rig.dp.now();
    let sent = 0;
    await until('a frame is handed up again', async () => {
      const one = await storm(rig, by(rig, rig.a), { frames: unicast, count: 1 });
      sent++;
      return one.up === 1 ? true : undefined;
    });
    const again = await storm(rig, by(rig, rig.a), { frames: unicast });
    const seconds = (rig.dp.now() - beforeMs) / 1000;
    const most = Math.ceil(seconds * STORM_BUDGET.frames.perSecond) + 1;
    assert.ok(again.up <= most, `${again.up} of ${most} in ${seconds} s, ${sent} tried before`);
  },

  'budget: hosts behind the tunnel pay each their own, twice that of a port': async (rig) => {
    const { frames, groups } = STORM_BUDGET;
    for (const source of [REMOTE, STRANGER]) rig.dp.allowSender(source, FLOOD_KEY);
    const from = (source: typeof REMOTE) => (frame: Uint8Array) =>
      rig.arrive(source, FLOOD_KEY, frame);
    const much = ({ up, refused, refilled }: Toll) => ({ up, refused, refilled: refilled * 2 });
    const one = much(await storm(rig, from(REMOTE), { frames: toGroup }));
    within(one, groups.burst * LIMITS.BUDGET_SOURCE_FACTOR);
    const other = await storm(rig, from(STRANGER), { frames: toGroup, count: 1 });
    assert.equal(other.up, 1, 'the first flood of another host');
    const local = await storm(rig, by(rig, rig.a), { frames: toGroup, count: 1 });
    assert.equal(local.up, 1, 'the first flood of a port');
    const unknown = much(await storm(rig, from(REMOTE), { frames: unicast }));
    within(unknown, frames.burst * LIMITS.BUDGET_SOURCE_FACTOR);
  },

  'budget: a large frame pays for the room that it takes': async (rig) => {
    const { burst } = STORM_BUDGET.frames;
    const large = Math.floor(burst / LIMITS.UPCALL_LARGE_COST);
    const size = LIMITS.UPCALL_MIDDLE_BYTES;
    const fits: Frames = (i) =>
      ethernet({ src: i, dst: 2, vlan: undefined, type: 0x88b5 }, size - 14);
    const exceeds: Frames = (i) => ethernet({ src: i, dst: 2, vlan: 5, type: 0x88b5 }, size - 17);
    const small = await storm(rig, by(rig, rig.a), { frames: fits, count: burst });
    assert.equal(small.up, burst, 'one token each');
    const toll = await storm(rig, by(rig, rig.b), { frames: exceeds, count: burst });
    // A token or two that come meanwhile do not make up for one more.
    const most = Math.floor((burst + toll.refilled) / LIMITS.UPCALL_LARGE_COST);
    assert.ok(toll.up >= large && toll.up <= most, `${toll.up} of ${large}`);
  },

  'budget: every reason to hand up is paid for, and a flow is not': async (rig) => {
    const ref = rig.install({ port: rig.a }, udp(), { ...to(rig.b), mtu: 1280, decTtl: 1 });
    const { up } = await storm(rig, by(rig, rig.a), { frames: () => udp({ ttl: 1 }) });
    assert.ok(up >= STORM_BUDGET.frames.burst);
    await rig.send(rig.a, udp());
    await rig.left(rig.b, 1);
    const spent = rig.drops('upcall-budget');
    rig.dp.invalidate([ref]);
    for (let i = 0; i < STORM; i++) await rig.send(rig.a, udp());
    await until('stale frames are refused', () =>
      rig.drops('upcall-budget') > spent ? true : undefined,
    );
  },

  'budget: a port that is taken over anew, and a host allowed anew, have a full one': async (
    rig,
  ) => {
    const { frames, groups } = STORM_BUDGET;
    await storm(rig, by(rig, rig.a), { frames: unicast });
    rig.dp.addPort(rig.a);
    const still = await storm(rig, by(rig, rig.a), { frames: unicast });
    assert.ok(still.up < frames.burst, 'asked for again it has what it had');
    rig.dp.removePort(rig.a);
    rig.dp.addPort(rig.a);
    within(await storm(rig, by(rig, rig.a), { frames: unicast }), frames.burst);

    const arrive = (frame: Uint8Array) => rig.arrive(REMOTE, FLOOD_KEY, frame);
    const burst = groups.burst * LIMITS.BUDGET_SOURCE_FACTOR;
    rig.dp.allowSender(REMOTE, FLOOD_KEY);
    rig.dp.allowSender(REMOTE, FLOOD_KEY + 1);
    await storm(rig, arrive, { frames: toGroup });
    rig.dp.denySender(REMOTE, FLOOD_KEY + 1);
    const allowed = await storm(rig, arrive, { frames: toGroup });
    assert.ok(allowed.up < burst, 'while it may send to any network it has what it had');
    rig.dp.denySender(REMOTE, FLOOD_KEY);
    rig.dp.allowSender(REMOTE, FLOOD_KEY);
    const anew = await storm(rig, arrive, { frames: toGroup });
    assert.ok(anew.up >= burst);
  },
};
