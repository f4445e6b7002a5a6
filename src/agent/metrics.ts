/**
 * What this agent counts, as Prometheus text; every name is in `telemetry/metrics.ts`. Told by the
 * packet worker's last state, so whoever asks costs packets nothing.
 */
import type { Logs } from '#telemetry/log.ts';
import { Meters } from '#telemetry/meters.ts';
import type { HealthCounts } from './health/worker.ts';
import type { EdgeState } from './messages.ts';

export class AgentMeters {
  readonly #meters = new Meters('agent');
  readonly #version: string;
  readonly #logs: Logs;
  #state: EdgeState | undefined;

  constructor(version: string, logs: Logs) {
    this.#version = version;
    this.#logs = logs;
  }

  /** The packet worker's state, as of now. */
  state(state: EdgeState): void {
    this.#state = state;
  }
  /** Whether the API took a report. */
  reported(taken: boolean): void {
    this.#meters.add(taken ? 'mn_agent_reports_total' : 'mn_agent_reports_failed_total');
  }

  /** Checks of members, since the start. */
  checked({ succeeded, failed }: HealthCounts): void {
    this.#meters.setAll(
      'mn_agent_member_checks_total',
      'result',
      Object.entries({ succeeded, failed }),
    );
  }

  async text(): Promise<{ readonly text: string; readonly type: string }> {
    const meters = this.#meters;
    const { user, system } = process.cpuUsage();
    meters.set('mn_agent_info', 1, { version: this.#version });
    meters.set('mn_agent_uptime_seconds', process.uptime());
    meters.set('mn_agent_cpu_seconds_total', (user + system) / 1e6);
    meters.set('mn_agent_resident_bytes', process.memoryUsage.rss());
    meters.set('mn_agent_log_lines_total', this.#logs.stats.written);
    if (this.#state !== undefined) this.#tell(this.#state);
    return meters.text();
  }

  #tell(state: EdgeState): void {
    const { revision, portsUp, portsDown, counters, records, limits, firstPackets, balanced } =
      state;
    const meters = this.#meters;
    const { hits, tunnelHits, misses, upcalls, flowsInstalled, flowsNow, injected, cut } = counters;
    meters.set('mn_agent_revision', revision);
    meters.setAll('mn_agent_ports', 'state', [
      ['up', portsUp.length],
      ['down', portsDown.length],
    ]);
    meters.set('mn_agent_flows', flowsNow);
    meters.set('mn_agent_flows_installed_total', flowsInstalled);
    meters.set('mn_agent_hits_total', hits);
    meters.set('mn_agent_tunnel_hits_total', tunnelHits);
    meters.set('mn_agent_misses_total', misses);
    meters.set('mn_agent_upcalls_total', upcalls);
    meters.set('mn_agent_injected_total', injected);
    meters.set('mn_agent_cut_total', cut);
    meters.setAll('mn_agent_drops_total', 'reason', Object.entries(counters.drops));
    meters.set('mn_agent_connections_opened_total', records.connectionsOpened);
    meters.set('mn_agent_connections_evicted_total', records.connectionsEvicted);
    meters.set('mn_agent_records_sent_total', records.recordsSent);
    meters.set('mn_agent_records_sent_again_total', records.recordsSentAgain);
    meters.set('mn_agent_records_taken_total', records.recordsTaken);
    meters.set('mn_agent_records_refused_total', records.recordsRefused);
    meters.set('mn_agent_record_questions_total', records.questionsAsked);
    meters.set('mn_agent_record_questions_refused_total', records.questionsRefused);
    meters.set('mn_agent_record_datagrams_refused_total', records.datagramsRefused);
    meters.set('mn_agent_balanced_connections_total', balanced.opened);
    meters.setAll('mn_agent_balanced_bytes_total', 'way', [
      ['in', balanced.bytesIn],
      ['out', balanced.bytesOut],
    ]);
    const told = (of: (limit: EdgeState['limits'][number]) => number) =>
      limits.map((limit) => [limit.name, of(limit)] as const);
    meters.setAll(
      'mn_agent_limit_used',
      'limit',
      told(({ used }) => used),
    );
    meters.setAll(
      'mn_agent_limit_max',
      'limit',
      told(({ max }) => max),
    );
    meters.setBuckets('mn_agent_first_packet_seconds', firstPackets);
  }
}
