/**
 * A scenario's stage on real wires: hosts and workloads as namespaces, the eBPF datapath, the
 * operator's own program for every `mn` command.
 *
 * Invariants: who should not have got a frame had QUIET_MS to show that it did; no workload does
 * anything before agents have come to rest, as in the world.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isIp6, parseIp } from '#net/ip.ts';
import { bitsOf, contains, parseNetwork } from '#net/prefix.ts';
import { parseFrameText } from '#net/text.ts';
import { patient } from '#os/patience.ts';
import { run, runOk } from '#os/run.ts';
import { cleanLab } from './clean.ts';
import { answersTo, follow } from './follow.ts';
import { announce, killAgent, makeLab, namespaceOf, startAgent, type Lab } from './lab.ts';
import { apiSocket } from './names.ts';
import type { PingOutcome } from './outcomes.ts';
import { PacketSocket } from './packet-socket.ts';
import { inside, until } from './processes.ts';
import type { Recipe, Workload } from './recipe.ts';
import {
  NO_REPLY,
  NOBODY,
  type Delivery,
  type Sent,
  type Expected,
  type PingRequest,
  type Ran,
  type Stage,
} from './scenario-commands.ts';
import type { Scenario } from './scenario.ts';
import {
  arpingFrom,
  gratuitousArp,
  pingFrom,
  toolOk,
  tracerouteFrom,
  type Asker,
} from './scenario-tools.ts';
import { whatIsToCome } from './settled.ts';
import { moveCable, WORKLOAD_INTERFACE } from './wires.ts';

const ARRIVE_MS = 10_000;
const QUIET_MS = 150;
const AGENT_MS = 20_000;
const COMMAND_MS = 30_000;
const MN = new URL('../mn.ts', import.meta.url).pathname;
/** The recipe's only network: its ports are the scenario's to make. */
const NETWORK = 'scenario';

function recipeOf({ title, hosts, workloads, underlay }: Scenario): Recipe {
  return {
    about: title,
    hosts: [...hosts],
    underlay: underlay.family,
    underlayMtu: underlay.mtu,
    outsiders: [],
    bridges: { [NETWORK]: { tenant: NETWORK, seeded: false } },
    routers: {},
    workloads: Object.fromEntries(
      workloads.map(({ name, host, mac, addresses, mtu, via = [] }) => [
        name,
        { host, bridge: NETWORK, mac, addresses: [...addresses], mtu, via: [...via] },
      ]),
    ),
  };
}

/** A workload as it is now: scenarios move it, and give it addresses. */
interface Actor {
  workload: Workload;
  socket: PacketSocket;
}

export class LabStage implements Stage {
  readonly #lab: Lab;
  readonly #actors: ReadonlyMap<string, Actor>;
  /** Hosts whose agents run, and workloads whose interface is up. */
  readonly #agents: Set<string>;
  readonly #plugged: Set<string>;
  /** Nothing was done since, but by workloads. */
  #isSettled = false;

  private constructor(lab: Lab) {
    this.#lab = lab;
    this.#agents = new Set(lab.recipe.hosts);
    this.#plugged = new Set(Object.keys(lab.recipe.workloads));
    this.#actors = new Map(
      Object.entries(lab.recipe.workloads).map(([name, workload]) => [
        name,
        { workload, socket: this.#socketOf(name) },
      ]),
    );
  }
  #socketOf(name: string): PacketSocket {
    const namespace = namespaceOf(this.#lab, name);
    return new PacketSocket({ namespace, interface: WORKLOAD_INTERFACE });
  }

  /** Makes a lab of this name with the scenario's hosts and workloads, and no ports. */
  static async open(name: string, scenario: Scenario): Promise<LabStage> {
    const journal = announce(name, recipeOf(scenario));
    try {
      const lab = await makeLab(journal, () => {}, { networks: false });
      return new LabStage(lab);
    } catch (error) {
      await cleanLab(name);
      throw error;
    }
  }

