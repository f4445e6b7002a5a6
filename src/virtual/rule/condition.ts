/**
 * THE table of what a rule may ask of a packet: one row for each field of a condition. The schema
 * of rules, what a walk evaluates, and the documentation read the row.
 *
 * Invariants: a field that is absent always matches; one that the packet lacks compares unequal, so
 * that its inversion is true. A condition is the conjunction of its fields, inverted as a whole by
 * `invert`; only `fragments` stands outside of that.
 */
import { z } from 'zod';
import { formatMac } from '#net/mac.ts';
import { formatPrefix, type Prefix } from '#net/prefix.ts';
import { id } from '../fields.ts';
import { CONNECTION_STATES, type ConnectionState } from '../connection.ts';
import type { AddressGroupId, BridgeId, PortGroupId, PortId, RouterId } from '../ids.ts';
import type { Field } from '../match.ts';
import {
  addresses,
  etherType,
  etherTypeOf,
  maskedMac,
  maskedMacOf,
  portRange,
  prefixOf,
  protocol,
  protocolOf,
  rangeOf,
  type MaskedMac,
  type Range,
} from './values.ts';

/** Ports that a condition names; more go into a group. */
export const PORTS_PER_RULE_MAX = 64;

/** What each field compares with, as the walk sees it: numbers, not text. */
export interface ConditionValues {
  readonly inPorts: ReadonlySet<PortId>;
  readonly outPorts: ReadonlySet<PortId>;
  readonly inPortGroup: PortGroupId;
  readonly outPortGroup: PortGroupId;
  /** Of the port where the packet first entered. */
  readonly portGroup: PortGroupId;
  readonly traversedBridge: BridgeId;
  readonly traversedRouter: RouterId;
  readonly etherType: number;
  readonly sourceMac: MaskedMac;
  readonly destinationMac: MaskedMac;
  /** 0: untagged. */
  readonly vlan: number;
  readonly source: Prefix;
  readonly destination: Prefix;
  readonly sourceGroup: AddressGroupId;
  readonly destinationGroup: AddressGroupId;
  readonly protocol: number;
  readonly dscp: number;
  readonly sourcePorts: Range;
  readonly destinationPorts: Range;
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly connection: ReadonlySet<ConnectionState>;
  readonly destinationRewritten: boolean;
}
export type ConditionField = keyof ConditionValues;

/**
 * Which parts of a datagram: every one, later fragments, those with a transport header (whole ones
 * and first fragments), or whole ones.
 */
export const FRAGMENTS = ['any', 'later', 'header', 'whole'] as const;
export type Fragments = (typeof FRAGMENTS)[number];

/** The condition of one version of a rule. Fields that are absent are not asked. */
export interface ConditionView extends Partial<ConditionValues> {
  /** Whether a packet matches that the fields do not match. */
  readonly invert: boolean;
  /** Fields that match what they would not match. */
  readonly not: ReadonlySet<ConditionField>;
  /** Asked first, inverted by nothing; `any` asks nothing. */
  readonly fragments: Fragments;
}

interface Row<Value> {
  /** As callers give it and the store keeps it. */
  readonly schema: z.ZodType;
  /** What its evaluation may read of a packet. */
  readonly reads: readonly Field[];
  /** Whether it needs a transport header, which later fragments do not have. */
  readonly transport?: true;
  /** From what is stored. */
  view(stored: never): Value;
  /** As people read it. */
  text(value: Value): string;
}

const IP = ['ethType'] as const satisfies Field[];
const PORTS = ['ethType', 'ipProto', 'ipFrag'] as const satisfies Field[];
const itself = <Value>(value: Value): Value => value;
const portList = z
  .array(id('port'))
  .max(PORTS_PER_RULE_MAX, `must name at most ${PORTS_PER_RULE_MAX} ports: use a port group`)
  .refine((ports) => new Set(ports).size === ports.length, 'names a port twice');
const connectionStates = z
  .array(z.enum(CONNECTION_STATES))
  .min(1, 'must name at least one state')
  .refine((states) => new Set(states).size === states.length, 'names a state twice');
const ports = {
  schema: portList,
  reads: [],
  view: (stored: readonly PortId[]) => new Set(stored),
  text: (value: ReadonlySet<PortId>) => [...value].join(','),
};
const group = <Id extends string>(kind: string, about: string) => ({
  schema: id(kind).describe(about),
  reads: [],
  view: itself<Id>,
  text: String,
});
const mac = (field: Field, about: string) => ({
  schema: maskedMac.describe(about),
  reads: [field],
  view: maskedMacOf,
  text: ({ mac: value, mask }: MaskedMac) =>
    mask === 0xffffffffffff ? formatMac(value) : `${formatMac(value)}/${formatMac(mask)}`,
});
const network = (field: Field, about: string) => ({
  schema: addresses.describe(about),
  reads: [...IP, field],
  view: prefixOf,
  text: formatPrefix,
});
const addressGroup = (field: Field, about: string) => ({
  ...group<AddressGroupId>('address-group', about),
  reads: [...IP, field],
});
const range = (field: Field, about: string) => ({
  schema: portRange.describe(about),
  reads: [...PORTS, field],
  transport: true as const,
  view: rangeOf,
  text: ({ first, last }: Range) => (first === last ? String(first) : `${first}-${last}`),
});
const number = ([min, max]: readonly [number, number], reads: readonly Field[], about: string) => ({
  schema: z.int().min(min).max(max).describe(about),
  reads,
  view: itself<number>,
  text: String,
});

