/**
 * The words of what-if: a change that is not made, and what it would do to the flows that are
 * installed now, on all hosts.
 */
import type { KindName } from '#virtual/kind.ts';
import type { MissingHost } from './flows.ts';
import type { Requests } from './request.ts';
import type { Operation } from './types.ts';

/** Operations of one question: more than a transaction, which holds a change of one part. */
export const WHAT_IF_OPERATIONS_MAX = 2_000;
/** Flows looked at for one question, shared among the hosts; at most, and unless told. */
export const WHAT_IF_FLOWS_MAX = 50_000;
export const WHAT_IF_FLOWS = 20_000;
/** Flows told of each class; of objects that would change, so many are told by name. */
export const WHAT_IF_LISTED_MAX = 500;

export interface WhatIfRequest {
  readonly operations: readonly Operation[];
  /** Look at no more flows than these. */
  readonly flows?: number;
}

/** `broken`: its packets arrived and would not. `moved`: they would arrive in another way. */
export const FLOW_CLASSES = ['broken', 'opened', 'moved'] as const;
export type FlowClass = (typeof FLOW_CLASSES)[number];

/** What becomes of the packets of a flow. */
export interface FlowFate {
  /** `gone`: nothing enters there any more. */
  readonly effect: 'delivered' | 'answered' | 'waits' | 'dropped' | 'gone';
  /** Of the closed list; and what it means. */
  readonly reason?: string;
  readonly about?: string;
  /** The step that decided it. */
  readonly step?: string;
  /** As a trace prints them. */
  readonly lines: readonly string[];
}

export interface FlowChange {
  readonly class: FlowClass;
  /** As `mn flows` names it. */
  readonly id: string;
  readonly host?: string;
  readonly hostName?: string;
  readonly port?: string;
  readonly portName?: string;
  readonly from?: string;
  readonly match: string;
  /** The masked key, in hex. */
  readonly key: string;
  readonly packets: number;
  readonly bytes: number;
  /** In what it would be another; of moved ones only. */
  readonly changed: readonly ('recipients' | 'hosts' | 'rewrites' | 'route')[];
  /**
   * Fields that would decide and that the flow does not match: it stands for packets that might
   * fare differently.
   */
  readonly depends: readonly string[];
  readonly before: FlowFate;
  readonly after: FlowFate;
}

export interface WhatIf {
  /** The change was laid over the topology of this revision. */
  readonly revision: number;
  /** Objects that would change, cascades included. */
  readonly changes: number;
  readonly objects: readonly {
    readonly op: 'create' | 'update' | 'delete';
    readonly kind: KindName;
    readonly id: string;
    readonly name?: string;
  }[];
  readonly counts: Readonly<Record<FlowClass | 'unchanged', number>>;
  /** Broken ones first, then opened, then moved; of each those with most packets first. */
  readonly flows: readonly FlowChange[];
  readonly notListed: number;
  readonly coverage: {
    /** Flows looked at; and hosts that answered (tenants are told no hosts). */
    readonly flows: number;
    readonly hosts?: number;
    /** Hosts whose flows are not among them, and why. */
    readonly missing: readonly MissingHost[];
    /** Hosts that have more flows than were looked at. Tenants: `a host`. */
    readonly partly: readonly string[];
    /** Flows about which their agent has decided otherwise, by what it alone knows. */
    readonly otherwise: number;
  };
}

/** Part of `Client`. */
export interface WhatIfClient {
  whatIf(request: WhatIfRequest): Promise<WhatIf>;
}

/** Many flows of many hosts are looked at. */
const WHAT_IF_MS = 120_000;

export const whatIfClient = ({ ask }: Requests): WhatIfClient => ({
  whatIf: (request) => ask('POST', '/v1/what-if', request, WHAT_IF_MS),
});
