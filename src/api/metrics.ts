/**
 * What this node counts, as Prometheus text; every name is in `telemetry/metrics.ts`. Read when
 * asked for; only requests and latencies are counted as they go.
 */
import type { MemberStatus } from '#client/balance.ts';
import type { HostStatus, Status } from '#client/types.ts';
import { Meters } from '#telemetry/meters.ts';
import { HOSTS_LABELLED_MAX } from '#telemetry/metrics.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { membersOf } from './balance-status.ts';
import type { Node } from './node.ts';

export class Metrics {
  readonly #meters = new Meters('api');
  /** Of the last write. */
  commitMs: number | undefined;

  request(route: string, status: number): void {
    this.#meters.add('mn_api_requests_total', { route, status: String(status) });
  }
  requestTook(method: string, ms: number): void {
    this.#meters.observe('mn_api_request_seconds', ms / 1_000, { method });
  }
  commitTook(ms: number): void {
    this.commitMs = ms;
    this.#meters.observe('mn_api_commit_seconds', ms / 1_000);
  }
  enforcementTook(ms: number): void {
    this.#meters.observe('mn_api_enforcement_seconds', ms / 1_000);
  }

  /** `status`: as an operator gets it. */
  async text(
    node: Node,
    status: Status,
  ): Promise<{ readonly text: string; readonly type: string }> {
    const { replica, writes, watch, learned, hosts, logs, enforcement, asks } = node;
    const meters = this.#meters;
    const { user, system } = process.cpuUsage();
    meters.set('mn_api_info', 1, { version: node.version });
    meters.set('mn_api_uptime_seconds', node.uptimeMs() / 1_000);
    meters.set('mn_api_cpu_seconds_total', (user + system) / 1e6);
    meters.set('mn_api_resident_bytes', process.memoryUsage.rss());
    meters.set('mn_api_revision', replica.revision);
    meters.set('mn_api_streams', watch.size);
    meters.set('mn_api_streams_cut_total', watch.stats.slow);
    meters.set('mn_api_streams_reset_total', watch.stats.resets);
    meters.set('mn_api_streams_resumed_total', watch.stats.resumed);
    meters.set('mn_api_writes_total', writes.stats.committed);
    meters.set('mn_api_writes_raced_total', writes.stats.racesLost);
    meters.set('mn_api_writes_refused_total', writes.stats.refusedFull);
    meters.set('mn_api_writes_waiting', writes.waiting);
    meters.set('mn_api_waits', hosts.waiting);
    meters.set('mn_api_learned_macs', learned.macs);
    meters.set('mn_api_neighbours', learned.neighbours);
    meters.set('mn_api_store_failures_total', replica.stats.failures);
    meters.set('mn_api_enforcement_unmeasured_total', enforcement.stats.unmeasured);
    meters.set('mn_api_asks_waiting', asks.waiting);
    meters.setAll('mn_api_asks_total', 'end', Object.entries(asks.stats));
    meters.set('mn_api_log_lines_total', logs.stats.written);
    this.#members(node);
    this.#store(status);
    this.#hosts(status);
    return meters.text();
  }

  #members({ replica: { topology } }: Node): void {
    const found: Record<MemberStatus, number> = { up: 0, down: 0, unknown: 0, none: 0 };
    for (const pool of topology.list('pool'))
      for (const { status } of membersOf(topology, pool as ObjectOf<'pool'>)) found[status] += 1;
    this.#meters.setAll('mn_api_pool_members', 'status', Object.entries(found));
  }

  #store({ revision, node }: Status): void {
    if (node === undefined) return;
    const { bytes, diskFreeBytes, historyFrom } = node.store;
    if (bytes !== undefined) this.#meters.set('mn_api_store_bytes', bytes);
    if (diskFreeBytes !== undefined) this.#meters.set('mn_api_store_free_bytes', diskFreeBytes);
    this.#meters.set('mn_api_store_history_revisions', revision - historyFrom);
    const limits = node.limits.map(({ name, used, max }) => ({ name, used, max }));
    this.#meters.setAll(
      'mn_api_limit_used',
      'limit',
      limits.map((l) => [l.name, l.used] as const),
    );
    this.#meters.setAll(
      'mn_api_limit_max',
      'limit',
      limits.map((l) => [l.name, l.max] as const),
    );
  }

  #hosts({ revision, hosts }: Status): void {
    const states: Record<HostStatus['state'], number> = { alive: 0, dead: 0, unknown: 0 };
    for (const { state } of hosts) states[state] += 1;
    this.#meters.setAll('mn_api_hosts', 'state', Object.entries(states));
    const behind = (host: HostStatus): number =>
      Math.max(0, revision - (host.report?.revision ?? revision));
    const worst = hosts
      .filter(({ state }) => state === 'alive')
      .toSorted((a, b) => behind(b) - behind(a))
      .slice(0, HOSTS_LABELLED_MAX);
    const series = (of: (host: HostStatus) => number) =>
      worst.map((host) => [host.name, of(host)] as const);
    this.#meters.setAll('mn_api_host_behind_revisions', 'host', series(behind));
    this.#meters.setAll(
      'mn_api_host_behind_seconds',
      'host',
      series(({ behindMs = 0 }) => behindMs / 1_000),
    );
  }
}
