/**
 * The words of a trace: what is asked, and everything that the answer tells. People see a part of
 * it (`mn trace --form`); programs get all of it.
 */
import type { RouteNote } from '#virtual/observe.ts';
import type { Step } from '#virtual/outcome.ts';

export interface TraceRequest {
  /** A port's id or unique name. */
  readonly port: string;
  /** The frame, in hex. */
  readonly frame: string;
  /** The agent of this host decides, on what it knows; without, the API does. */
  readonly host?: string;
  /** On the topology as it was at this revision; what was learned is as it is now. */
  readonly at?: number;
  /** Which state its connection has; `new` without. Not with `host`, which knows that itself. */
  readonly connection?: 'new' | 'established';
}
/** A frame that the virtual network itself sends out of a port, in hex and in words. */
export interface TraceSend {
  readonly port: string;
  readonly frame: string;
  readonly text: string;
}

/** What a step looked at, or did to the headers. */
export interface TraceLook {
  readonly kind: 'read' | 'payload' | 'write' | 'ask' | 'size' | 'routes' | 'rule';
  readonly text: string;
  readonly field?: string;
  readonly value?: string;
  readonly before?: string;
  readonly after?: string;
  /** Every route to the destination, and why it was taken or not. */
  readonly routes?: readonly (RouteNote & { readonly text: string })[];
}
export interface TraceObject {
  readonly kind: Step['at']['kind'];
  /** Absent where the caller may not see the object. */
  readonly id?: string;
  readonly name: string;
}
export interface TraceStep {
  readonly at: TraceObject;
  readonly did: Step['did'];
  readonly detail?: string;
  readonly text: string;
  readonly looked: readonly TraceLook[];
}

/** One action of a flow. */
export interface TraceAction {
  readonly do: 'set' | 'less-ttl' | 'hand-up-larger' | 'set-vlan' | 'output' | 'drop';
  readonly text: string;
}
/** The flow that the host where the frame enters would install. */
export interface TraceFlow {
  /** The fields that it matches, with their values; all other fields may be anything. */
  readonly match: readonly { readonly field: string; readonly value: string }[];
  readonly actions: readonly TraceAction[];
  /** Why there would be none: then every such frame is decided by itself. */
  readonly none?: string;
}

export interface TraceResult {
  readonly revision: number;
  /** The host whose agent decided, by id; absent: the API did. */
  readonly host?: string;
  /** One line per step, then the verdict. */
  readonly lines: readonly string[];
  readonly verdict: 'forward' | 'answer' | 'collect' | 'drop' | 'wait' | 'want-ports';
  readonly reason?: string;
  /** The ports that get the frame, by id. */
  readonly ports: readonly string[];
  /** The frame as the first of its recipients gets it, in hex; absent when nobody does. */
  readonly rewritten?: string;
  /** What the virtual network itself sends because of it: answers and errors. */
  readonly sends: readonly TraceSend[];
  /** Fields the decision read. */
  readonly fields: readonly string[];
  /** Where it enters, the devices on the way, and the port where it leaves if that is one. */
  readonly way: readonly TraceObject[];
  readonly steps: readonly TraceStep[];
  /** What was looked at for the verdict, behind the last step. */
  readonly looked: readonly TraceLook[];
  /** Looks that there was no room for. */
  readonly looksLeftOut: number;
  readonly flow: TraceFlow;
}