export const CONDITION: { readonly [F in ConditionField]: Row<ConditionValues[F]> } = {
  inPorts: {
    ...ports,
    schema: portList.describe('It entered this device, or the network, by one of these ports.'),
  },
  outPorts: {
    ...ports,
    schema: portList.describe('It leaves by one of these ports; of a flood nothing is known yet.'),
  },
  inPortGroup: group('port-group', 'It entered by a port of this group.'),
  outPortGroup: group('port-group', 'It leaves by a port of this group.'),
  portGroup: group('port-group', 'The port where it first entered the network is in this group.'),
  traversedBridge: group('bridge', 'It has crossed this bridge.'),
  traversedRouter: group('router', 'It has crossed this router.'),
  etherType: {
    schema: etherType.describe('The Ethernet type, behind a VLAN tag: ip, ip6, arp, 0x8847.'),
    reads: ['ethType'],
    view: etherTypeOf,
    text: (value) => `0x${value.toString(16).padStart(4, '0')}`,
  },
  sourceMac: mac('ethSrc', 'The source MAC, or what it is under a mask.'),
  destinationMac: mac('ethDst', 'The destination MAC, or what it is under a mask.'),
  vlan: number([0, 4094], ['vlan'], 'The outermost VLAN; 0: only untagged frames.'),
  source: network('ipSrc', 'The source address is in this prefix; of ARP the sender.'),
  destination: network('ipDst', 'The destination address is in this prefix; of ARP the target.'),
  sourceGroup: addressGroup('ipSrc', 'The source address is in this group.'),
  destinationGroup: addressGroup('ipDst', 'The destination address is in this group.'),
  protocol: {
    schema: protocol.describe('The IP protocol: tcp, udp, icmp, icmp6, 47.'),
    reads: ['ethType', 'ipProto'],
    view: protocolOf,
    text: String,
  },
  dscp: number([0, 63], ['ethType', 'ipTos'], 'The DSCP of the IP header.'),
  sourcePorts: range('tpSrc', 'The TCP or UDP source port: 80, 1000-2000.'),
  destinationPorts: range('tpDst', 'The TCP or UDP destination port: 80, 1000-2000.'),
  icmpType: {
    ...number([0, 255], [...PORTS, 'tpSrc'], 'The type of an ICMP or ICMPv6 message.'),
    transport: true,
  },
  icmpCode: {
    ...number([0, 255], [...PORTS, 'tpSrc'], 'The code of an ICMP or ICMPv6 message.'),
    transport: true,
  },
  connection: {
    schema: connectionStates.describe(
      'The state of its connection: new (the direction of who opens it, later packets too), established (answers), related (ICMP errors about it), invalid.',
    ),
    reads: [...PORTS, 'ipSrc', 'ipDst', 'tpSrc', 'tpDst'],
    transport: true,
    view: (stored: readonly ConnectionState[]) => new Set(stored),
    text: (states) => [...states].join(','),
  },
  destinationRewritten: {
    schema: z
      .boolean()
      .describe('Whether this device has given it another destination: by dnat or reverse-snat.'),
    reads: [],
    view: itself<boolean>,
    text: String,
  },
};
export const CONDITION_FIELDS = Object.keys(CONDITION) as readonly ConditionField[];

/** What is stored of a condition: fields of a rule. */
export type StoredCondition = { readonly [F in ConditionField]?: unknown } & {
  readonly invert?: boolean;
  readonly not?: readonly string[] | undefined;
  readonly fragments?: Fragments | undefined;
};

/** Whether a condition asks for what only a transport header says. */
export const asksTransport = (rule: StoredCondition): boolean =>
  CONDITION_FIELDS.some(
    (field) => rule[field] !== undefined && CONDITION[field].transport === true,
  );

/** The condition of a stored rule, for the walk. */
export function conditionOf(rule: StoredCondition): ConditionView {
  const values: Partial<Record<ConditionField, unknown>> = {};
  for (const field of CONDITION_FIELDS)
    if (rule[field] !== undefined) values[field] = CONDITION[field].view(rule[field] as never);
  return {
    ...(values as Partial<ConditionValues>),
    invert: rule.invert ?? false,
    not: new Set(rule.not as readonly ConditionField[] | undefined),
    fragments: rule.fragments ?? (asksTransport(rule) ? 'header' : 'any'),
  };
}

/** One field as people read it: `source 10.0.0.0/8`, `not destinationPorts 80`. */
export function fieldTextOf(condition: ConditionView, field: ConditionField): string {
  const value = condition[field];
  if (value === undefined) return '';
  const { text } = CONDITION[field] as Row<typeof value>;
  return `${condition.not.has(field) ? 'not ' : ''}${field} ${text(value)}`;
}
