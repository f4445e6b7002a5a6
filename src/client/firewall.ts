/**
 * The words for looking at a firewall at work: what rules counted and wrote down, and the
 * connections that hosts know.
 */
import { z } from 'zod';
import { CONNECTION_PHASES } from '#virtual/connection.ts';
import { type MissingHost, PORTS_PER_ASK_MAX } from './flows.ts';
import type { Requests } from './request.ts';

const id = z.uuid();
const count = z.int().min(0);
const text = z.string().max(200);

/** Chains that one question may name; who has more has to name one. */
export const CHAINS_PER_ASK_MAX = 1_024;
/** Only rules of these; absent: of all. */
const chains = z.array(id).max(CHAINS_PER_ASK_MAX).optional();

export const RuleCountsAsk = z.strictObject({
  kind: z.literal('rule-counts'),
  chains,
});
export const RuleCountsPart = z.object({
  rule: id,
  packets: count,
  bytes: count,
  /** Live flows that it has a say in. */
  flows: count,
});

export const RuleLogAsk = z.strictObject({
  kind: z.literal('rule-log'),
  chains,
});
/** One packet that a logged rule matched. */
export const RuleLogPart = z.object({
  rule: id,
  /** Counts the lines of this agent. */
  seq: count,
  /** How long ago, in milliseconds. */
  agoMs: z.number().min(0),
  /** Where it entered; absent: by the tunnel. */
  port: id.optional(),
  /** As it was at the rule, in the words of a trace. */
  packet: z.string().max(400),
  /** Packets before it that the rule wrote no line about, since there were too many. */
  left: count,
});

/** The most connections in one answer of an agent, and in one page of the API. */
export const CONNECTIONS_PER_ASK_MAX = 1_000;
export const ConnectionsAsk = z.strictObject({
  kind: z.literal('connections'),
  /** Only those that entered or left at these ports. */
  ports: z.array(id).max(PORTS_PER_ASK_MAX).optional(),
  limit: z.int().min(1).max(CONNECTIONS_PER_ASK_MAX),
  /** Only those in later slots. */
  after: z.int().min(-1).optional(),
});
/** One record, told by one host of those that have it. */
export const ConnectionPart = z.object({
  slot: count,
  generation: count,
  /** `tcp 10.0.0.1:1024 > 10.0.0.2:80`, as packets of who opened it enter. */
  forward: text,
  /** The same turned round, as it is where answers enter. */
  returned: text,
  /** Where they entered and left; absent: by no port, or by more than one. */
  inPort: id.optional(),
  outPort: id.optional(),
  phase: z.enum(CONNECTION_PHASES),
  ageMs: count,
  /** Since the last packet of either direction that this host knows of. */
  idleMs: count,
  /** Until it is forgotten, if nothing more is seen of it. */
  leftMs: count,
});
export type ConnectionPart = z.output<typeof ConnectionPart>;

export const PublicPortsAsk = z.strictObject({ kind: z.literal('public-ports') });
/** What a host owns of one address. */
export const PublicPortsPart = z.object({
  router: id,
  address: text,
  owned: count,
  used: count,
  spent: z.boolean(),
});

const MissingHosts = z.array(
  z.object({ host: z.string(), why: z.string().describe('Why it does not answer.') }),
);

export const RuleCountsBody = z
  .object({
    rows: z.array(
      z.object({
        chain: z.string(),
        chainName: z.string().optional(),
        rule: z.string(),
        ruleName: z.string().optional(),
        position: z.int(),
        action: z.string(),
        packets: z.int().min(0).describe('Packets that it matched, on all hosts.'),
        bytes: z.int().min(0),
        flows: z.int().min(0).describe('Flows that it has a say in now.'),
      }),
    ),
    missing: MissingHosts,
  })
  .meta({ id: 'RuleCounts', description: 'What rules have matched, since each agent started.' });
export type RuleCounts = z.output<typeof RuleCountsBody>;
export type RuleCountRow = RuleCounts['rows'][number];