  #actor(name: string): Actor {
    const found = this.#actors.get(name);
    if (found === undefined) throw new Error(`there is no workload ${name}`);
    return found;
  }
  #asker(name: string): Asker {
    const { addresses } = this.#actor(name).workload;
    return { lab: this.#lab.name, name, addresses };
  }

  /** Waits until agents have come to rest. */
  async #settle(): Promise<void> {
    if (this.#isSettled) return;
    const interfaces = new Map<string, string>();
    for (const name of this.#plugged) interfaces.set(name, this.#actor(name).workload.host);
    const running = { hosts: this.#agents, interfaces };
    let missing: string[] = [];
    await until('agents come to rest', AGENT_MS, async () => {
      // An API that lives may be too busy to answer in time.
      missing = await whatIsToCome(this.#lab.client, running).catch((e: Error) => [e.message]);
      return missing.length === 0;
    }).catch((error: Error) => {
      throw new Error(`${error.message}: ${missing.join('; ')}`, { cause: error });
    });
    this.#isSettled = true;
  }

  async mn(args: readonly string[]): Promise<Ran> {
    this.#isSettled = false;
    const env = { MN_API: `unix:${apiSocket(this.#lab.name)}` };
    const options = { env, deadlineMs: COMMAND_MS };
    const { stdout, stderr, code } = await run(process.execPath, [MN, ...args], options);
    return { out: stdout, err: stderr, code };
  }

  async ping(from: string, request: PingRequest, expected: Expected): Promise<PingOutcome> {
    await this.#settle();
    return pingFrom(this.#asker(from), request, expected);
  }
  async traceroute(from: string, address: string, expected: Expected): Promise<readonly string[]> {
    await this.#settle();
    return tracerouteFrom(this.#asker(from), address, expected);
  }
  async arping(from: string, address: string): Promise<string | undefined> {
    await this.#settle();
    return arpingFrom(this.#asker(from), address);
  }

  async send(
    from: string,
    { frame, parts }: Sent,
    expected: Expected,
  ): Promise<readonly Delivery[]> {
    await this.#settle();
    const isSent = follow(frame);
    const awaited = expected.filter((line) => line !== NOBODY).length;
    const got: Delivery[] = [];
    const look = (): boolean => {
      for (const [workload, { socket }] of this.#actors)
        for (const { frame: seen, outgoing } of socket.drain())
          if (!outgoing && isSent(seen)) got.push({ workload, frame: seen });
      return got.length >= awaited;
    };
    for (const { socket } of this.#actors.values()) socket.drain();
    for (const part of parts) this.#actor(from).socket.send(part);
    await until('the frame arrives', ARRIVE_MS, look).catch(() => undefined);
    await sleep(patient(QUIET_MS));
    look();
    return got.toSorted((a, b) => (a.workload < b.workload ? -1 : Number(a.workload > b.workload)));
  }

  async ask(from: string, frame: Uint8Array, expected: Expected): Promise<boolean> {
    await this.#settle();
    const { socket } = this.#actor(from);
    const isAnswer = answersTo(frame);
    socket.drain();
    socket.send(frame);
    let heard = false;
    const look = (): boolean =>
      (heard ||= socket.drain().some((seen) => !seen.outgoing && isAnswer(seen.frame)));
    if (expected[0] === NO_REPLY) await sleep(patient(QUIET_MS));
    else await until('an answer comes', ARRIVE_MS, look).catch(() => undefined);
    return look();
  }

  async announce(name: string, address: string): Promise<void> {
    await this.#settle();
    const actor = this.#actor(name);
    const { mac, addresses } = actor.workload;
    const ip = parseIp(address);
    if (ip === undefined) throw new Error(`${address} is no address`);
    const near = addresses.map(parseNetwork).find((own) => own !== undefined && contains(own, ip));
    const added = `${address}/${near?.length ?? bitsOf(ip)}`;
    await this.#ip(name, ['address', 'replace', added, 'dev', WORKLOAD_INTERFACE]);
    const others = addresses.filter((each) => each !== added);
    actor.workload = { ...actor.workload, addresses: [...others, added] };
    if (!isIp6(ip)) await gratuitousArp(this.#asker(name), address);
    else {
      const frame = parseFrameText(`na ${address} is-at ${mac} to ff02::1`);
      if (!(frame instanceof Uint8Array)) throw new Error(frame.error);
      actor.socket.send(frame);
    }
    await sleep(patient(QUIET_MS));
  }

  async release(name: string, address: string): Promise<void> {
    const actor = this.#actor(name);
    const { addresses } = actor.workload;
    const held = addresses.find((each) => each.startsWith(`${address}/`));
    if (held === undefined) throw new Error(`${name} does not have ${address}`);
    await this.#ip(name, ['address', 'delete', held, 'dev', WORKLOAD_INTERFACE]);
    const left = addresses.filter((each) => each !== held);
    actor.workload = { ...actor.workload, addresses: left };
  }

  async move(name: string, host: string): Promise<void> {
    this.#isSettled = false;
    const actor = this.#actor(name);
    actor.socket[Symbol.dispose]();
    actor.workload = { ...actor.workload, host };
    await moveCable(this.#lab.name, name, actor.workload);
    actor.socket = this.#socketOf(name);
  }

  async link(name: string, up: boolean): Promise<void> {
    this.#isSettled = false;
    this.#plugged[up ? 'add' : 'delete'](name);
    const { host } = this.#actor(name).workload;
    const words = ['ip', 'link', 'set', name, up ? 'up' : 'down'];
    const [program = '', ...args] = inside(this.#lab.name, host, words);
    await runOk(program, args, { deadlineMs: COMMAND_MS });
  }

  async agent(host: string, action: 'stop' | 'start' | 'kill'): Promise<void> {
    this.#isSettled = false;
    if (action !== 'start') {
      this.#agents.delete(host);
      return killAgent(this.#lab, host);
    }
    this.#agents.add(host);
    startAgent(this.#lab, host);
    const { client } = this.#lab;
    const { revision } = await client.status();
    await until(`the agent of ${host} is back`, AGENT_MS, async () => {
      const status = (await client.status()).hosts.find(({ name }) => name === host);
      return status?.state === 'alive' && (status.report?.revision ?? -1) >= revision;
    });
  }

  async #ip(name: string, words: readonly string[]): Promise<void> {
    await toolOk(this.#asker(name), ['ip', ...words]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.#actors.values()) socket[Symbol.dispose]();
    await cleanLab(this.#lab.name);
  }
}
