/**
 * The words that API, agents, CLI, lab and web exchange. The API's routes serve exactly these; the
 * client is typed by them. Agents speak to API nodes only, and always dial out.
 */
import type { Change } from '#virtual/change.ts';
import type { Fault, KindName, StoredObject } from '#virtual/kind.ts';
import type { RecordKeysClient } from './record-keys.ts';
import type { SelfClient } from './self.ts';
import type { AskAnswers, AskEvent, AskKind } from './asks.ts';
import type { HealthClient } from './health.ts';
import type { Looking } from './sight.ts';
import type { BalanceQuestions } from './balance.ts';
import type { FirewallQuestions } from './firewall.ts';
import type { FlowQuestions } from './flows.ts';
import type { HistoryClient, ObjectChange } from './history.ts';
import type { TraceRequest, TraceResult } from './trace.ts';
import type { WhatIfClient } from './what-if.ts';

/** RFC 9457. `errors` names fields; the text is the same in API, CLI and web. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly errors?: readonly Fault[];
}

export type Operation =
  | {
      readonly op: 'create';
      readonly kind: KindName;
      readonly body: Readonly<Record<string, unknown>>;
    }
  | {
      readonly op: 'update';
      readonly kind: KindName;
      readonly id: string;
      readonly body: Readonly<Record<string, unknown>>;
      readonly ifRevision?: number;
    }
  | {
      readonly op: 'delete';
      readonly kind: KindName;
      readonly id: string;
      readonly ifRevision?: number;
    };

/**
 * What a write answers: the revision at which it is durable, and the objects as they are now
 * (deletes: undefined).
 */
export interface Written {
  readonly revision: number;
  readonly objects: readonly (StoredObject | undefined)[];
  /** Nothing was written; `objects` and `changes` are what a write would have done. */
  readonly dryRun?: true;
  /** Of a dry run: every object that would change, cascades included. */
  readonly changes?: readonly ObjectChange[];
}

export interface Page {
  readonly revision: number;
  readonly items: readonly StoredObject[];
  /** Pass as `after` for the next page; absent on the last. */
  readonly next?: string;
}
export interface ListQuery {
  /** Field equals value, by the field's text form. */
  readonly where?: Readonly<Record<string, string>>;
  readonly limit?: number;
  readonly after?: string;
  /** As it was at this revision. */
  readonly at?: number | undefined;
}

/** A MAC that an agent has learned. `mac` in canonical text. */
export interface LearnedMac {
  readonly bridge: string;
  readonly vlan: number;
  readonly mac: string;
  readonly port: string;
}

/**
 * A neighbour that an agent heard for a router. `of`: the router's port; `port`: the port by which
 * it was heard. `ip` and `mac` in canonical text.
 */
export interface LearnedNeighbour {
  readonly of: string;
  readonly ip: string;
  readonly mac: string;
  readonly port: string;
}
export type Learned = LearnedMac | LearnedNeighbour;
export const isNeighbour = (learned: Learned): learned is LearnedNeighbour => 'of' in learned;

export interface AgentCounters {
  readonly upcalls: number;
  readonly flowsInstalled: number;
  readonly flowsNow: number;
  readonly hits: number;
  readonly misses: number;
  readonly tunnelHits: number;
  readonly injected: number;
  /** Packets that were too big for the way on and were sent on in pieces. */
  readonly cut: number;
  readonly drops: Readonly<Record<string, number>>;
}

/**
 * What an agent reports: at once when its revision or a port changes, and every REPORT_INTERVAL_MS.
 */
