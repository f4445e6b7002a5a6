/**
 * Every metric there is, in one table: API and agents register from it, and the guide prints it.
 *
 * Names follow Prometheus: base units (seconds, bytes), `_total` for counters. Invariant: the
 * number of series is bounded. Labels are routes, statuses, states, drop reasons, names of limits,
 * and names of hosts (at most HOSTS_LABELLED_MAX, those most behind); never anything of a tenant.
 */

export const METRIC_TYPES = ['counter', 'gauge', 'histogram'] as const;
export interface MetricRow {
  readonly type: (typeof METRIC_TYPES)[number];
  readonly help: string;
  readonly labels?: readonly string[];
  /** Upper ends, in seconds. */
  readonly buckets?: readonly number[];
}

/** Hosts that have series of their own. */
export const HOSTS_LABELLED_MAX = 256;

/** From a commit to the last live host: a local write is some milliseconds. */
const ENFORCEMENT_SECONDS = [
  0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30,
] as const;
const REQUEST_SECONDS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10] as const;
const COMMIT_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2] as const;
/** From a frame's arrival in the kernel until its decision is carried out. */
export const FIRST_PACKET_SECONDS = [
  0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5,
] as const;

export const METRICS = {
  mn_api_info: { type: 'gauge', help: 'Always 1; the version of this node.', labels: ['version'] },
  mn_api_uptime_seconds: { type: 'gauge', help: 'How long this node has been serving.' },
  mn_api_cpu_seconds_total: { type: 'counter', help: 'Processor time that this node has used.' },
  mn_api_resident_bytes: { type: 'gauge', help: 'Memory that this node has.' },
  mn_api_requests_total: {
    type: 'counter',
    help: 'Requests answered, by route and status.',
    labels: ['route', 'status'],
  },
  mn_api_request_seconds: {
    type: 'histogram',
    help: 'Time until a request had its answer; of a stream, until it began.',
    labels: ['method'],
    buckets: REQUEST_SECONDS,
  },
  mn_api_revision: { type: 'gauge', help: 'The revision of this node.' },
  mn_api_streams: { type: 'gauge', help: 'Open streams.' },
  mn_api_streams_cut_total: { type: 'counter', help: 'Streams cut for a slow reader.' },
  mn_api_streams_reset_total: { type: 'counter', help: 'Streams told all anew.' },
  mn_api_streams_resumed_total: { type: 'counter', help: 'Streams resumed.' },
  mn_api_writes_total: { type: 'counter', help: 'Writes committed.' },
  mn_api_writes_raced_total: { type: 'counter', help: 'Tries of a write lost to another node.' },
  mn_api_writes_refused_total: { type: 'counter', help: 'Writes refused: the queue was full.' },
  mn_api_writes_waiting: { type: 'gauge', help: 'Writes that wait for their turn.' },
  mn_api_waits: { type: 'gauge', help: 'Requests that wait for a revision.' },
  mn_api_learned_macs: { type: 'gauge', help: 'Learned MACs.' },
  mn_api_neighbours: { type: 'gauge', help: 'Neighbours of routers.' },
  mn_api_pool_members: {
    type: 'gauge',
    help: 'Members of pools, by what checks have found: up, down, unknown, or none where nobody checks.',
    labels: ['status'],
  },
  mn_api_store_bytes: { type: 'gauge', help: 'Size of the store, its log included.' },
  mn_api_store_free_bytes: { type: 'gauge', help: "Free on the store's disk." },
  mn_api_store_history_revisions: { type: 'gauge', help: 'Revisions that the store still knows.' },
  mn_api_store_failures_total: { type: 'counter', help: 'Failed reads of the store.' },
  mn_api_commit_seconds: {
    type: 'histogram',
    help: 'Time of one commit, until it was durable.',
    buckets: COMMIT_SECONDS,
  },
  mn_api_enforcement_seconds: {
    type: 'histogram',
    help: 'From a commit until it was in the kernel of every live host.',
    buckets: ENFORCEMENT_SECONDS,
  },
  mn_api_enforcement_unmeasured_total: {
    type: 'counter',
    help: 'Commits whose enforcement was not measured: too many were under way.',
  },
  mn_api_hosts: { type: 'gauge', help: 'Hosts, by state.', labels: ['state'] },
  mn_api_host_behind_revisions: {
    type: 'gauge',
    help: `Revisions a live host is behind; the ${HOSTS_LABELLED_MAX} most behind.`,
    labels: ['host'],
  },
  mn_api_host_behind_seconds: {
    type: 'gauge',
    help: `Age of the oldest change a live host has not enforced; the ${HOSTS_LABELLED_MAX} most behind.`,
    labels: ['host'],
  },
  mn_api_limit_used: { type: 'gauge', help: 'What is used of a limit.', labels: ['limit'] },
  mn_api_limit_max: { type: 'gauge', help: 'The limit.', labels: ['limit'] },
  mn_api_asks_waiting: { type: 'gauge', help: 'Questions to agents without an answer yet.' },
  mn_api_asks_total: {
    type: 'counter',
    help: 'Questions to agents, by how they ended.',
    labels: ['end'],
  },
  mn_api_log_lines_total: { type: 'counter', help: 'Lines of the log.' },

  mn_agent_info: {
    type: 'gauge',
    help: 'Always 1; the version of the agent.',
    labels: ['version'],
  },
  mn_agent_uptime_seconds: { type: 'gauge', help: 'How long the agent has been running.' },
  mn_agent_cpu_seconds_total: { type: 'counter', help: 'Processor time that the agent has used.' },
  mn_agent_resident_bytes: { type: 'gauge', help: 'Memory that the agent has.' },
  mn_agent_revision: {
    type: 'gauge',
    help: "Every change up to here is in force in this host's kernel; -1 before the first.",
  },
  mn_agent_ports: { type: 'gauge', help: 'Ports bound here, up or down.', labels: ['state'] },
  mn_agent_flows: { type: 'gauge', help: 'Installed flows.' },
  mn_agent_flows_installed_total: { type: 'counter', help: 'Flows installed by this agent.' },
  mn_agent_hits_total: { type: 'counter', help: 'Frames that a flow forwarded.' },
  mn_agent_tunnel_hits_total: {
    type: 'counter',
    help: 'Frames from the tunnel that their key alone forwarded.',
  },
  mn_agent_misses_total: { type: 'counter', help: 'Frames handed up to the agent.' },
  mn_agent_upcalls_total: { type: 'counter', help: 'First packets that this agent decided.' },
  mn_agent_injected_total: { type: 'counter', help: 'First packets that this agent sent on.' },
  mn_agent_cut_total: { type: 'counter', help: 'Packets that this agent cut to what fits.' },
  mn_agent_drops_total: { type: 'counter', help: 'Frames dropped, by reason.', labels: ['reason'] },
  mn_agent_connections_opened_total: {
    type: 'counter',
    help: 'Connections whose records this agent made.',
  },
  mn_agent_connections_evicted_total: {
    type: 'counter',
    help: 'Records of connections that went to make room for others.',
  },
  mn_agent_records_sent_total: {
    type: 'counter',
    help: 'Records of connections told to other agents.',
  },
  mn_agent_records_sent_again_total: {
    type: 'counter',
    help: 'Datagrams of records told again, since nobody said that they had come.',
  },
  mn_agent_records_taken_total: {
    type: 'counter',
    help: 'Records of connections taken from other agents.',
  },
  mn_agent_records_refused_total: {
    type: 'counter',
    help: 'Records that another agent may not speak of, or that name devices not known here.',
  },
  mn_agent_record_questions_total: {
    type: 'counter',
    help: 'Questions to other agents about connections that they may know.',
  },
  mn_agent_record_questions_refused_total: {
    type: 'counter',
    help: 'Packets about which nobody was asked, since their source had asked too much.',
  },
  mn_agent_record_datagrams_refused_total: {
    type: 'counter',
    help: 'Datagrams of records from nobody known, with another key, broken, or come before.',
  },
  mn_agent_balanced_connections_total: {
    type: 'counter',
    help: 'Connections to members of load balancers that began here.',
  },
  mn_agent_balanced_bytes_total: {
    type: 'counter',
    help: 'Bytes of balanced connections, by way: in to members, out of them.',
    labels: ['way'],
  },
  mn_agent_member_checks_total: {
    type: 'counter',
    help: 'Checks of members of load balancers that this host made, by result: succeeded, failed.',
    labels: ['result'],
  },
  mn_agent_first_packet_seconds: {
    type: 'histogram',
    help: 'From the arrival of a first packet in the kernel until its decision was carried out.',
    buckets: FIRST_PACKET_SECONDS,
  },
  mn_agent_limit_used: { type: 'gauge', help: 'What is used of a limit.', labels: ['limit'] },
  mn_agent_limit_max: { type: 'gauge', help: 'The limit.', labels: ['limit'] },
  mn_agent_reports_total: { type: 'counter', help: 'Reports that the API took.' },
  mn_agent_reports_failed_total: { type: 'counter', help: 'Reports that did not arrive.' },
  mn_agent_log_lines_total: { type: 'counter', help: 'Lines of the log.' },
} as const satisfies Readonly<Record<`mn_${'api' | 'agent'}_${string}`, MetricRow>>;

export type MetricName = keyof typeof METRICS;
export const rowOf = (name: MetricName): MetricRow => METRICS[name];

/** The rows of one program as lines of a Markdown table: what the guide shows. */
export function metricsTable(program: 'api' | 'agent'): string[] {
  const rows = (Object.keys(METRICS) as MetricName[])
    .filter((name) => name.startsWith(`mn_${program}_`))
    .map((name) => {
      const { type, help, labels = [] } = rowOf(name);
      const shown = labels.length === 0 ? '' : `{${labels.join(', ')}}`;
      return `| \`${name}${shown}\` | ${type} | ${help} |`;
    });
  return ['| metric | type | what |', '|---|---|---|', ...rows];
}
