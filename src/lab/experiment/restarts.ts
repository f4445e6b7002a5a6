/**
 * Do kills, upgrades and downgrades of agents lose packets of installed flows? Two hosts with real
 * agents, pairs of workloads that send through the tunnel in both directions all the while; agents
 * are killed at random moments, and at chosen points of what they do at their start, and are
 * replaced by ones whose datapath has another layout. Sent and received are counted at both ends.
 */
import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { cleanLab } from '../clean.ts';
import {
  agentOf,
  announce,
  killAgent,
  logTails,
  makeLab,
  startAgent,
  waitForAgents,
  type Lab,
} from '../lab.ts';
import { lockLab } from '../lock.ts';
import { isAlive, logPath, until } from '../processes.ts';
import { parseRecipe, type Recipe } from '../recipe.ts';
import { Cast } from '../stage.ts';
import { Load, type Totals } from './load.ts';
import { makeNextTree, missingForNext } from './next-layout.ts';
import { randomOf } from './random.ts';

const LAB = 'restarts';
const HOSTS = ['h1', 'h2'] as const;
const WARM_PER_SECOND = 200;
/** Random kills come so long after the agent's start at most: before, during and after adoption. */
const LIFE_MAX_MS = 2_500;
/** Points an agent passes at its start, about: a kill at a later one is a kill while it works. */
const POINTS_MAX = 400;
const POINT_WAIT_MS = 6_000;
const PAIRS_MAX = 60;
const OPEN_MS = 60_000;

interface Choice {
  readonly kills: number;
  readonly upgrades: number;
  readonly rate: number;
  readonly pairs: number;
  readonly seed: number;
}

function readChoice(args: readonly string[]): Choice {
  const text = { type: 'string' } as const;
  const options = { kills: text, upgrades: text, rate: text, pairs: text, seed: text };
  const { values } = parseArgs({ args: [...args], options });
  const number = (name: keyof typeof options, preset: number, most: number): number => {
    const value = Number(values[name] ?? preset);
    if (!Number.isInteger(value) || value < 0 || value > most)
      throw new Error(`--${name} must be a whole number from 0 to ${most}`);
    return value;
  };
  return {
    kills: number('kills', 100, 10_000),
    upgrades: number('upgrades', 10, 1_000),
    rate: number('rate', 10_000, 100_000),
    pairs: Math.max(1, number('pairs', 8, PAIRS_MAX)),
    seed: number('seed', 1, 2 ** 31),
  };
}

/** Pairs of workloads, one on each host, all on one bridge that knows where they are. */
export function pairsRecipe(pairs: number): Recipe {
  const workload = (i: number, side: number): string => {
    const n = 2 * i + side + 1;
    const mac = `02:00:00:00:10:${n.toString(16).padStart(2, '0')}`;
    const addresses = `[10.0.0.${n}/24, 'fd00::${n.toString(16)}/64']`;
    return (
      `  ${'ab'[side]}${i + 1}: { host: ${HOSTS[side]}, bridge: wide, ` +
      `mac: '${mac}', addresses: ${addresses} }`
    );
  };
  const lines = Array.from({ length: pairs }, (_, i) => `${workload(i, 0)}\n${workload(i, 1)}`);
  return parseRecipe(`
about: ${pairs} pairs of workloads that send to each other through the tunnel.
hosts: [${HOSTS.join(', ')}]
bridges: { wide: { tenant: alpha, seeded: true } }
workloads:
${lines.join('\n')}
`);
}

/** Frames that a CPU's receive queue had no room for, since the machine started. */
const queueDrops = (): number =>
  readFileSync('/proc/net/softnet_stat', 'utf8')
    .trim()
    .split('\n')
    .reduce((sum, line) => sum + parseInt(line.split(' ')[1] ?? '0', 16), 0);

const say = (line: string): void => console.log(line);
const lost = ({ sent, received }: Totals): number => sent - received;

/** Answers whether no packet was lost. */
export async function restarts(args: readonly string[]): Promise<boolean> {
  const choice = readChoice(args);
  const lack = choice.upgrades > 0 ? await missingForNext() : undefined;
  if (lack !== undefined) throw new Error(`upgrades need ${lack}: or give --upgrades 0`);
  using _ = lockLab(LAB);
  await cleanLab(LAB);
  const recipe = pairsRecipe(choice.pairs);
  say(`${recipe.about} ${choice.rate} packets/s; seed ${choice.seed}`);
  try {
    const lab = await makeLab(announce(LAB, recipe), (line) => say(`  ${line}`));
    return await new Run(lab, choice).whole();
  } finally {
    await cleanLab(LAB);
  }
}

interface Opened {
  readonly adopted: boolean;
  readonly migration?: object;
}

class Run {
  readonly #lab: Lab;
  readonly #choice: Choice;
  readonly #random: (below: number) => number;
  /** The tree whose agent each host runs; absent: this one. */
  readonly #trees = new Map<string, string>();
  readonly #queueDrops = queueDrops();
  readonly #done = { atMoments: 0, atPoints: 0, upgrades: 0, downgrades: 0 };

  constructor(lab: Lab, choice: Choice) {
    this.#lab = lab;
    this.#choice = choice;
    this.#random = randomOf(choice.seed);
  }

