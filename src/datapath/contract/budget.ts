/** What is handed up is paid for by its entry: a port, or a host behind the tunnel. */
import assert from 'node:assert/strict';
import type { DpPort } from '#flow/flow.ts';
import { ENTRY_MASKS_MAX } from '#flow/flow.ts';
import { LIMITS } from '#flow/layout.ts';
import { EXACT } from '#flow/mask.ts';
import { patient } from '#os/patience.ts';
import { FIELDS, fieldSet } from '#virtual/match.ts';
import type { UpcallBudget, UpcallClass } from '../budget.ts';
import { to, ethernet, FLOOD_KEY, REMOTE, STRANGER, udp } from './frames.ts';
import { until } from './rig.ts';
import type { Case, Rig } from './rig.ts';

/** As many tokens as a slow machine has time for, too. */
const slowly = (perSecond: number): number => Math.max(1, Math.floor(perSecond / patient(1)));
/** Small enough to be used up, and slow enough that a machine under load does not refill it. */
export const STORM_BUDGET: UpcallBudget = {
  frames: { perSecond: slowly(10), burst: 80 },
  groups: { perSecond: slowly(5), burst: 40 },
  control: { perSecond: slowly(5), burst: 60 },
  guards: { perSecond: slowly(5), burst: 50 },
  stale: { perSecond: slowly(5), burst: 70 },
};
const STORM = 400;
/** More frames than any queue of a bench takes. */
const QUEUED_MAX = 15_000;
const GROUP = 0xffffff;
/** Where untagged IPv4 without options says what it carries, and TCP how long its header is. */
const [IP_PROTOCOL_AT, TCP_OFFSET_AT] = [23, 46];

/** Frames of one storm, and what they are paid from. */
interface Sort {
  readonly kind: UpcallClass;
  readonly frame: (i: number) => Uint8Array;
}
const unicast: Sort = { kind: 'frames', frame: (i) => udp({ sport: 1 + i, id: i }) };
/** TCP without any flag: with a SYN that opens a connection anew, what is handed up for TCP. */
const flagless: Sort = {
  kind: 'frames',
  frame: (i) => {
    const frame = udp({ id: i });
    frame[IP_PROTOCOL_AT] = 6;
    frame[TCP_OFFSET_AT] = 5 << 4;
    frame[TCP_OFFSET_AT + 1] = 0;
    return frame;
  },
};
/** To a group address, which the suite's own are not but for their first bit. */
const toGroup: Sort = {
  kind: 'groups',
  frame: (i) => {
    const frame = udp({ sport: 1 + i, id: i, dst: GROUP });
    frame[0]! |= 1;
    return frame;
  },
};
const broadcast = (type: number, body: readonly number[]): Uint8Array => {
  const frame = ethernet({ src: 1, dst: GROUP, vlan: undefined, type }, 46);
  frame[0]! |= 1;
  frame.set(body, 14);
  return frame;
};
/** ARP questions. */
const arps: Sort = {
  kind: 'control',
  frame: (i) => broadcast(0x0806, [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, i & 255]),
};
/** ICMPv6 of some type. */
const icmp6 = (type: number) => (i: number) =>
  broadcast(0x86dd, [0x60, 0, 0, 0, 0, 6, 58, 255, ...Array<number>(32).fill(i & 255), type, 0]);
