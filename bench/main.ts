/**
 * `npm run bench`: this network beside its peers, in one run. Figures are printed, never asserted:
 * the exit code says only whether every row could be measured.
 *
 * Invariant: however a run ends, nothing that it made stays; what a SIGKILL leaves is removed by
 * the next run. One run at a time (a lock).
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { lockLab } from '#lab/lock.ts';
import { startNothingMore } from '#lab/processes.ts';
import { batchesEnd } from '#lab/wires.ts';
import { comparison, judged, summaryOf, verdictOf, type Line } from './line.ts';
import { describeMachine, machineLine, type Machine } from './machine.ts';
import { Skip, type Bench, type Measured, type Row } from './row.ts';
import { ROWS } from './rows.ts';
import { BENCH, Stage, sweepStage } from './stage.ts';
import { tableOf } from './table.ts';
import { lookInSystemDirs, missingPackages } from './tools.ts';

const USAGE = `Usage: npm run bench -- [options]

  --only NAME[,NAME]   these rows
  --runs N             runs of each side; default 5, with --quick 2
  --quick              small cases and short runs: shows that it works, not how fast it is
  --json FILE          writes every sample of every row
  --list               the rows
`;
const RUNS = { whole: 5, quick: 2, most: 100 } as const;
const SECONDS = { whole: 3, quick: 1 } as const;
const EXIT = { failed: 1, usage: 2, signal: 130 } as const;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

interface Settings {
  readonly rows: readonly Row[];
  readonly runs: number;
  readonly quick: boolean;
  /** Whether the rows were named. */
  readonly asked: boolean;
  readonly json: string | undefined;
}

/** One row as it ended. */
type Done = { readonly row: Row; readonly seconds: number } & (
  | { readonly measured: Measured }
  | { readonly skipped: string }
  | { readonly failed: string }
);

class Usage extends Error {}

function readSettings(argv: readonly string[]): Settings | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      only: { type: 'string' },
      runs: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) console.log(USAGE);
  if (values.list) for (const { name, what } of ROWS) console.log(`${name.padEnd(14)} ${what}`);
  if (values.help || values.list) return undefined;
  const { quick, json, only } = values;
  const runs = Number(values.runs ?? (quick ? RUNS.quick : RUNS.whole));
  if (!Number.isInteger(runs) || runs < 1 || runs > RUNS.most)
    throw new Usage(`--runs: must be a whole number from 1 to ${RUNS.most}`);
  const names = only?.split(',');
  const unknown = names?.filter((name) => !ROWS.some((row) => row.name === name)) ?? [];
  if (unknown.length > 0) throw new Usage(`--only: there is no row ${unknown.join(', ')}`);
  const rows = ROWS.filter(({ name }) => names?.includes(name) ?? true);
  return { rows, runs, quick, asked: names !== undefined, json };
}

/** What keeps these rows from being measured here at all; undefined: nothing. */
function obstacle(rows: readonly Row[]): string | undefined {
  const packages = missingPackages(rows.flatMap(({ tools }) => tools));
  if (packages.length > 0)
    return `missing Debian packages: ${packages.join(' ')}\n./midonet bench installs them, as root`;
  if (process.getuid?.() === 0 || !rows.some(({ root }) => root)) return undefined;
  const without = rows.filter(({ root }) => !root).map(({ name }) => name);
  const rest = without.length === 0 ? '' : `; without it: --only ${without.join(',')}`;
  return `needs root: it makes network namespaces and loads eBPF programs${rest}`;
}

async function measure(row: Row, bench: Bench): Promise<Done> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  try {
    await bench.stage.keep(row.sides);
    return { row, measured: await row.measure(bench), seconds: seconds() };
  } catch (error) {
    if (error instanceof Skip) return { row, skipped: error.message, seconds: seconds() };
    const failed = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { row, failed, seconds: seconds() };
  }
}

