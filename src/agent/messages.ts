/**
 * What the agent's two threads say to each other. The packet worker owns topology, flows and what
 * was learned; the main thread owns the API connection, the host's links, disk and signals, and
 * holds no topology. Every message is plain data, so a world in one process can pass it by a call.
 */
import type { Ask } from '#client/asks.ts';
import type { AgentCounters, Learned, Limit, PortsWanted, WatchEvent } from '#client/types.ts';
import type { RecordKeysTold } from '#client/record-keys.ts';
import type { CountedBuckets } from '#telemetry/buckets.ts';
import type { Duties } from './health/duties.ts';
import type { BalanceTotals } from './balance-counts.ts';

/** A network interface of this host, as the packet worker needs to know it. */
export interface LocalInterface {
  readonly name: string;
  /** The interface index, which is the datapath's port number. */
  readonly index: number;
  /** False: it is set down, or the other end is: no frame comes or leaves. */
  readonly carrier?: boolean;
  /** What this host calls the namespace that its other end is in; absent: its own, or no end. */
  readonly netns?: number;
  /** Bytes of the largest packet that it takes; absent: not known, no limit. */
  readonly mtu?: number | undefined;
}

export type ToEdge =
  | { readonly type: 'event'; readonly event: WatchEvent }
  /** All interfaces there are now. */
  | { readonly type: 'interfaces'; readonly interfaces: readonly LocalInterface[] }
  /** The keys of this host and each other one, the epoch to send with first. */
  | { readonly type: 'record-keys'; readonly told: RecordKeysTold }
  /** There are no public ports left of an address for this host. */
  | { readonly type: 'ports-refused'; readonly wanted: PortsWanted }
  /** Valid by the row of its kind. */
  | { readonly type: 'ask'; readonly id: string; readonly ask: Ask }
  | { readonly type: 'ask-over'; readonly id: string }
  | { readonly type: 'stop' };

export interface RecordCounts {
  readonly connectionsOpened: number;
  readonly connectionsEvicted: number;
  readonly recordsSent: number;
  readonly recordsSentAgain: number;
  readonly recordsTaken: number;
  readonly recordsRefused: number;
  readonly questionsAsked: number;
  readonly questionsRefused: number;
  readonly datagramsRefused: number;
}

/** What the edge wants from the outside; level-triggered: a later one replaces an earlier one. */
export interface EdgeState {
  /** Every change up to here is in force in the kernel; -1 before the first snapshot. */
  readonly revision: number;
  /** Ports carried here: their interfaces are isolated and their flows may be set up. */
  readonly portsUp: readonly string[];
  readonly portsDown: readonly { readonly port: string; readonly why: string }[];
  /** Ports whose location the store does not have yet, or has as it is not any more. */
  readonly locate: readonly {
    readonly port: string;
    readonly interface: string;
    readonly up: boolean;
    readonly mtu?: number | undefined;
  }[];
  /** Public ports that are short here, and blocks of them that nobody here uses. */
  readonly publicPorts: {
    readonly wants: readonly PortsWanted[];
    readonly returns: readonly string[];
  };
  readonly counters: AgentCounters;
  /** What is counted of connections, and of what agents tell each other about them. */
  readonly records: RecordCounts;
  readonly balanced: BalanceTotals;
  /** How much of the packet worker's limits is used, as of its last tick. */
  readonly limits: readonly Limit[];
  readonly firstPackets: CountedBuckets;
}

export type FromEdge =
  /** What of health checks is this host's; sent when it may be another. */
  | { readonly type: 'duties'; readonly duties: Duties }
  /** The first message: whether there was a datapath, and what was carried from another layout. */
  | { readonly type: 'opened'; readonly adopted: boolean; readonly migration: object | undefined }
  | { readonly type: 'state'; readonly state: EdgeState }
  /** Learned here since the last message, or to be renewed; and forgotten here. */
  | {
      readonly type: 'learned';
      readonly put: readonly Learned[];
      readonly forget: readonly Learned[];
    }
  /** A part of what was asked, or its end. */
  | {
      readonly type: 'answer';
      readonly id: string;
      readonly parts: readonly unknown[];
      readonly done: boolean;
      readonly error?: string;
    }
  | { readonly type: 'stopped' };
