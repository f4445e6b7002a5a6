/** What an agent keeps in memory: a real one with many ports in sight and flows in use. */
import { setTimeout as sleep } from 'node:timers/promises';
import { agentOf, countersWhen } from '#lab/lab.ts';
import { runOk } from '#os/run.ts';
import type { Line } from '../line.ts';
import type { Bench, Measured, Row } from '../row.ts';
import { residentMb } from '../tools/cpu.ts';
import { OpenLoop } from '../tools/open-loop.ts';

const SIZE = {
  whole: { ports: 10_000, flows: 10_000 },
  quick: { ports: 1_000, flows: 2_000 },
} as const;
const OPERATIONS_MAX = 50;
/** What any agent can keep. */
const RATE = 2_000;
const WAIT_MS = 30_000;
const SAMPLES_APART_MS = 1_000;
const SCRIPT = new URL('../heap.script.ts', import.meta.url).pathname;
const SCRIPT_MS = 120_000;

const hex = (n: number): string => n.toString(16).padStart(2, '0');

interface Used {
  readonly heap: number;
  readonly arrays: number;
}

/** Bytes of heap and of typed arrays that each further flow takes. */
async function heapPerFlow(flows: number): Promise<Used> {
  const text = await runOk(process.execPath, ['--expose-gc', SCRIPT, `${flows}`], {
    deadlineMs: SCRIPT_MS,
  });
  const {
    first,
    second,
    flows: there,
  } = JSON.parse(text) as Record<'first' | 'second', Used> & {
    readonly flows: number;
  };
  if (there !== 2 * flows) throw new Error(`${there} flows instead of ${2 * flows}`);
  return {
    heap: (second.heap - first.heap) / flows,
    arrays: (second.arrays - first.arrays) / flows,
  };
}

async function measure({ stage, quick, runs, tell }: Bench): Promise<Measured> {
  const { ports, flows } = quick ? SIZE.quick : SIZE.whole;
  const lab = await stage.side('setups');
  const pid = agentOf(lab, 'h1')?.pid;
  if (pid === undefined) throw new Error('h1 has no agent');
  const before = residentMb(pid);
  tell(`${ports} ports`);
  let revision = 0;
  for (let n = 0; n < ports; n += OPERATIONS_MAX) {
    const operations = Array.from({ length: Math.min(OPERATIONS_MAX, ports - n) }, (_, i) => {
      const at = n + i;
      const mac = `02:00:00:bf:${hex(at >> 8)}:${hex(at & 255)}`;
      const addresses = [{ mac, ip: `10.1.${128 + (at >> 8)}.${at & 255}` }];
      const body = { name: `more${at}`, bridge: 'ba', addresses };
      return { op: 'create', kind: 'port', body } as const;
    });
    ({ revision } = await lab.client.transact(operations));
  }
  await lab.client.wait(revision, WAIT_MS);
  using loop = new OpenLoop(lab);
  const { arrived, sent } = await loop.offer(RATE, flows / RATE);
  const { flowsNow } = await countersWhen(lab, 'h1', (counters) => counters.flowsNow >= flows);
  const resident: number[] = [];
  const own: number[] = [];
  for (let i = 0; i < runs; i++) {
    await sleep(SAMPLES_APART_MS);
    resident.push(residentMb(pid).all);
    own.push(residentMb(pid).own);
  }
  const each: Used[] = [];
  for (let i = 0; i < runs; i++) each.push(await heapPerFlow(flows));
  const size = `${ports.toLocaleString('en-US')} ports in sight, ${flows.toLocaleString('en-US')} flows`;
  const lines: Line[] = [
    {
      what: `agent, resident: ${size}`,
      unit: 'MB',
      better: 'less',
      ours: resident,
      reach: { of: 'ours', value: 200 },
    },
    { what: 'of it, backed by no file or map', unit: 'MB', better: 'less', ours: own },
    {
      what: 'heap of an agent for each further flow',
      unit: 'B',
      better: 'less',
      ours: each.map(({ heap }) => heap),
      reach: { of: 'ours', value: 200 },
    },
    {
      what: 'typed arrays, which are beside the heap, for the same',
      unit: 'B',
      better: 'less',
      ours: each.map(({ arrays }) => arrays),
    },
  ];
  const notes = [
    `before: ${before.all.toFixed(0)} MB; ${flowsNow} flows, ${arrived} of ${sent} first packets arrived`,
    'typed arrays double when they are full; columns of numbers are made for all slots at the start',
    'rules: not yet. Resident includes Node itself and maps shared with the kernel.',
    "OVN's ovn-controller is known to take 163–900 MB at such a size: not measured in this run",
  ];
  return { lines, notes };
}

export const memory: Row = {
  name: 'memory',
  what: 'memory of an agent with 10 k ports in sight and 10 k flows; heap for each further flow',
  tools: ['ip', 'nsenter'],
  root: true,
  sides: ['setups'],
  measure,
};
