/**
 * What this node counts, as Prometheus text. Read when asked for; only requests are counted as they
 * go.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { HostStatus } from '#client/types.ts';
import type { Node } from './node.ts';

export class Metrics {
  readonly #registry = new Registry();
  readonly #requests = new Counter({
    name: 'mn_api_requests_total',
    help: 'Requests answered, by route and status.',
    labelNames: ['route', 'status'] as const,
    registers: [this.#registry],
  });
  readonly #gauges = new Map<string, Gauge<string>>();

  request(route: string, status: number): void {
    this.#requests.inc({ route, status });
  }

  async text(node: Node): Promise<{ readonly text: string; readonly type: string }> {
    const { replica, writes, watch, learned, hosts, asks } = node;
    this.#set('mn_api_revision', 'The revision of this node.', replica.revision);
    this.#set('mn_api_streams', 'Open streams.', watch.size);
    this.#set('mn_api_streams_cut_total', 'Streams cut for a slow reader.', watch.stats.slow);
    this.#set('mn_api_streams_reset_total', 'Streams told all anew.', watch.stats.resets);
    this.#set('mn_api_streams_resumed_total', 'Streams resumed.', watch.stats.resumed);
    this.#set('mn_api_writes_total', 'Writes committed.', writes.stats.committed);
    this.#set('mn_api_writes_raced_total', 'Tries lost to another node.', writes.stats.racesLost);
    this.#set(
      'mn_api_writes_refused_total',
      'Writes refused: queue full.',
      writes.stats.refusedFull,
    );
    this.#set('mn_api_writes_waiting', 'Writes that wait for their turn.', writes.waiting);
    this.#set('mn_api_waits', 'Requests that wait for a revision.', hosts.waiting);
    this.#set('mn_api_learned_macs', 'Learned MACs.', learned.macs);
    this.#set('mn_api_neighbours', 'Neighbours of routers.', learned.neighbours);
    this.#set('mn_api_store_failures_total', 'Failed reads of the store.', replica.stats.failures);
    this.#set('mn_api_asks_waiting', 'Questions to agents without an answer yet.', asks.waiting);
    for (const [how, count] of Object.entries(asks.stats))
      this.#set(
        `mn_api_asks_${how.replaceAll('-', '_')}_total`,
        `Questions to agents that ended so: ${how}.`,
        count,
      );
    const states: Record<HostStatus['state'], number> = { alive: 0, dead: 0, unknown: 0 };
    for (const { state } of hosts.statuses()) states[state] += 1;
    for (const [state, count] of Object.entries(states))
      this.#set(`mn_api_hosts_${state}`, `Hosts that are ${state}.`, count);
    return { text: await this.#registry.metrics(), type: this.#registry.contentType };
  }

  #set(name: string, help: string, value: number): void {
    let gauge = this.#gauges.get(name);
    if (gauge === undefined) {
      gauge = new Gauge({ name, help, registers: [this.#registry] });
      this.#gauges.set(name, gauge);
    }
    gauge.set(value);
  }
}