export const RuleLogBody = z
  .object({
    rows: z.array(
      z.object({
        atMs: z.number().describe('Milliseconds since 1970.'),
        host: z.string().optional().describe('The id of the host that wrote it; operators only.'),
        hostName: z.string().optional(),
        chain: z.string(),
        chainName: z.string().optional(),
        rule: z.string(),
        ruleName: z.string().optional(),
        position: z.int(),
        action: z.string(),
        port: z.string().optional().describe('The name of the port where it entered, or its id.'),
        packet: z.string().describe('In the words of a trace.'),
        left: z.int().min(0).describe('Packets before it that no line was written about.'),
        seq: z.int().min(0).describe('Counts the lines of a host.'),
      }),
    ),
    missing: MissingHosts,
  })
  .meta({ id: 'RuleLog', description: 'The last packets that logged rules matched, by time.' });
export type RuleLog = z.output<typeof RuleLogBody>;
export type RuleLogRow = RuleLog['rows'][number];

const ConnectionRowBody = z.object({
  id: z.string().describe('HOST:SLOT.GENERATION; for tenants PORT:SLOT.GENERATION.'),
  host: z.string().optional().describe('The id of the host that tells of it; operators only.'),
  hostName: z.string().optional(),
  protocol: z.string(),
  from: z.string().describe('Who opened it, as the reader may know it: ADDRESS:PORT.'),
  to: z.string(),
  as: z
    .string()
    .optional()
    .describe('What routers have made of both on the way: ADDRESS:PORT > ADDRESS:PORT.'),
  fromPort: z.string().optional().describe('The name or id of the port where it entered.'),
  toPort: z.string().optional().describe('The name or id of the port by which it left.'),
  phase: z.enum(CONNECTION_PHASES),
  ageMs: z.int().min(0),
  idleMs: z.int().min(0),
  leftMs: z.int().min(0),
});
export type ConnectionRow = z.output<typeof ConnectionRowBody>;
export const ConnectionPageBody = z
  .object({
    revision: z.int(),
    items: z.array(ConnectionRowBody),
    missing: MissingHosts,
    next: z.string().optional(),
  })
  .meta({ id: 'ConnectionPage', description: 'Connections, and the hosts that did not answer.' });

export const PublicPortsBody = z
  .object({
    rows: z.array(
      z.object({
        router: z.string(),
        routerName: z.string().optional(),
        address: z.string(),
        host: z.string(),
        hostName: z.string().optional(),
        owned: z.int().min(0).describe('Ports of the address that the host owns.'),
        used: z.int().min(0).describe('Connections that have one; with several peers, more.'),
        spent: z.boolean().describe('No more are to be had for new connections.'),
      }),
    ),
    missing: MissingHosts,
  })
  .meta({ id: 'PublicPorts', description: 'Which hosts own which public ports, and use them.' });
export type PublicPorts = z.output<typeof PublicPortsBody>;
export type PublicPortsRow = PublicPorts['rows'][number];

export interface ConnectionPage {
  readonly revision: number;
  readonly items: readonly ConnectionRow[];
  readonly missing: readonly MissingHost[];
  readonly next?: string;
}
export interface ConnectionQuery {
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly limit?: number;
  readonly after?: string | undefined;
}
/** Ids or unique names; absent: of all that the caller may see. */
export interface RulesQuery {
  readonly chain?: string | undefined;
  readonly rule?: string | undefined;
}

/** Looking at a firewall. Part of `Client`. */
export interface FirewallQuestions {
  ruleCounts(query?: RulesQuery): Promise<RuleCounts>;
  ruleLog(query?: RulesQuery): Promise<RuleLog>;
  /** One page of the connections of all hosts. */
  connections(query?: ConnectionQuery): Promise<ConnectionPage>;
  /** Operators only. */
  publicPorts(): Promise<PublicPorts>;
}

/** Agents are given some seconds to answer. */
const QUESTION_MS = 30_000;

export function firewallQuestions({ ask }: Requests): FirewallQuestions {
  const get = <T>(path: string, query: object): Promise<T> => {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const words = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return ask(
      'GET',
      `${path}${words.size === 0 ? '' : `?${words.toString()}`}`,
      undefined,
      QUESTION_MS,
    );
  };
  return {
    ruleCounts: (query = {}) => get('/v1/rule-counts', query),
    ruleLog: (query = {}) => get('/v1/rule-log', query),
    connections: (query = {}) => get('/v1/connections', query),
    publicPorts: () => get('/v1/public-ports', {}),
  };
}
