/**
 * Does anybody notice when members of a service die, rest, come and go, and when agents die? wrk
 * and iperf3 through VIPs for minutes, and clients that account for each request: none fails but
 * those on a member that died, and those sent to it before anybody could know.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { ObjectOf } from '#virtual/kinds.ts';
import { cleanLab } from '../../clean.ts';
import { isListening } from '../../demo/iperf.ts';
import { announce, killAgent, logTails, makeLab, startAgent, waitForAgents } from '../../lab.ts';
import type { Lab } from '../../lab.ts';
import { lockLab } from '../../lock.ts';
import { labDir } from '../../names.ts';
import { end, logPath, start, until, type Process } from '../../processes.ts';
import { randomOf } from '../random.ts';
import { addSheet, emptySheet, Ledger, type Sheet } from './ledger.ts';
import {
  balanceRecipe,
  CHECK,
  CLIENTS,
  HOSTS,
  offer,
  SPARE,
  STREAMS,
  VIPS,
  WEB,
  WEB_PORT,
  webMember,
} from './network.ts';
import { serveStreams, Streams } from './streams.ts';
import { errorText, failuresOf, sumOf, wrk, type WrkResult } from './wrk.ts';

const LAB = 'balance';
const LISTEN_MS = 15_000;
const KNOWN_MS = 60_000;
const ENFORCE_MS = 20_000;
/** Of a phase, before anything is done, and of what is done. */
const BEFORE_MS = 1_000;
const REST_MS = 3_000;
const AGENTLESS_MS = 1_500;
/** Clients leave a member within so long: a lane keeps a connection for some three seconds. */
const LEAVE_MS = 8_000;
const WRK_SECONDS = 8;

const PHASES = ['quiet', 'kill', 'hang', 'drain', 'down', 'add', 'agent'] as const;
type Phase = (typeof PHASES)[number];
/** Phases in which members die: only then may anything fail. */
const isLoss = (phase: Phase): boolean => phase === 'kill' || phase === 'hang';

const say = (text: string): void => console.log(text);
const program = (file: string): string => new URL(file, import.meta.url).pathname;

interface Choice {
  readonly minutes: number;
  readonly seed: number;
  readonly phases: readonly Phase[];
}
function readChoice(args: readonly string[]): Choice {
  const text = { type: 'string' } as const;
  const options = { minutes: text, seed: text, phases: text };
  const { values } = parseArgs({ args: [...args], options });
  const whole = (name: 'minutes' | 'seed', preset: number, most: number): number => {
    const value = Number(values[name] ?? preset);
    if (!Number.isInteger(value) || value < 1 || value > most)
      throw new RangeError(`--${name} must be a whole number from 1 to ${most}`);
    return value;
  };
  const names = values.phases?.split(',') ?? PHASES;
  const phases = PHASES.filter((phase) => names.includes(phase));
  if (phases.length !== names.length)
    throw new RangeError(`--phases must be some of ${PHASES.join(',')}`);
  return { minutes: whole('minutes', 10, 600), seed: whole('seed', 1, 2 ** 31), phases };
}

/** Answers whether nothing failed that need not. */
export async function balance(args: readonly string[]): Promise<boolean> {
  const choice = readChoice(args);
  using _ = lockLab(LAB);
  await cleanLab(LAB);
  const recipe = balanceRecipe();
  say(`${recipe.about} ${choice.minutes} minutes; seed ${choice.seed}`);
  try {
    const lab = await makeLab(announce(LAB, recipe), (line) => say(`  ${line}`));
    return await new Run(lab, choice).whole(choice.minutes * 60_000);
  } finally {
    await cleanLab(LAB);
  }
}

interface Total {
  phases: number;
  readonly wrk: WrkResult[];
  readonly sheet: Sheet;
}

class Run {
  readonly #lab: Lab;
  readonly #random: (below: number) => number;
  readonly #phases: readonly Phase[];
  readonly #servers = new Map<string, Process>();
  readonly #ledger: Ledger;
  readonly #streams: Streams;
  readonly #totals = new Map<Phase, Total>();