function report(done: Done): void {
  const { row, seconds } = done;
  const took = `${row.name}, ${seconds.toFixed(0)} s`;
  if ('skipped' in done) console.log(`\n${took}: skipped: ${done.skipped}`);
  else if ('failed' in done) console.log(`\n${took}: FAILED: ${done.failed}`);
  else {
    console.log(`\n${took}`);
    for (const line of tableOf(done.measured.lines)) console.log(`  ${line}`);
    for (const note of done.measured.notes ?? []) console.log(`    ${note}`);
  }
}

const jsonLine = (line: Line): object => {
  const ratios = comparison(line);
  return {
    ...line,
    oursSummary: summaryOf(line.ours),
    ...(line.peer === undefined ? {} : { peerSummary: summaryOf(line.peer.values) }),
    ...(ratios === undefined ? {} : { compared: summaryOf(ratios) }),
    judged: judged(line),
    verdict: verdictOf(line),
  };
};

function jsonOf(machine: Machine, { runs, quick }: Settings, all: readonly Done[]): string {
  const rows = all.map(({ row, seconds, ...rest }) => ({
    name: row.name,
    what: row.what,
    seconds,
    ...('measured' in rest
      ? { lines: rest.measured.lines.map(jsonLine), notes: rest.measured.notes ?? [] }
      : rest),
  }));
  return `${JSON.stringify({ machine, runs, quick, rows }, undefined, 2)}\n`;
}

/**
 * Takes everything down when somebody interrupts; a second signal ends at once. `wait` returns
 * unless somebody has: then the process ends elsewhere, when all is gone.
 */
function onSignals(lock: Disposable): { wait(): Promise<void> } {
  let interrupted = false;
  const end = async (): Promise<never> => {
    await batchesEnd();
    await sweepStage().catch((error: unknown) => console.error(String(error)));
    lock[Symbol.dispose]();
    process.exit(EXIT.signal);
  };
  for (const name of SIGNALS)
    process.on(name, () => {
      if (interrupted) process.exit(EXIT.signal);
      interrupted = true;
      startNothingMore();
      console.error('\ninterrupted: taking everything down');
      void end();
    });
  return { wait: () => (interrupted ? new Promise(() => {}) : Promise.resolve()) };
}

async function run(settings: Settings): Promise<void> {
  const { rows, runs, quick, asked, json } = settings;
  lookInSystemDirs();
  const why = obstacle(rows);
  if (why !== undefined) throw new Error(why);
  const tell = (what: string): void => console.error(`  … ${what}`);
  const machine = await describeMachine();
  console.log(machineLine(machine));
  console.log(`${runs} runs of each side, in turn${quick ? '; quick: not figures to quote' : ''}`);
  const all: Done[] = [];
  const measureAll = async (uninterrupted: () => Promise<void>): Promise<void> => {
    await using stage = new Stage(tell);
    const bench: Bench = {
      stage,
      quick,
      asked,
      runs,
      seconds: quick ? SECONDS.quick : SECONDS.whole,
      tell,
    };
    for (const row of rows) {
      const done = await measure(row, bench);
      await uninterrupted();
      all.push(done);
      report(done);
    }
  };
  if (rows.some(({ root }) => root)) {
    using lock = lockLab(BENCH);
    const signals = onSignals(lock);
    await sweepStage();
    await measureAll(signals.wait);
  } else await measureAll(() => Promise.resolve());
  const lines = all.flatMap((done) => ('measured' in done ? done.measured.lines : []));
  console.log('\nAll of it');
  for (const line of tableOf(lines)) console.log(line);
  if (json !== undefined) writeFileSync(json, jsonOf(machine, settings, all));
  if (all.some((done) => 'failed' in done)) process.exitCode = EXIT.failed;
}

try {
  const settings = readSettings(process.argv.slice(2));
  if (settings !== undefined) await run(settings);
} catch (error) {
  const usage =
    error instanceof Usage || (error as { code?: string }).code?.startsWith('ERR_PARSE');
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  if (usage === true) console.error(USAGE);
  process.exitCode = usage === true ? EXIT.usage : EXIT.failed;
}
// Agents, daemons and sockets of a failed row must not keep it from ending.
process.exit();