export interface AgentReport {
  /** Every change up to here is in force in this host's kernel. */
  readonly revision: number;
  readonly version: string;
  /** Ids of the ports it carries: their interfaces are isolated in the kernel. */
  readonly portsUp: readonly string[];
  /** Ports bound here that are not up, and why. */
  readonly portsDown: readonly { readonly port: string; readonly why: string }[];
  readonly counters: AgentCounters;
  /** How much of its limits is used; what an agent of before does not tell is not known. */
  readonly limits?: readonly Limit[] | undefined;
  readonly machine?: Machine | undefined;
  /** Of the first packets since the agent started: none yet, and there is nothing to tell. */
  readonly firstPackets?: Latencies | undefined;
}
/** `max` is where the next one is refused, or makes an older one go. */
export interface Limit {
  readonly name: string;
  readonly used: number;
  readonly max: number;
}
/** Half of them took up to `p50Ms`, 99 of 100 up to `p99Ms`. */
export interface Latencies {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}
export interface Machine {
  /** Milliseconds since 1970 UTC, by the host's clock. */
  readonly timeMs: number;
  readonly kernel: string;
  /** Of the agent. */
  readonly uptimeMs: number;
}
export const REPORT_INTERVAL_MS = 1_000;
/** A host is called dead when nothing was heard of it for so long, while the API served. */
export const HOST_LEASE_MS = 5_000;
/** A learned MAC lapses when its agent does not renew it for so long. */
export const LEARNED_LEASE_MS = 300_000;

export interface HostStatus {
  readonly host: string;
  readonly name: string;
  /** `unknown`: not heard of since this API node started. */
  readonly state: 'alive' | 'dead' | 'unknown';
  readonly report?: AgentReport;
  /** Age of the oldest change that a live host has not enforced; absent: it has them all. */
  readonly behindMs?: number;
  /** Frames dropped in a second, by the last two reports. */
  readonly dropsPerSecond?: number;
  /** How much the host's clock was ahead of the API's at its last report. */
  readonly aheadMs?: number;
}
export interface Status {
  readonly version: string;
  readonly revision: number;
  readonly hosts: readonly HostStatus[];
  /** Operators only. */
  readonly node?: NodeStatus;
}
/** The API node that answers. */
export interface NodeStatus {
  readonly uptimeMs: number;
  /** Milliseconds since 1970 UTC, by the API's clock. */
  readonly timeMs: number;
  readonly store: {
    readonly bytes?: number;
    readonly diskFreeBytes?: number;
    /** Changes after this revision are still known. */
    readonly historyFrom: number;
    /** Of the last write; absent: there was none. */
    readonly commitMs?: number;
  };
  readonly limits: readonly Limit[];
  /** From a commit until it was in the kernel of every live host. */
  readonly enforcement?: Latencies;
}

/** Answer of a wait: `behind` names the live hosts that have not enforced the revision in time. */
export interface WaitResult {
  readonly revision: number;
  readonly enforced: readonly string[];
  readonly behind: readonly string[];
  /** Hosts that are not alive: they enforce it before their next new flow. */
  readonly away: readonly string[];
}

/** Events of a watch, in order. Who does not know a type passes over it. */
export type WatchEvent =
  /**
   * All there is for this caller at `revision`: replaces everything known. First event of an
   * agent's stream.
   */
  | {
      readonly type: 'snapshot';
      readonly revision: number;
      readonly objects: readonly { readonly kind: KindName; readonly object: StoredObject }[];
    }
  | { readonly type: 'change'; readonly change: Change }
  /** Nothing up to `revision` concerns this caller. */
  | { readonly type: 'progress'; readonly revision: number }
  /**
   * Learned MACs and neighbours, the host's own included, in the store's order; `forget` names ones
   * that lapsed, or whose bridge or router is out of sight. The first replaces all.
   */
  | {
      readonly type: 'learned';
      readonly all: boolean;
      readonly put: readonly (Learned & { readonly host: string })[];
      readonly forget: readonly Learned[];
    }
  /** To hosts only. */
  | AskEvent;

export type Token =
  | { readonly role: 'operator'; readonly name: string }
  | { readonly role: 'tenant'; readonly name: string; readonly tenant: string }
  | { readonly role: 'host'; readonly name: string; readonly host: string };