  constructor(lab: Lab, { seed, phases }: Choice) {
    this.#lab = lab;
    this.#random = randomOf(seed);
    this.#phases = phases;
    const members = [...WEB, SPARE].map((name) => [name, this.#takenPath(name)] as const);
    const logs = CLIENTS.map((name) => logPath(lab.name, `prober-${name}`));
    this.#ledger = new Ledger(logs, new Map(members));
    this.#streams = new Streams(lab, 'client1');
  }

  async whole(forMs: number): Promise<boolean> {
    const lab = this.#lab;
    for (const name of [...WEB, SPARE]) await this.#serve(name);
    await serveStreams(lab);
    await lab.client.wait(await offer(lab), ENFORCE_MS);
    for (const name of WEB) await this.#known(name, 'up');
    const { address, port } = VIPS.web;
    for (const part of CLIENTS) {
      const command = [process.execPath, program('prober.ts'), part, address, `${port}`];
      start({ lab: lab.name, part, name: `prober-${part}`, command });
    }
    this.#streams.begin();
    const endMs = Date.now() + forMs;
    try {
      for (let n = 0; Date.now() < endMs; n++) await this.#phase(this.#next(n), n);
    } catch (error) {
      throw new Error(`${(error as Error).message}${logTails(lab)}`, { cause: error });
    }
    await this.#streams.end();
    const good = this.#result();
    // An agent counts from its start on.
    for (const { name, report } of (await lab.client.status()).hosts)
      say(`${name.padEnd(10)}drops ${JSON.stringify(report?.counters.drops ?? {})}`);
    return good;
  }

  #queue: Phase[] = [];
  /** Each once, in an order of its own, then all of them again. */
  #next(n: number): Phase {
    if (n === 0) return 'quiet';
    if (this.#queue.length === 0) this.#queue = [...this.#phases];
    const [phase = 'quiet'] = this.#queue.splice(this.#random(this.#queue.length), 1);
    return phase;
  }
  #pick<T>(of: readonly [T, ...T[]]): T {
    return of[this.#random(of.length)] ?? of[0];
  }

  async #phase(phase: Phase, n: number): Promise<void> {
    const lab = this.#lab;
    const load = Promise.all(
      CLIENTS.map((from, i) => wrk(lab, { from, seconds: WRK_SECONDS, fresh: (n + i) % 2 === 1 })),
    );
    load.catch(() => {}); // Awaited below.
    await sleep(BEFORE_MS);
    const [what, afterwards] = await this.#act(phase);
    const found = sumOf(await load);
    await afterwards?.();
    const sheet = this.#ledger.read();
    if (!isLoss(phase) && failuresOf(found) > 0)
      sheet.faults.push(`wrk, where nobody died: ${errorText(found)}`);
    const total = this.#totals.getOrInsertComputed(phase, () => ({
      ...{ phases: 0, wrk: [], sheet: emptySheet() },
    }));
    total.phases += 1;
    total.wrk.push(found);
    addSheet(total.sheet, sheet);
    say(`${String(n + 1).padStart(3)} ${what}`);
    say(`      wrk ${found.requests} requests, errors: ${errorText(found)}; ${textOf(sheet)}`);
    for (const fault of sheet.faults) say(`      WRONG: ${fault}`);
  }

  /** What was done, in words; and what is left to do when nobody sends much any more. */
  async #act(phase: Phase): Promise<readonly [string, (() => Promise<void>)?]> {
    const name = this.#pick(WEB);
    if (phase === 'quiet') return ['nothing is done'];
    if (phase === 'kill') return [await this.#kill(name)];
    if (phase === 'hang') return [await this.#hang(name)];
    if (phase === 'drain') return [await this.#rest(name, { weight: 0 }, { weight: 1 })];
    if (phase === 'down')
      return [await this.#rest(name, { adminStateUp: false }, { adminStateUp: true })];
    if (phase === 'add') return await this.#comesAndGoes();
    return [await this.#agent(this.#pick(HOSTS))];
  }

  async #kill(name: string): Promise<string> {
    const atMs = Date.now();
    await end([this.#servers.get(name) as Process], false);
    const after = await this.#lost(name, atMs);
    await this.#serve(name);
    await this.#known(name, 'up');
    return `${name} is killed; known after ${after} ms`;
  }
  /** Connections are still taken by its kernel, and nobody serves them. */
  async #hang(name: string): Promise<string> {
    const { pid } = this.#servers.get(name) as Process;
    const atMs = Date.now();
    process.kill(pid, 'SIGSTOP');
    let after: number;
    try {
      after = await this.#lost(name, atMs);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await this.#known(name, 'up');
    return `${name} hangs; known after ${after} ms`;
  }
  async #lost(member: string, atMs: number): Promise<number> {
    await this.#known(member, 'down');
    const noticedMs = Date.now();
    this.#ledger.losses.push({ member, atMs, noticedMs });
    return noticedMs - atMs;
  }

  /** A member gets nothing new for a while, and so does one that serves streams. */
  async #rest(member: string, rest: object, back: object): Promise<string> {
    const stream = this.#pick(STREAMS);
    await this.#streams.amidst();
    await this.#enforced(this.#lab.client.update('pool-member', stream, { ...rest }));
    await this.#enforced(this.#lab.client.update('pool-member', member, { ...rest }));
    const fromMs = Date.now();
    await sleep(REST_MS);
    this.#ledger.rests.push({ member, fromMs, toMs: Date.now() });
    await this.#enforced(this.#lab.client.update('pool-member', member, { ...back }));
    await this.#streams.amidst();
    await this.#enforced(this.#lab.client.update('pool-member', stream, { ...back }));
    return `${member} and ${stream} rest: ${JSON.stringify(rest)}`;
  }

  async #comesAndGoes(): Promise<readonly [string, () => Promise<void>]> {
    const { client } = this.#lab;
    await this.#enforced(client.create('pool-member', webMember(this.#lab, SPARE)));
    await sleep(REST_MS);
    await this.#enforced(client.update('pool-member', SPARE, { weight: 0 }));
    const fromMs = Date.now();
    const go = async (): Promise<void> => {
      await sleep(LEAVE_MS);
      this.#ledger.rests.push({ member: SPARE, fromMs, toMs: Date.now() });
      await this.#enforced(client.remove('pool-member', SPARE));
    };
    return [`${SPARE} is added, drained, and removed`, go];
  }

  async #agent(host: string): Promise<string> {
    await killAgent(this.#lab, host);
    await sleep(AGENTLESS_MS);
    startAgent(this.#lab, host);
    await waitForAgents(this.#lab);
    return `the agent of ${host} is killed, and started again after ${AGENTLESS_MS} ms`;
  }

  #takenPath(name: string): string {
    return `${labDir(this.#lab.name)}/taken-${name}`;
  }
  async #serve(part: string): Promise<void> {
    const command = [process.execPath, program('member.ts'), part];
    const server = start({
      ...{ lab: this.#lab.name, part, name: `member-${part}` },
      command: [...command, `${WEB_PORT}`, this.#takenPath(part)],
    });
    this.#servers.set(part, server);
    await until(`${part} serves`, LISTEN_MS, () => isListening(server, WEB_PORT));
  }

  /** Waits until checks have found it so, and every host goes by that. */
  async #known(name: string, status: 'up' | 'down'): Promise<void> {
    const { client } = this.#lab;
    const members = await client.listAll('pool-member');
    const id = members.find((member) => member.name === name)?.id;
    await until(`${name} is ${status}`, KNOWN_MS, async () => {
      const rows = (await client.listAll(
        'member-health',
      )) as unknown as ObjectOf<'member-health'>[];
      return rows.find((row) => row.id === id)?.status === status;
    });
    await this.#enforced(client.status());
  }
  async #enforced(change: Promise<{ readonly revision: number }>): Promise<void> {
    const { revision } = await change;
    const { behind } = await this.#lab.client.wait(revision, ENFORCE_MS);
    if (behind.length > 0)
      throw new Error(`revision ${revision} is not in force on ${behind.join(' ')}`);
  }

  #result(): boolean {
    const all = emptySheet();
    say('');
    say('phase     times  wrk requests  errors of wrk');
    for (const [phase, { phases, wrk: runs, sheet }] of this.#totals) {
      const found = sumOf(runs);
      addSheet(all, sheet);
      say(
        `${phase.padEnd(10)}${String(phases).padStart(5)}${String(found.requests).padStart(14)}` +
          `  ${errorText(found)}`,
      );
      say(`                ${textOf(sheet)}`);
    }
    const { runs, bytes, failures } = this.#streams;
    const mbyte = Math.round(bytes / 1e6);
    say(`streams   ${runs} runs of iperf3, ${mbyte} MB, ${failures.length} failed`);
    for (const failure of failures) say(`          ${failure}`);
    const { counts, faults } = all;
    const whole = faults.length + failures.length;
    say(
      `requests  ${counts.answered} answered; ${counts['in-flight']} in flight on a member that died, ` +
        `${counts.unnoticed} sent to one before that was known (checks: every ${CHECK.interval} s, ` +
        `${CHECK.fall} times)`,
    );
    say(whole === 0 ? 'nothing failed that need not' : `${whole} things went wrong`);
    return whole === 0;
  }
}

const textOf = ({ counts, intrusions, slowestMs }: Sheet): string => {
  const { answered, 'in-flight': flight, unnoticed, wrong } = counts;
  const lost = `${flight} in flight, ${unnoticed} to the dead`;
  return `${answered} counted requests answered, ${lost}, ${wrong} wrong; ${intrusions} new ones at rest; slowest ${slowestMs} ms`;
};
