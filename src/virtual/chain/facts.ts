/**
 * What rules may know of a packet under walk: header fields, the ports it enters and leaves by, and
 * whether groups hold these.
 *
 * Invariants: a header field is read through `Match` alone, so what a rule has read is in the mask
 * (law 1); a group that was asked has its tag among the walk's (law 2), and is asked once.
 */
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { ConnectionState } from '../connection.ts';
import type { AddressGroupId, DeviceId, PortGroupId, PortId } from '../ids.ts';
import { fieldSet, type Field, type FieldSet, type Headers } from '../match.ts';
import { addressGroupTag, portGroupTag } from '../tags.ts';
import { stateOf, type Trackable } from '../track.ts';

/** '' where the packet has no such port. */
export type Value = number | Mac | Ip | boolean | PortId | ConnectionState | '';

/** One thing that can be known. Facts are told apart by their key. */
export interface Fact {
  readonly key: string;
  /** The header field that it is, or that it reads. */
  readonly field?: Field;
  /** The header fields that it reads, whatever the answer; absent: none. */
  readonly reads?: FieldSet;
  ask(subject: Subject): Value;
}

/** Headers that can be asked for. `known`: at no cost. */
export interface Readable {
  readonly known: FieldSet;
  get<F extends Field>(field: F): Headers[F];
}

/** The part of a walk that rules are about. */
export interface Asked extends Trackable {
  /** How much was done to its ends before it entered this device. */
  readonly changedBefore: number;
  /** The port of this host by which the packet first entered; undefined: it did not. */
  readonly from: PortId | undefined;
  /** The device's port that it came by; undefined for what the network itself sends. */
  readonly inPort: PortId | undefined;
  /** The device's port that it leaves by, where that is one. */
  readonly outPort: PortId | undefined;
  /** The devices that it has entered, this one too. */
  readonly crossed: readonly DeviceId[];
}

/** A packet at one place of its walk. */
export class Subject {
  readonly of: Asked;
  /** The packet itself, or what stands for it. */
  readonly headers: Readable;
  readonly #answers = new Map<string, Value>();

  constructor(of: Asked, headers: Readable = of.match) {
    this.of = of;
    this.headers = headers;
  }
  /** Which header fields may be read at no cost: they were read, or written, before. */
  get free(): FieldSet {
    return this.headers.known;
  }
  get(fact: Fact): Value {
    if (fact.field === fact.key) return this.headers.get(fact.field) as Value;
    const known = this.#answers.get(fact.key);
    if (known !== undefined) return known;
    const answer = fact.ask(this);
    this.#answers.set(fact.key, answer);
    return answer;
  }
}

const header = (field: Field): Fact => ({
  key: field,
  field,
  reads: fieldSet([field]),
  ask: ({ of }) => of.match.get(field) as Value,
});
export const FACTS = {
  ethSrc: header('ethSrc'),
  ethDst: header('ethDst'),
  ethType: header('ethType'),
  vlan: header('vlan'),
  ipSrc: header('ipSrc'),
  ipDst: header('ipDst'),
  ipProto: header('ipProto'),
  ipTos: header('ipTos'),
  ipFrag: header('ipFrag'),
  tpSrc: header('tpSrc'),
  tpDst: header('tpDst'),
  inPort: { key: 'in', ask: ({ of }) => of.inPort ?? '' },
  outPort: { key: 'out', ask: ({ of }) => of.outPort ?? '' },
  destinationRewritten: {
    key: 'destination-rewritten',
    ask: ({ of: { changes, changedBefore } }) =>
      changes.some(({ end }, i) => i >= changedBefore && end === 'destination'),
  },
  /** '' where it has none that could be asked about. To be asked of IP packets with ports only. */
  connection: {
    key: 'connection',
    reads: fieldSet(['ipSrc', 'ipDst', 'tpSrc', 'tpDst']),
    ask: ({ of }) => stateOf(of),
  },
} as const satisfies Record<string, Fact>;

/** The header fields that asking reads. */
export const readsOf = ({ reads }: Fact): FieldSet => reads ?? 0;

/** Whether asking leaves the mask as it is. */
export const isFree = (fact: Fact, free: FieldSet): boolean => (readsOf(fact) & ~free) === 0;

/** Whether a port is in a group; `''` is in none. */
export const inPortGroup = (which: 'inPort' | 'outPort' | 'from', group: PortGroupId): Fact => ({
  key: `${which} ${group}`,
  ask: ({ of }) => {
    const port = of[which];
    if (port === undefined) return false;
    of.tags.push(portGroupTag(group, port));
    return of.topology.inPortGroup(group, port);
  },
});
/** Whether an address of the packet is in a group; to be asked of packets with addresses only. */
export const inAddressGroup = (field: 'ipSrc' | 'ipDst', group: AddressGroupId): Fact => ({
  key: `${field} ${group}`,
  field,
  reads: fieldSet([field]),
  ask: ({ of, headers }) => {
    const ip = headers.get(field);
    of.tags.push(addressGroupTag(group, ip));
    return of.topology.inAddressGroup(group, ip);
  },
});
export const hasCrossed = (device: DeviceId): Fact => ({
  key: `crossed ${device}`,
  ask: ({ of }) => of.crossed.includes(device),
});
