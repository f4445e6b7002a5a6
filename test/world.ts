/**
 * A whole cluster in one process: the production API, agents and command line over the reference
 * datapath. Only transport, links, clock and datapath are passed in. Wires between hosts can lose
 * frames, by a seed.
 */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { Edge } from '#agent/edge.ts';
import { runControl, type Clock, type Links } from '#agent/control.ts';
import { AgentMachine } from '#agent/machine.ts';
import type { FromEdge, LocalInterface, ToEdge } from '#agent/messages.ts';
import { createApi, type Api } from '#api/app.ts';
import { HEAD_KEY, objectKey } from '#api/keys.ts';
import { valueOf } from '#api/replica.ts';
import { runCli } from '#cli/cli.ts';
import { processFiles } from '#cli/files.ts';
import { createClient } from '#client/client.ts';
import type { Client, Token } from '#client/types.ts';
import { openMemory } from '#datapath/memory.ts';
import type { DpPort } from '#flow/flow.ts';
import { UNDERLAY_MTU } from '#lab/names.ts';
import type { Underlay, WorkloadSpec } from '#lab/scenario.ts';
import { formatIp, isIp6, parseIp, type Ip } from '#net/ip.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import { openSqlite } from '#store/sqlite.ts';
import type { Store } from '#store/store.ts';
import { Logs } from '#telemetry/log.ts';
import type { RowChange } from '#virtual/change.ts';
import type { HostId } from '#virtual/ids.ts';
import { Workload, WORKLOAD_MTU } from './workload.ts';
import { Datagrams } from './world-records.ts';

const DEADLINE_MS = 20_000;
/** What passes between two looks of datapaths at the clock: what happens later is later. */
const TURN_MS = 1e-6;
const ROUNDS_MAX = 10_000;
/** IP, UDP and VXLAN headers around a frame (RFC 7348 §5). */
const OUTER_BYTES = { ipv4: 36, ipv6: 56 } as const;
/** What an interface takes besides its MTU: an Ethernet header and a tag. */
const LINK_BYTES = 18;
type Memory = ReturnType<typeof openMemory>;

export interface WorldOptions {
  readonly hosts: readonly string[];
  readonly workloads?: readonly WorkloadSpec[];
  /** The network between hosts; IPv4 unless told. It loses what is larger than its MTU. */
  readonly underlay?: Underlay;
  /** Of frames between hosts; decided by the seed. Default none. */
  readonly lossPercent?: number;
  readonly seed?: number;
  readonly slots?: number;
}

/** The interface of a workload. */
interface Interface {
  index: number;
  up: boolean;
  readonly mtu: number;
}

/** One host: its datapath outlives its agent. */
export interface WorldHost {
  readonly name: string;
  readonly id: string;
  readonly address: Ip;
  readonly datapath: Memory;
  edge: Edge | undefined;
  stop: (() => Promise<void>) | undefined;
  readonly interfaces: Map<string, Interface>;
}

/** A stream of interface lists that the world pushes into. */
function createLinks(host: WorldHost): Links & { changed(): void } {
  let wake = Promise.withResolvers<void>();
  const list = (): LocalInterface[] =>
    [...host.interfaces]
      .filter(([, i]) => i.up)
      .map(([name, { index, mtu }]) => ({ name, index, mtu }));
  return {
    changed: () => wake.resolve(),
    async *watch(signal) {
      while (!signal.aborted) {
        const next = wake.promise;
        yield list();
        const aborted = Promise.withResolvers<void>();
        signal.addEventListener('abort', () => aborted.resolve(), { once: true });
        await Promise.race([next, aborted.promise]);
        wake = Promise.withResolvers<void>();
      }
    },
  };
}

/**
 * The agents' conversation with the API runs in real time; flows and learned MACs age in the
 * world's.
 */
const CONTROL_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
};