const solicitations: Sort = { kind: 'control', frame: icmp6(135) };
/** A listener report (RFC 3810) is no neighbour discovery. */
const reports: Sort = { kind: 'groups', frame: icmp6(143) };

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
  { frames, count = STORM }: { readonly frames: Sort; readonly count?: number },
): Promise<Toll> {
  const [entered, refused, startMs] = [rig.entered(), rig.drops('upcall-budget'), rig.dp.now()];
  const bucket = STORM_BUDGET[frames.kind];
  let up = 0;
  const drain = (): void => void (up += rig.dp.upcalls(() => {}, 256));
  for (let i = 0; i < count; i++) {
    await send(frames.frame(i));
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
    for (const source of [rig.remote, rig.stranger]) rig.dp.allowSender(source, FLOOD_KEY);
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
    const sort = (vlan: number | undefined, bytes: number): Sort => ({
      kind: 'frames',
      frame: (i) => ethernet({ src: i, dst: 2, vlan, type: 0x88b5 }, bytes),
    });
    const [fits, exceeds] = [sort(undefined, size - 14), sort(5, size - 17)];
    const small = await storm(rig, by(rig, rig.a), { frames: fits, count: burst });
    assert.equal(small.up, burst, 'one token each');
    const toll = await storm(rig, by(rig, rig.b), { frames: exceeds, count: burst });
    // A token or two that come meanwhile do not make up for one more.
    const most = Math.floor((burst + toll.refilled) / LIMITS.UPCALL_LARGE_COST);
    assert.ok(toll.up >= large && toll.up <= most, `${toll.up} of ${large}`);
  },

  'budget: each sort of frames pays its own: ARP and ND, guards, stale flows': async (rig) => {
    const [send, startMs] = [by(rig, rig.a), rig.dp.now()];
    const actions = { ...to(rig.b), mtu: 1280, decTtl: 1 };
    const ref = rig.install({ port: rig.a }, udp(), actions, EXACT & ~fieldSet(['ipTtl']));
    const guarded: Sort = { kind: 'guards', frame: () => udp({ ttl: 1 }) };
    for (const frames of [unicast, toGroup, guarded, arps]) {
      const { burst } = STORM_BUDGET[frames.kind];
      within(await storm(rig, send, { frames }), burst);
    }
    // These find nothing but what came meanwhile.
    for (const [what, frames] of Object.entries({ solicitations, reports })) {
      const { up } = await storm(rig, send, { frames });
      const seconds = (rig.dp.now() - startMs) / 1000;
      const most = Math.ceil(seconds * STORM_BUDGET[frames.kind].perSecond) + 1;
      assert.ok(up <= most, `${what}: ${up} of ${most}`);
    }
    // A flow costs nothing, however much was spent; invalidated it has what is for such.
    await rig.send(rig.a, udp());
    await rig.left(rig.b, 1);
    rig.dp.invalidate([ref]);
    const stale: Sort = { kind: 'stale', frame: () => udp() };
    within(await storm(rig, send, { frames: stale }), STORM_BUDGET.stale.burst);
  },

  'budget: what is handed up for the sake of a connection pays as a first packet': async (rig) => {
    rig.install({ port: rig.a }, flagless.frame(0), { ...to(rig.b), soundTcp: true });
    within(await storm(rig, by(rig, rig.a), { frames: flagless }), STORM_BUDGET.frames.burst);
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
    rig.dp.allowSender(rig.remote, FLOOD_KEY);
    rig.dp.allowSender(rig.remote, FLOOD_KEY + 1);
    await storm(rig, arrive, { frames: toGroup });
    rig.dp.denySender(rig.remote, FLOOD_KEY + 1);
    const allowed = await storm(rig, arrive, { frames: toGroup });
    assert.ok(allowed.up < burst, 'while it may send to any network it has what it had');
    rig.dp.denySender(rig.remote, FLOOD_KEY);
    rig.dp.allowSender(rig.remote, FLOOD_KEY);
    const anew = await storm(rig, arrive, { frames: toGroup });
    assert.ok(anew.up >= burst);
  },
};

/** With more tokens than anybody uses. */
export const SHARES: { readonly [what: string]: Case } = {
  'queue: nobody has more of the queue than its part of what is free': async (rig) => {
    const small = (i: number): Uint8Array => udp({ sport: 1 + i, id: i });
    const flood = async (port: DpPort): Promise<number> => {
      const [before, misses] = [rig.drops('upcall-share'), rig.dp.counters().misses];
      for (let i = 0; i % 64 > 0 || rig.drops('upcall-share') === before; i++) {
        assert.ok(i < QUEUED_MAX, 'the queue has no end');
        await rig.send(port, small(i));
      }
      return rig.dp.counters().misses - misses;
    };
    const first = await flood(rig.a);
    // Its part is full, but not for what is urgent.
    const before = rig.dp.counters().misses;
    for (let i = 0; i < 50; i++) await rig.send(rig.a, arps.frame(i));
    await until('ARP has room', () =>
      rig.dp.counters().misses === before + 50 ? true : undefined,
    );
    const second = await flood(rig.b);
    assert.ok(second > first / 2 && second < first, `${first}, then ${second}`);
    const { misses } = rig.dp.counters();
    await rig.send(rig.c, small(0));
    await until('the first packet of a third', () =>
      rig.dp.counters().misses === misses + 1 ? true : undefined,
    );
    assert.equal(rig.drops('upcall-lost') + rig.drops('upcall-budget'), 0);
    // What was read is free again.
    while (rig.dp.upcalls(() => {}, 256) > 0);
    const again = await flood(rig.b);
    assert.ok(Math.abs(again - first) < first / 5, `${again} of ${first}`);
  },

  'masks: an entry has so many of its own, and a flow with one more is none': async (rig) => {
    const sets = FIELDS.filter((field) => field !== 'ethType').map((field) =>
      fieldSet([field, 'ethType']),
    );
    const [masks, surplus] = [sets.slice(0, ENTRY_MASKS_MAX), sets[ENTRY_MASKS_MAX] ?? 0];
    // Of each mask a flow, all of another type.
    const typed = (n: number): Uint8Array =>
      ethernet({ src: 1, dst: 2, vlan: undefined, type: 0x88b5 + n }, 46);
    const entry = { port: rig.a };
    const refs = masks.map((fields, n) => rig.install(entry, typed(n), to(rig.c), fields));
    const over = rig.install(entry, typed(20), to(rig.c), surplus);
    for (const n of masks.keys()) await rig.send(rig.a, typed(n));
    await rig.left(rig.c, masks.length);
    await rig.send(rig.a, typed(20));
    assert.equal((await rig.upcall()).reason, 'miss');
    // Another entry's are its own.
    rig.install({ port: rig.b }, typed(20), to(rig.c), surplus);
    await rig.send(rig.b, typed(20));
    await rig.left(rig.c, 1);
    // A mask that goes gives its place to the next.
    rig.dp.remove([refs[0]!, over]);
    rig.install(entry, typed(20), to(rig.c), surplus);
    await rig.send(rig.a, typed(20));
    await rig.left(rig.c, 1);
    await rig.send(rig.a, typed(0));
    await rig.upcall();
    await rig.send(rig.a, typed(1));
    await rig.left(rig.c, 1);
  },
};
