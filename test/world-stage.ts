/**
 * The world as a stage for scenarios: the same files run here and in the lab, and print the same.
 *
 * Time is the world's own: where a person would wait for an answer, it passes at once, and only
 * until the answer is there: what agents know for seconds, the next command still finds.
 */
import { answersTo, follow } from '#lab/follow.ts';
import { givesUp, HOPS_MAX, SILENCE, SILENT_HOP, type PingOutcome } from '#lab/outcomes.ts';
import type { Delivery, Expected, PingRequest, Ran, Sent, Stage } from '#lab/scenario-commands.ts';
import type { Scenario } from '#lab/scenario.ts';
import { parseIp, type Ip } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import type { EchoRequest } from './workload.ts';
import { World } from './world.ts';

/** Longer than a router waits for the MAC of a neighbour before it says so. */
const PATIENCE_MS = 6_000;
const ID_MAX = 0xffff;

function ipOf(text: string): Ip {
  const ip = parseIp(text);
  if (ip === undefined) throw new Error(`scenario: ${text} is no address`);
  return ip;
}

export class WorldStage implements Stage {
  readonly world: World;
  #echoes = 0;

  private constructor(world: World) {
    this.world = world;
  }
  static async open(
    scenario: Pick<Scenario, 'hosts' | 'workloads'> & Partial<Pick<Scenario, 'underlay'>>,
  ): Promise<WorldStage> {
    return new WorldStage(await World.open(scenario));
  }

  mn(args: readonly string[]): Promise<Ran> {
    return this.world.run(args);
  }

  async #echo(from: string, to: Ip, how: Omit<EchoRequest, 'id'>): Promise<PingOutcome> {
    const workload = this.world.workload(from);
    const id = (this.#echoes = (this.#echoes % ID_MAX) + 1);
    workload.ping(to, { id, ...how });
    await this.world.settle();
    const answered = (): boolean => workload.outcome(id) !== undefined;
    if (!answered()) await this.world.advance(PATIENCE_MS, answered);
    return workload.outcome(id) ?? SILENCE;
  }

  ping(from: string, { address, size, df }: PingRequest): Promise<PingOutcome> {
    this.world.workload(from).forget();
    return this.#echo(from, ipOf(address), { size, df });
  }

  async traceroute(from: string, address: string): Promise<readonly string[]> {
    const hops: string[] = [];
    for (let ttl = 1; ttl <= HOPS_MAX && !givesUp(hops); ttl++) {
      const outcome = await this.#echo(from, ipOf(address), { ttl });
      if (outcome.kind === 'reply') return [...hops, address];
      if (outcome.kind !== 'error') hops.push(SILENT_HOP);
      else if (outcome.what === 'ttl-exceeded') hops.push(outcome.from);
      else return [...hops, `${outcome.from} ${outcome.what}`];
    }
    return hops;
  }

  async arping(from: string, address: string): Promise<string | undefined> {
    const workload = this.world.workload(from);
    const ip = ipOf(address);
    workload.forget();
    workload.resolve(ip);
    await this.world.settle();
    const mac = workload.neighbour(ip);
    return mac === undefined ? undefined : formatMac(mac);
  }

  async send(
    from: string,
    { frame, parts }: Sent,
    _expected: Expected,
  ): Promise<readonly Delivery[]> {
    const isSent = follow(frame);
    for (const workload of this.world.workloads) workload.received.length = 0;
    for (const part of parts) this.world.transmit(from, part);
    await this.world.settle();
    return [...this.world.workloads]
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .flatMap(({ name, received }) =>
        received.filter(isSent).map((got) => ({ workload: name, frame: got })),
      );
  }

  async ask(from: string, frame: Uint8Array): Promise<boolean> {
    const { received } = this.world.workload(from);
    received.length = 0;
    this.world.transmit(from, frame);
    await this.world.settle();
    return received.some(answersTo(frame));
  }

  async announce(name: string, address: string): Promise<void> {
    this.world.workload(name).announce(ipOf(address));
    await this.world.settle();
  }
  async release(name: string, address: string): Promise<void> {
    this.world.workload(name).release(ipOf(address));
  }
  move(name: string, host: string): Promise<void> {
    return this.world.move(name, host);
  }
  link(name: string, up: boolean): Promise<void> {
    return this.world.link(name, up);
  }
  agent(host: string, action: 'stop' | 'start' | 'kill'): Promise<void> {
    return this.world.agent(host, action);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
  }
}