/** `id`: not secret; the part of the token between `mn_` and the second `_`. */
export type KnownToken = Token & { readonly id: string };

/** Public ports that a host asks for: at least so many, if there are. */
export interface PortsWanted {
  readonly router: string;
  readonly address: string;
  /** Any from the first to the last; port 0 is the address itself, for protocols without ports. */
  readonly first: number;
  readonly last: number;
  /** How many. */
  readonly ports: number;
}

/** What a host found of a member that it checks. */
export interface HealthReport {
  readonly member: string;
  readonly status: 'up' | 'down';
  /** At most HEALTH_REASON_MAX characters. */
  readonly reason: string;
}
/** Reports of one request. */
export const MEMBERS_REPORTED_MAX = 256;
export interface HealthReported {
  /** Members that the host does not check, or that are not there. */
  readonly refused: readonly string[];
  /** The revision at which the others are written. */
  readonly revision: number;
}

export interface Client
  extends
    AskAnswers,
    FirewallQuestions,
    BalanceQuestions,
    FlowQuestions,
    HealthClient,
    HistoryClient,
    Looking,
    RecordKeysClient,
    SelfClient,
    WhatIfClient {
  list(kind: KindName, query?: ListQuery): Promise<Page>;
  /** All pages. `at`: as it was at this revision. */
  listAll(
    kind: KindName,
    where?: Readonly<Record<string, string>>,
    at?: number,
  ): Promise<StoredObject[]>;
  /** By id or unique name; as it was at a revision, if one is given. */
  get(kind: KindName, idOrName: string, at?: number): Promise<StoredObject>;
  create(kind: KindName, body: Readonly<Record<string, unknown>>): Promise<Written>;
  /** RFC 7396 merge: absent fields stay, null clears. */
  update(
    kind: KindName,
    idOrName: string,
    body: Readonly<Record<string, unknown>>,
    ifRevision?: number,
  ): Promise<Written>;
  remove(kind: KindName, idOrName: string, ifRevision?: number): Promise<Written>;
  transact(operations: readonly Operation[]): Promise<Written>;
  status(): Promise<Status>;
  /** Returns when every live host has enforced `revision`, or at the deadline. */
  wait(revision: number, timeoutMs: number): Promise<WaitResult>;
  trace(request: TraceRequest): Promise<TraceResult>;
  /** All bearer tokens, without their secrets. */
  tokens(): Promise<readonly KnownToken[]>;
  /** A revoked token is refused at once, and its streams end. */
  revokeToken(id: string): Promise<void>;
  /** Issues a bearer token; the secret is shown once. */
  issueToken(token: Token): Promise<{ readonly secret: string }>;
  /**
   * Objects and changes of `kinds` (operators, tenants), or all a host is entitled to (hosts).
   * Reconnects and resumes by itself.
   */
  watch(options: {
    readonly since?: number;
    /** What the caller, a host, answers when it is asked on this stream. */
    readonly asks?: readonly AskKind[];
    readonly signal: AbortSignal;
  }): AsyncIterable<WatchEvent>;

  /**
   * Hosts only: the port is up here, or (`up` false) its interface is gone or has no carrier.
   * Answers the location with its key; keeps the key it had here.
   */
  /**
   * Public ports of an address at a router for the calling host; the range is the server's to say.
   * Throws an ApiError (409) when there are none left.
   */
  ownPorts(wanted: PortsWanted): Promise<Written>;
  /** Gives a block of them back. */
  returnPorts(block: string): Promise<Written>;
  /** What the calling host found of members; at most MEMBERS_REPORTED_MAX. */
  reportHealth(reports: readonly HealthReport[]): Promise<HealthReported>;
  locate(
    port: string,
    at: { readonly interface: string; readonly up?: boolean; readonly mtu?: number | undefined },
  ): Promise<Written>;
  report(report: AgentReport): Promise<void>;
  learn(put: readonly Learned[], forget: readonly Learned[]): Promise<void>;
}