  async whole(): Promise<boolean> {
    const { kills, upgrades, rate, pairs } = this.#choice;
    const cast = new Cast(this.#lab);
    const streams = Array.from({ length: pairs }, (_, i) => [
      [2 * i, 2 * i + 1] as const,
      [2 * i + 1, 2 * i] as const,
    ]).flat();
    using next = upgrades > 0 ? await makeNextTree() : undefined;
    using load = new Load(this.#lab, cast, streams);
    await load.first(WARM_PER_SECOND);
    const warm = await load.settle();
    const started = performance.now();
    load.send(rate);
    const steps = kills + upgrades;
    for (let step = 0, upgraded = 0; step < steps; step++) {
      const host = HOSTS[this.#random(HOSTS.length)] ?? HOSTS[0];
      const turn = Math.floor(((step + 1) * upgrades) / steps) > upgraded;
      if (turn) {
        upgraded += 1;
        await this.#changeLayout(HOSTS[upgraded % 2] ?? host, next?.root ?? '', upgraded % 2 === 0);
      } else await this.#kill(host);
      if ((step + 1) % 10 === 0 || turn) this.#progress(step + 1, load.totals(), warm);
    }
    await waitForAgents(this.#lab);
    const seconds = (performance.now() - started) / 1000;
    const totals = await load.settle();
    return await this.#result(totals, warm, seconds);
  }

  /**
   * Who dropped what is lost: the machine, whose receive queues all namespaces share (softnet_stat,
   * second column), or the datapath, by its own counters.
   */
  async #attribute(): Promise<void> {
    say(`machine   ${queueDrops() - this.#queueDrops} frames dropped by full receive queues`);
    for (const { name, report } of (await this.#lab.client.status()).hosts)
      say(`${name.padEnd(10)}drops ${JSON.stringify(report?.counters.drops ?? {})}`);
  }

  #start(host: string, killAt?: number): void {
    const root = this.#trees.get(host);
    startAgent(this.#lab, host, {
      ...(root === undefined ? {} : { root }),
      ...(killAt === undefined ? {} : { env: { MIDONET_KILL_AT: String(killAt) } }),
    });
  }

  /** A process that is killed may take its time to go on a machine that has none. */
  async #end(host: string): Promise<void> {
    await killAgent(this.#lab, host).catch(() => {});
    await until(`the agent of ${host} ends`, OPEN_MS, () => this.#isDead(host));
  }
  #isDead(host: string): boolean {
    const agent = agentOf(this.#lab, host);
    return agent === undefined || !isAlive(agent);
  }

  /** At a random moment of its life, or at a point of its start; then there is a new one. */
  async #kill(host: string): Promise<void> {
    if (this.#random(2) === 0) {
      const after = performance.now() + this.#random(LIFE_MAX_MS);
      await until('the moment comes', LIFE_MAX_MS * 2, () => performance.now() >= after);
      await this.#end(host);
      this.#done.atMoments += 1;
    } else {
      await this.#end(host);
      await this.#diesAtPoint(host);
    }
    this.#start(host);
  }

  /** A start that is killed at a random point of it; it may never pass so many, then as it is. */
  async #diesAtPoint(host: string): Promise<void> {
    this.#start(host, 1 + this.#random(POINTS_MAX));
    const dead = (): boolean => this.#isDead(host);
    await until('the agent comes to the point', POINT_WAIT_MS, dead).catch(() => {});
    if (!dead()) await this.#end(host);
    this.#done.atPoints += 1;
  }

  /** An agent of the other layout takes over; every other one is killed once on the way. */
  async #changeLayout(host: string, root: string, killed: boolean): Promise<void> {
    const up = !this.#trees.has(host);
    const before = this.#opened(host);
    await this.#end(host);
    if (up) this.#trees.set(host, root);
    else this.#trees.delete(host);
    this.#done[up ? 'upgrades' : 'downgrades'] += 1;
    if (killed) await this.#diesAtPoint(host);
    const since = this.#opened(host);
    this.#start(host);
    const open = (): boolean => this.#opened(host).length > since.length;
    await until(`${host} opens its datapath`, OPEN_MS, open).catch((error: Error) => {
      throw new Error(`${error.message}${logTails(this.#lab)}`, { cause: error });
    });
    await waitForAgents(this.#lab);
    const now = this.#opened(host).slice(before.length);
    if (now.some(({ adopted }) => !adopted)) throw new Error(`${host} began anew`);
    const carried = now.find(({ migration }) => migration !== undefined)?.migration;
    const what =
      carried === undefined ? 'what the killed one had carried' : JSON.stringify(carried);
    say(`  ${host} ${up ? 'up' : 'down'}${killed ? ', killed on the way' : ''}: ${what}`);
  }

  /** What the agents of a host logged of their datapaths. */
  #opened(host: string): Opened[] {
    const path = logPath(this.#lab.name, `agent-${host}`);
    const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
    return lines
      .filter((line) => line.endsWith('"the datapath is open"}'))
      .map((line) => JSON.parse(line) as Opened);
  }

  #progress(step: number, now: Totals, warm: Totals): void {
    const { kills, upgrades } = this.#choice;
    say(
      `  ${step} of ${kills + upgrades}: ${now.sent - warm.sent} sent, ${lost(now)} under way or lost`,
    );
  }

  async #result(now: Totals, warm: Totals, seconds: number): Promise<boolean> {
    const { atMoments, atPoints, upgrades, downgrades } = this.#done;
    const [sent, received] = [now.sent - warm.sent, now.received - warm.received];
    say(`${atMoments} kills at random moments, ${atPoints} at points of the start;`);
    say(`${upgrades} upgrades, ${downgrades} downgrades of the layout; ${seconds.toFixed(0)} s`);
    say(`sent      ${sent}  (${(sent / seconds).toFixed(0)} a second)`);
    say(`received  ${received}`);
    say(`lost      ${sent - received}`);
    say(`twice     ${now.twice}; not taken by the sender's interface ${now.refused}`);
    await this.#attribute();
    if (now.uncaptured > 0)
      say(`NOT KNOWN: ${now.uncaptured} frames that the capture had no room for`);
    return sent === received && now.uncaptured === 0;
  }
}
