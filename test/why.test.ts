/**
 * Why is what a trace says: for random networks and packets, the recorded cause of the installed
 * flow that a packet matches has the steps of a trace of that packet, and its end; and no drop is
 * without a reason that is told.
 *
 * `PAIRS=10000 npx node --test test/why.test.ts` is the long run; `SEED=7` takes another seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type { WhyPacket } from '#client/flows.ts';
import type { TraceResult } from '#client/trace.ts';
import type { DpPort } from '#flow/flow.ts';
import { describeFrame } from '#net/text.ts';
import type { RowChange } from '#virtual/change.ts';
import { DROPS, type DropReason } from '#virtual/drop.ts';
import type { StoredObject } from '#virtual/kind.ts';
import { HOSTS, interfaceOf, type Op, PORTS, script, start } from './laws.script.ts';
import { World } from './world.ts';

const seed = Number(process.env['SEED'] ?? 1);
const pairs = Number(process.env['PAIRS'] ?? 250);
/** Histories that one world goes through, before a new one is made. */
const SCRIPTS_PER_WORLD = 20;

const DEADLINE_MS = 5_000;

interface Counts {
  pairs: number;
  flows: number;
  drops: number;
  /** Where the agent knows what it tells nobody. */
  more: number;
  /** Answered, waiting, or decided one by one: there is no flow, and that is said. */
  none: number;
  readonly reasons: Map<string, number>;
}

/**
 * The rows of a script as the API would write them: with the hosts of the world, a port stays with
 * its bridge, and its location goes with it.
 */
function rowsFor(world: World, bridges: Map<string, unknown>, rows: readonly RowChange[]) {
  let text = JSON.stringify(rows);
  for (const [n, { id }] of HOSTS.entries()) text = text.replaceAll(id, world.host(`h${n + 1}`).id);
  const own = JSON.parse(text) as RowChange[];
  return own.flatMap((row): RowChange[] => {
    const { kind, id, put } = row;
    if (kind !== 'port') return [row];
    if (put === undefined) {
      bridges.delete(id);
      return [row, { kind: 'location', id }];
    }
    const { bridge } = put as StoredObject & { readonly bridge?: string };
    if (!bridges.has(id)) bridges.set(id, bridge);
    return [{ ...row, put: { ...put, bridge: bridges.get(id) } as StoredObject }];
  });
}

type Edit = Exclude<Op, { op: 'send' }>;
async function perform(world: World, bridges: Map<string, unknown>, step: Edit): Promise<void> {
  if (step.op === 'rows') await world.write(rowsFor(world, bridges, step.rows));
  else if (step.op === 'advance') await world.advance(step.ms);
  else world.plug(`h${step.host + 1}`, step.ports.map(interfaceOf));
}

/** What a trace says that becomes of it: its lines, and what the host makes of that. */
function expected({ lines, flow }: TraceResult): string[] {
  const drop = flow.actions.find((action) => action.do === 'drop');
  if (drop === undefined || lines.at(-1)?.startsWith('drop: ') === true) return [...lines];
  const reason = drop.text.replace('drop: ', '') as DropReason;
  return [...lines, `drop: ${DROPS[reason].about}`];
}
const told = ({ flow, trace }: WhyPacket): readonly string[] => flow?.lines ?? trace?.lines ?? [];

/**
 * Of the lines of a walk those that do not depend on what an agent tells nobody: which neighbour it
 * asked in vain a moment ago, and whether it has told a sender of enough errors already.
 */
function shared(lines: readonly string[]): string[] {
  const asks = lines.findIndex((line) => /: ask |: drop neighbour-unreachable$/.test(line));
  const before = asks < 0 ? lines : lines.slice(0, asks);
  return before.filter((line) => !line.includes(': error '));
}

/**
 * The same by the API's own walk, which knows what hosts have learned as soon as they have told it.
 * False: the agent knows more.
 */
async function sameInTheEnd(
  lines: readonly string[],
  trace: () => Promise<TraceResult>,
  about: string,
): Promise<boolean> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const now = expected(await trace());
    if (isDeepStrictEqual(now, lines)) return true;
    if (isDeepStrictEqual(shared(now), shared(lines))) return false;
    if (performance.now() > deadline) assert.deepEqual(now, lines, `${about}, by the API`);
    await sleep(2);
  }
}

async function compare(world: World, port: string, frame: Uint8Array, counts: Counts) {
  const hex = frame.toHex();
  const why = await world.client.whyPacket(port, hex);
  const host = world.hostOf(port)?.id ?? assert.fail(port);
  const trace = await world.client.trace({ port, frame: hex, host });
  const about = `${describeFrame(frame)} at ${port}`;
  assert.deepEqual(told(why), expected(trace), about);
  const byApi = () => world.client.trace({ port, frame: hex });
  if (!(await sameInTheEnd(told(why), byApi, about))) counts.more += 1;
  counts.pairs += 1;
  const { flow } = why;
  if (flow === undefined) counts.none += 1;
  else {
    counts.flows += 1;
    assert.deepEqual((await world.client.flow(flow.id)).lines, flow.lines, about);
  }
  const reason = flow?.reason ?? why.trace?.reason;
  const verdict = flow?.verdict ?? why.trace?.verdict;
  if (verdict !== 'drop') return;
  counts.drops += 1;
  assert.ok(reason !== undefined && reason in DROPS, `${about}: dropped for ${reason}`);
  counts.reasons.set(reason, (counts.reasons.get(reason) ?? 0) + 1);
  assert.match(told(why).at(-1) ?? '', /^drop: [A-Z]/, about);
}

test(`why names the steps of the trace: ${pairs} networks and packets`, async () => {
  const counts: Counts = { pairs: 0, flows: 0, drops: 0, none: 0, more: 0, reasons: new Map() };
  const scripts = fc.sample(script, { numRuns: Math.ceil(pairs / 2) + SCRIPTS_PER_WORLD, seed });
  for (let next = 0; counts.pairs < pairs && next < scripts.length;) {
    await using world = await World.open({ hosts: ['h1', 'h2'], seed: seed + next, slots: 512 });
    const bridges = new Map<string, unknown>();
    for (const step of start) if (step.op !== 'send') await perform(world, bridges, step);
    await world.settle();
    const last = next + SCRIPTS_PER_WORLD;
    for (; next < last && counts.pairs < pairs; next++) {
      for (const step of scripts[next] ?? []) {
        if (step.op !== 'send') {
          await perform(world, bridges, step);
          continue;
        }
        await world.settle();
        const port = PORTS[step.port] ?? '';
        const at = world.hostOf(port);
        if (at === undefined || counts.pairs >= pairs) continue;
        const { index } = interfaceOf(step.port);
        at.datapath.receive(index as DpPort, step.frame);
        await world.settle();
        await compare(world, port, step.frame, counts);
      }
    }
  }
  const { flows, drops, none, more, reasons } = counts;
  process.stdout.write(
    `why: ${counts.pairs} pairs, ${flows} of them flows, ${none} without one, ` +
      `${more} of which the API knows less, ${drops} drops: ` +
      `${[...reasons].map(([reason, n]) => `${reason} ${n}`).join(', ')}\n`,
  );
  assert.equal(counts.pairs, pairs);
  assert.ok(more <= pairs / 50, `of ${more} pairs the API knows less than the agent`);
  assert.ok(flows > pairs / 4, `only ${flows} of ${pairs} packets had a flow`);
  assert.ok(reasons.size > 3, 'hardly any reason to drop was met');
});
