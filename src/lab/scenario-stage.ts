/**
 * A scenario's stage on real wires: hosts and workloads as namespaces, the eBPF datapath, the
 * operator's own program for every `mn` command.
 *
 * Invariant: a frame counts as received only when exactly its bytes came in; who should not have
 * got it had QUIET_MS to show that it did.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { run, runOk } from '#os/run.ts';
import { cleanLab } from './clean.ts';
import { announce, killAgent, makeLab, namespaceOf, startAgent, type Lab } from './lab.ts';
import { apiSocket } from './names.ts';
import { PacketSocket } from './packet-socket.ts';
import { inside, until } from './processes.ts';
import type { Recipe } from './recipe.ts';
import type { Scenario, Stage } from './scenario.ts';
import { WORKLOAD_INTERFACE } from './wires.ts';

const ARRIVE_MS = 5_000;
const QUIET_MS = 150;
const AGENT_MS = 20_000;
const COMMAND_MS = 30_000;
const MN = new URL('../mn.ts', import.meta.url).pathname;
/** The recipe's only network: its ports are the scenario's to make. */
const NETWORK = 'scenario';

function recipeOf({ title, hosts, workloads }: Scenario): Recipe {
  return {
    about: title,
    hosts: [...hosts],
    outsiders: [],
    bridges: { [NETWORK]: { tenant: NETWORK, seeded: false } },
    workloads: Object.fromEntries(
      workloads.map(({ name, host, mac, addresses }) => [
        name,
        { host, bridge: NETWORK, mac, addresses: [...addresses] },
      ]),
    ),
  };
}

export class LabStage implements Stage {
  readonly #lab: Lab;
  readonly #sockets: ReadonlyMap<string, PacketSocket>;
  readonly #hostOf: ReadonlyMap<string, string>;

  private constructor(lab: Lab, { workloads }: Scenario) {
    this.#lab = lab;
    this.#hostOf = new Map(workloads.map(({ name, host }) => [name, host]));
    this.#sockets = new Map(
      workloads.map(({ name }) => [
        name,
        new PacketSocket({ namespace: namespaceOf(lab, name), interface: WORKLOAD_INTERFACE }),
      ]),
    );
  }

  /** Makes a lab of this name with the scenario's hosts and workloads, and no ports. */
  static async open(name: string, scenario: Scenario): Promise<LabStage> {
    const journal = announce(name, recipeOf(scenario));
    try {
      const lab = await makeLab(journal, () => {}, { networks: false });
      return new LabStage(lab, scenario);
    } catch (error) {
      await cleanLab(name);
      throw error;
    }
  }

  async mn(args: readonly string[]): Promise<string> {
    const env = { MN_API: `unix:${apiSocket(this.#lab.name)}` };
    const options = { env, deadlineMs: COMMAND_MS };
    const { stdout, stderr } = await run(process.execPath, [MN, ...args], options);
    return stdout + stderr;
  }

  async ping(from: string, address: string): Promise<boolean> {
    await this.#inside(from, ['ip', 'neigh', 'flush', 'dev', WORKLOAD_INTERFACE]);
    const words = ['ping', '-n', '-q', '-c', '3', '-i', '0.3', '-W', '1', address];
    const [program = '', ...args] = inside(this.#lab.name, from, words);
    const { stdout } = await run(program, args, { deadlineMs: COMMAND_MS });
    return Number(/, (\d+) received/.exec(stdout)?.[1] ?? 0) > 0;
  }

  async send(from: string, frame: Uint8Array, expected: number): Promise<readonly string[]> {
    const got = new Set<string>();
    const look = (): boolean => {
      for (const [name, socket] of this.#sockets)
        for (const { frame: seen, outgoing } of socket.drain())
          if (!outgoing && Buffer.compare(seen, frame) === 0) got.add(name);
      return got.size >= expected;
    };
    for (const socket of this.#sockets.values()) socket.drain();
    this.#sockets.get(from)?.send(frame);
    await until('the frame arrives', ARRIVE_MS, look).catch(() => undefined);
    await sleep(QUIET_MS);
    look();
    return [...got];
  }

  async link(workload: string, up: boolean): Promise<void> {
    const host = this.#hostOf.get(workload) ?? '';
    await this.#inside(host, ['ip', 'link', 'set', workload, up ? 'up' : 'down']);
  }

  async agent(host: string, action: 'stop' | 'start' | 'kill'): Promise<void> {
    if (action !== 'start') return killAgent(this.#lab, host);
    startAgent(this.#lab, host);
    const { client } = this.#lab;
    const { revision } = await client.status();
    await until(`the agent of ${host} is back`, AGENT_MS, async () => {
      const status = (await client.status()).hosts.find(({ name }) => name === host);
      return status?.state === 'alive' && (status.report?.revision ?? -1) >= revision;
    });
  }

  async #inside(part: string, words: readonly string[]): Promise<void> {
    const [program = '', ...args] = inside(this.#lab.name, part, words);
    await runOk(program, args, { deadlineMs: COMMAND_MS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets.values()) socket[Symbol.dispose]();
    await cleanLab(this.#lab.name);
  }
}