/** Numbers from a seed (xorshift32): which frames the wires lose. */
function randomFrom(seed: number): () => number {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

export class World {
  readonly hosts = new Map<string, WorldHost>();
  readonly client: Client;
  readonly #store: Store;
  readonly #api: Api;
  readonly #workloads = new Map<string, Workload>();
  /** Which host a workload is plugged into now. */
  readonly #places = new Map<string, WorldHost>();
  readonly #links = new Map<string, ReturnType<typeof createLinks>>();
  readonly #random: () => number;
  readonly #options: WorldOptions;
  readonly #underlay: Underlay;
  /** Of the underlay. */
  readonly #mtu: number;
  #timeMs = 1_000;
  #nextIndex = 100;
  /** Hosts cut off the API: what they had open breaks, what they ask fails. */
  readonly #cut = new Map<string, AbortController>();

  private constructor(options: WorldOptions) {
    this.#options = options;
    this.#underlay = options.underlay ?? { family: 'ipv4', mtu: undefined };
    this.#mtu = this.#underlay.mtu ?? UNDERLAY_MTU[this.#underlay.family];
    this.#random = randomFrom(options.seed ?? 1);
    this.#store = openSqlite(':memory:');
    this.#api = createApi({
      store: this.#store,
      clock: { now: () => performance.now() },
      version: 'world',
      onBug: (error) => {
        throw error;
      },
    });
    this.client = this.#clientOf(undefined);
  }

  static async open(options: WorldOptions): Promise<World> {
    const world = new World(options);
    try {
      await world.#build();
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
    return world;
  }

  async #build(): Promise<void> {
    const options = this.#options;
    await this.#api.ready;
    const first = this.#underlay.family === 'ipv6' ? 'fd16::' : '172.16.0.';
    for (const [i, name] of options.hosts.entries()) await this.#addHost(name, `${first}${i + 1}`);
    const members = [...this.hosts.values()].map((h) => ({
      host: h.id,
      address: formatIp(h.address),
    }));
    await this.client.create('tunnel-zone', { name: 'underlay', members });
    for (const spec of options.workloads ?? []) this.#addWorkload(spec);
    for (const name of options.hosts) await this.agent(name, 'start');
    await this.settle();
  }

  /** A client with a token, or (without) the operator on the unix socket. */
  /** A client with a token of its own. */
  async as(token: Token): Promise<Client> {
    const { secret } = await this.client.issueToken(token);
    return this.#clientOf(secret);
  }

  #clientOf(token: string | undefined, host = ''): Client {
    return createClient({
      fetch: async (path, init) => {
        const wire = this.#wire(host);
        if (wire.aborted) throw new TypeError('fetch failed: the world cut this wire');
        const headers = new Headers(init?.headers);
        if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
        const request = new Request(`http://api${path}`, { ...init, headers });
        const response = await (token === undefined
          ? this.#api.operator(request)
          : this.#api.fetch(request));
        if (host === '' || response.body === null) return response;
        const body = response.body.pipeThrough(new TransformStream(), { signal: wire });
        return new Response(body, response);
      },
    });
  }
  /** One request with a token, as it comes from outside. */
  request(path: string, token: string, init?: RequestInit): Promise<Response> {
    const headers = new Headers(init?.headers);
    headers.set('authorization', `Bearer ${token}`);
    return Promise.resolve(this.#api.fetch(new Request(`http://api${path}`, { ...init, headers })));
  }
  #wire(host: string): AbortSignal {
    const wire = this.#cut.get(host) ?? new AbortController();
    this.#cut.set(host, wire);
    return wire.signal;
  }

  async #addHost(name: string, address: string): Promise<void> {
    const { objects } = await this.client.create('host', { name });
    const ip = parseIp(address) as Ip;
    const datapath = openMemory({
      slots: this.#options.slots ?? 4096,
      clock: () => (this.#timeMs += TURN_MS),
      address: ip,
    });
    const host: WorldHost = {
      name,
      id: objects[0]?.id ?? '',
      address: ip,
      datapath,
      edge: undefined,
      stop: undefined,
      interfaces: new Map(),
    };
    datapath.onTransmit((port, frame) => this.#deliver(host, port, frame));
    datapath.onTunnel((remote, key, frame) => {
      const to = [...this.hosts.values()].find((h) => h.address === remote);
      if (frame.length + (isIp6(ip) ? OUTER_BYTES.ipv6 : OUTER_BYTES.ipv4) > this.#mtu) return;
      if (!this.#isLost()) to?.datapath.receiveTunnel(ip, key, frame);
    });
    this.hosts.set(name, host);
    this.#links.set(name, createLinks(host));
  }

  #addWorkload({ name, host, mac, addresses, mtu = WORKLOAD_MTU, via }: WorkloadSpec): void {
    this.#plug(name, this.host(host), mtu);
    const send = (frame: Uint8Array): void => this.transmit(name, frame);
    const options = { name, mac: parseMac(mac) as Mac, addresses, mtu, via, send };
    this.#workloads.set(name, new Workload(options));
  }
  #plug(name: string, host: WorldHost, mtu: number): void {
    this.#places.set(name, host);
    host.interfaces.set(name, { index: this.#nextIndex++, up: true, mtu });
  }
  #placeOf(name: string): WorldHost {
    const found = this.#places.get(name);
    if (found === undefined) throw new Error(`there is no workload ${name}`);
    return found;
  }
  /** A frame leaves a workload's interface; lost when that is down. */
  transmit(name: string, frame: Uint8Array): void {
    const { interfaces, datapath } = this.#placeOf(name);
    const at = interfaces.get(name);
    if (at?.up === true) datapath.receive(at.index as DpPort, frame);
  }

  #deliver(host: WorldHost, port: DpPort, frame: Uint8Array): void {
    const found = [...host.interfaces].find(([, { index, up }]) => up && index === port);
    const [name, { mtu = 0 } = {}] = found ?? [];
    if (name !== undefined && frame.length <= mtu + LINK_BYTES)
      this.#workloads.get(name)?.receive(frame);
  }

  /** The time by which flows, neighbours and learned MACs age. */
  get nowMs(): number {
    return this.#timeMs;
  }
  host(name: string): WorldHost {
    const found = this.hosts.get(name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  }
  get workloads(): Iterable<Workload> {
    return this.#workloads.values();
  }
  workload(name: string): Workload {
    const found = this.#workloads.get(name);
    if (found === undefined) throw new Error(`there is no workload ${name}`);
    return found;
  }

  /** Between agents; lost as frames are. */
  readonly #datagrams = new Datagrams(() => (this.#isLost() ? 'lost' : 'now'));
  #isLost(): boolean {
    return this.#random() * 100 < (this.#options.lossPercent ?? 0);
  }

  /** Lets all first packets be decided; true when there were any. */
  pump(): boolean {
    let busy = false;
    for (let rounds = 0; rounds < ROUNDS_MAX; rounds++) {
      let handled = 0;
      for (const host of this.hosts.values()) {
        host.edge?.seen();
        handled += host.edge?.pump((m) => this.#post(host, m)) ?? 0;
      }
      if (handled === 0) return busy;
      busy = true;
    }
    throw new Error('the world does not come to rest: frames circle');
  }
  readonly #inbox = new Map<string, (message: FromEdge) => void>();
  #post(host: WorldHost, message: FromEdge): void {
    this.#inbox.get(host.name)?.(message);
  }

  /** What an agent is asked, it answers between its packets, as its worker does. */
  async #answer(host: WorldHost, edge: Edge): Promise<void> {
    while (host.edge === edge && edge.busy) {
      edge.pump((m) => this.#post(host, m));
      await setImmediate();
    }
  }

  /**
   * Waits until every live agent has enforced the newest revision, located its ports and published
   * what it learned.
   */
  async settle(): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    for (let calm = 0; calm < 5;) {
      calm = (await this.#calm()) ? calm + 1 : 0;
      await setImmediate();
      if (performance.now() > deadline)
        throw new Error(`the world did not settle: ${await this.#unsettled()}`);
      if (calm === 0) await sleep(1);
    }
  }
  async #calm(): Promise<boolean> {
    if (this.pump()) return false;
    return (await this.#unsettled()) === '';
  }
  async #unsettled(): Promise<string> {
    const { revision, hosts } = await this.client.status();
    for (const host of this.hosts.values()) {
      if (host.edge === undefined || this.#wire(host.name).aborted) continue;
      const state = host.edge.state();
      const reported = hosts.find((h) => h.host === host.id)?.report;
      if (state.revision < revision) return `${host.name} is at ${state.revision}, not ${revision}`;
      if (state.publicPorts.wants.length > 0) return `${host.name} is short of public ports`;
      if (state.locate.length > 0) return `${host.name} has ports to locate`;
      if ((reported?.revision ?? -1) < revision)
        return `${host.name} reported ${reported?.revision}`;
      if (reported?.portsUp.join() !== state.portsUp.join())
        return `${host.name} has not reported its ports`;
    }
    return '';
  }

  async agent(name: string, action: 'stop' | 'start' | 'kill'): Promise<void> {
    const host = this.host(name);
    if (action !== 'start') {
      await host.stop?.();
      host.stop = undefined;
      host.edge = undefined;
      return;
    }
    if (host.edge !== undefined) return;
    const { secret } = await this.client.issueToken({
      role: 'host',
      name: `agent-${name}`,
      host: host.id,
    });
    const seed = Math.floor(this.#random() * 2 ** 31);
    const edge = new Edge({
      host: host.id as HostId,
      datapath: host.datapath,
      now: () => this.#timeMs,
      seed,
      pathMtu: () => this.#mtu,
      records: this.#datagrams.of(host.address),
    });
    const stop = new AbortController();
    let take: (message: FromEdge) => void = () => {};
    this.#inbox.set(name, (message) => take(message));
    const logs = new Logs({ name: 'agent', write: () => {} });
    const running = runControl({
      host: host.id,
      client: this.#clientOf(secret, name),
      edge: {
        send: (message: ToEdge) => {
          edge.handle(message, (m) => take(m));
          if (message.type === 'ask') void this.#answer(host, edge);
        },
        onMessage: (callback) => {
          take = callback;
        },
      },
      links: this.#links.get(name) as Links,
      clock: CONTROL_CLOCK,
      log: logs.log,
      version: 'world',
      machine: new AgentMachine({ logs, version: 'world' }),
      signal: stop.signal,
    });
    running.catch(() => undefined);
    host.edge = edge;
    host.stop = async () => {
      stop.abort();
      await running.catch(() => undefined);
    };
    await this.settle();
  }

  /** Cuts a host off the API, or joins it again. */
  cut(name: string, off: boolean): void {
    if (off) this.#cut.get(name)?.abort();
    else this.#cut.delete(name);
  }

  /**
   * Lets time pass for flows and learned MACs, in steps of the agents' ticks; no further than the
   * step after which it is `enough`.
   */
  async advance(ms: number, enough: () => boolean = () => false): Promise<void> {
    const step = 500;
    for (let left = ms; left > 0 && !enough(); left -= step) {
      this.#timeMs += Math.min(step, left);
      for (const host of this.hosts.values()) host.edge?.tick((m) => this.#post(host, m));
      this.pump();
    }
    await this.settle();
  }

  async run(args: readonly string[]): Promise<{ out: string; err: string; code: number }> {
    const printed = { out: '', err: '' };
    const code = await runCli([...args], {
      client: this.client,
      files: processFiles,
      out: (text) => void (printed.out += text),
      err: (text) => void (printed.err += text),
    });
    await this.settle();
    return { ...printed, code };
  }
  /** What it printed, both streams. */
  async mn(args: readonly string[]): Promise<string> {
    const { out, err } = await this.run(args);
    return out + err;
  }

  /** An interface that goes is a new one when it comes back. */
  async link(name: string, up: boolean): Promise<void> {
    const { interfaces, name: host } = this.#placeOf(name);
    const { index = 0, mtu = WORKLOAD_MTU } = interfaces.get(name) ?? {};
    interfaces.set(name, { index: up ? this.#nextIndex++ : index, up, mtu });
    this.#links.get(host)?.changed();
    await this.settle();
  }

  /**
   * Interfaces without anybody at their other end, in place of those that the host had. `settle`
   * waits until its agent has acted on it.
   */
  plug(name: string, list: readonly { readonly name: string; readonly index: number }[]): void {
    const { interfaces } = this.host(name);
    interfaces.clear();
    for (const { name: link, index } of list)
      interfaces.set(link, { index, up: true, mtu: WORKLOAD_MTU });
    this.#links.get(name)?.changed();
  }

  /**
   * Writes rows as they are into the store, past the rules of the API: ids are the caller's, and
   * half of a change is one too. `settle` waits until every agent has it.
   */
  async write(rows: readonly RowChange[]): Promise<void> {
    const operations = rows.map(({ kind, id, put }) => {
      const key = objectKey(kind, id);
      return put === undefined ? { delete: key } : { put: key, value: valueOf(put) };
    });
    await this.#store.transact([], [...operations, { put: HEAD_KEY, value: '' }]);
  }

  /** The host where a port is up, by the agents' own word. */
  hostOf(port: string): WorldHost | undefined {
    return [...this.hosts.values()].find(({ edge }) => edge?.state().portsUp.includes(port));
  }

  /** A workload's interface goes from its host and appears on another. */
  async move(name: string, to: string): Promise<void> {
    const from = this.#placeOf(name);
    const { mtu = WORKLOAD_MTU } = from.interfaces.get(name) ?? {};
    from.interfaces.delete(name);
    this.#plug(name, this.host(to), mtu);
    for (const host of [from.name, to]) this.#links.get(host)?.changed();
    await this.settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.hosts.values()) await host.stop?.();
    await this.#api.close();
    await this.#store[Symbol.asyncDispose]();
  }
}
