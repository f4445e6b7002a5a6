/**
 * Whether a packet matches the condition of a rule, on what is known of it so far: yes, no, or what
 * must be known next.
 *
 * Invariants: nothing is asked for that could not alter the answer, and what costs the mask nothing
 * is asked first; the answer depends on the facts asked for alone; a field that the packet lacks
 * compares unequal.
 */
import { isIp6, type Ip } from '#net/ip.ts';
import { macUnder, type Mac } from '#net/mac.ts';
import { ETHER_TYPE } from '#net/packet/ethernet.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { contains, spanOf, type Prefix } from '#net/prefix.ts';
import type { ConnectionState } from '../connection.ts';
import type { FieldSet } from '../match.ts';
import type { ConditionField, ConditionValues, ConditionView } from '../rule/condition.ts';
import type { MaskedMac, Range } from '../rule/values.ts';
import {
  FACTS,
  hasCrossed,
  inAddressGroup,
  inPortGroup,
  isFree,
  type Fact,
  type Value,
} from './facts.ts';

/** What is known, by the keys of facts. */
export type Known = ReadonlyMap<string, Value>;
/** True and false for good; or what to ask next. */
export type Answer = boolean | Fact;

/** From the first value to the last, both included. */
export type Span = readonly [first: number | string, last: number | string];

export interface Test {
  readonly name: ConditionField | 'fragments';
  readonly inverted: boolean;
  answer(known: Known): Answer;
  /**
   * Of an address, a MAC or ports: the values that it does not tell apart from each other; `exact`:
   * it may tell all apart. Undefined where it does not depend on the fact.
   */
  span?(fact: Fact): Span | 'exact' | undefined;
}
/** A condition made ready to be asked. */
export interface Tests {
  readonly invert: boolean;
  readonly fragments: Test | undefined;
  /** In the order in which they are asked. */
  readonly all: readonly Test[];
}

/** `ipFrag` of a later fragment: it has no transport header. */
const LATER = 3;
const ALL_BITS = 0xffffffffffff;
const { IPV4, IPV6, ARP } = ETHER_TYPE;
const { ICMP, ICMPV6, TCP, UDP } = IP_PROTOCOL;

/** What is known of one fact, handed on to `then`; else the fact. */
const knowing = (known: Known, fact: Fact, then: (value: Value) => Answer): Answer => {
  const value = known.get(fact.key);
  return value === undefined ? fact : then(value);
};
const isIp = (type: Value): boolean => type === IPV4 || type === IPV6;

/** Behind an IP header of any family. */
const ofIp = (known: Known, then: () => Answer): Answer =>
  knowing(known, FACTS.ethType, (type) => (isIp(type) ? then() : false));
/** Behind a transport header that is there, of a protocol that `has` ports, or messages. */
const ofTransport = (
  known: Known,
  has: (type: Value, protocol: Value) => boolean,
  then: () => Answer,
): Answer =>
  knowing(known, FACTS.ethType, (type) => {
    if (!isIp(type)) return false;
    return knowing(known, FACTS.ipProto, (protocol) => {
      if (!has(type, protocol)) return false;
      return knowing(known, FACTS.ipFrag, (part) => (part === LATER ? false : then()));
    });
  });
const hasPorts = (_type: Value, protocol: Value): boolean => protocol === TCP || protocol === UDP;
const always = (): boolean => true;
const hasMessage = (type: Value, protocol: Value): boolean =>
  protocol === (type === IPV4 ? ICMP : ICMPV6);

/** How a fact is compared: what is known of the packet, and how its values divide. */
type Compare = Pick<Test, 'answer' | 'span'>;

const equal = (fact: Fact, value: Value): Compare => ({
  answer: (known) => knowing(known, fact, (is) => is === value),
});
const asked = (fact: Fact): Compare => equal(fact, true);
const port = (fact: Fact, ports: ReadonlySet<string>): Compare => ({
  answer: (known) => knowing(known, fact, (is) => ports.has(is as string)),
});
const mac = (fact: Fact, { mac: value, mask }: MaskedMac): Compare => ({
  answer: (known) => knowing(known, fact, (is) => macUnder(is as Mac, mask) === value),
  span: (of) => (of !== fact ? undefined : mask === ALL_BITS ? [value, value] : 'exact'),
});
/** ARP has addresses too. */
const hasAddress = (type: Value, six: boolean): boolean =>
  six ? type === IPV6 : type === IPV4 || type === ARP;

const network = (fact: Fact, prefix: Prefix): Compare => {
  const six = isIp6(prefix.address);
  return {
    answer: (known) =>
      knowing(known, FACTS.ethType, (type) => {
        if (!hasAddress(type, six)) return false;
        return knowing(known, fact, (ip) => isIp6(ip as Ip) === six && contains(prefix, ip as Ip));
      }),
    span: (of) => (of === fact ? spanOf(prefix) : undefined),
  };
};
const addressGroup = (fact: Fact): Compare => ({
  answer: (known) =>
    knowing(known, FACTS.ethType, (type) =>
      hasAddress(type, true) || hasAddress(type, false)
        ? knowing(known, fact, (is) => is === true)
        : false,
    ),
});
const range = (fact: Fact, { first, last }: Range): Compare => ({
  answer: (known) =>
    ofTransport(known, hasPorts, () =>
      knowing(known, fact, (is) => first <= (is as number) && (is as number) <= last),
    ),
  span: (of) => (of === fact ? [first, last] : undefined),
});
const message = (part: (typeAndCode: number) => number, value: number): Compare => ({
  answer: (known) =>
    ofTransport(known, hasMessage, () =>
      knowing(known, FACTS.tpSrc, (is) => part(is as number) === value),
    ),
  span: (of) => (of === FACTS.tpSrc ? 'exact' : undefined),
});

/**
 * One row for each field of a condition, in the order in which they are asked: first what no mask
 * pays for, then what has few values, then what narrows a flow to one peer or one connection.
 */
const COMPARE: {
  readonly [F in ConditionField]: (value: ConditionValues[F]) => Compare;
} = {
  inPorts: (ports) => port(FACTS.inPort, ports),
  outPorts: (ports) => port(FACTS.outPort, ports),
  traversedBridge: (bridge) => asked(hasCrossed(bridge)),
  traversedRouter: (router) => asked(hasCrossed(router)),
  inPortGroup: (group) => asked(inPortGroup('inPort', group)),
  outPortGroup: (group) => asked(inPortGroup('outPort', group)),
  portGroup: (group) => asked(inPortGroup('from', group)),
  destinationRewritten: (is) => equal(FACTS.destinationRewritten, is),
  etherType: (type) => equal(FACTS.ethType, type),
  // A priority tag (VID 0) is no VLAN: IEEE 802.1Q §6.9.1.
  vlan: (vid) => ({
    answer: (known) => knowing(known, FACTS.vlan, (is) => ((is as number) & 0xfff) === vid),
  }),
  protocol: (protocol) => ({
    answer: (known) => ofIp(known, () => knowing(known, FACTS.ipProto, (is) => is === protocol)),
  }),
  icmpType: (type) => message((both) => both >> 8, type),
  icmpCode: (code) => message((both) => both & 0xff, code),
  destinationPorts: (ports) => range(FACTS.tpDst, ports),
  destination: (prefix) => network(FACTS.ipDst, prefix),
  source: (prefix) => network(FACTS.ipSrc, prefix),
  destinationGroup: (group) => addressGroup(inAddressGroup('ipDst', group)),
  sourceGroup: (group) => addressGroup(inAddressGroup('ipSrc', group)),
  dscp: (dscp) => ({
    answer: (known) =>
      ofIp(known, () => knowing(known, FACTS.ipTos, (is) => (is as number) >> 2 === dscp)),
  }),
  sourceMac: (masked) => mac(FACTS.ethSrc, masked),
  destinationMac: (masked) => mac(FACTS.ethDst, masked),
  sourcePorts: (ports) => range(FACTS.tpSrc, ports),
  connection: (states) => ({
    answer: (known) =>
      ofTransport(known, always, () =>
        knowing(known, FACTS.connection, (is) => states.has(is as ConnectionState)),
      ),
  }),
};
const ORDER = Object.keys(COMPARE) as readonly ConditionField[];

/** What is no fragment, other frames too, is whole. */
const PARTS = {
  later: (part: Value) => part === LATER,
  header: (part: Value) => part !== LATER,
  whole: (part: Value) => part === 0,
} as const;

function testOf<F extends ConditionField>(
  name: F,
  value: ConditionValues[F],
  inverted: boolean,
): Test {
  const compare = COMPARE[name](value);
  if (!inverted) return { name, inverted, ...compare };
  const { answer, span } = compare;
  const opposite = (known: Known): Answer => {
    const is = answer(known);
    return typeof is === 'boolean' ? !is : is;
  };
  return { name, inverted, answer: opposite, ...(span !== undefined && { span }) };
}

export function testsOf(condition: ConditionView): Tests {
  const all: Test[] = [];
  for (const name of ORDER) {
    const value = condition[name];
    if (value !== undefined) all.push(testOf(name, value as never, condition.not.has(name)));
  }
  const { fragments: parts, invert } = condition;
  if (parts === 'any') return { invert, fragments: undefined, all };
  const fragments: Test = {
    name: 'fragments',
    inverted: false,
    answer: (known) => knowing(known, FACTS.ipFrag, PARTS[parts]),
  };
  return { invert, fragments, all };
}

/** What decided, for who wants to know: the first test that failed. */
export type Failed = (test: Test) => void;

/**
 * Whether a packet matches; `free`: header fields that may be asked for at no cost. Which parts of
 * datagrams it is about is not inverted with the rest.
 */
export function answerOf(
  { invert, fragments, all }: Tests,
  known: Known,
  free: FieldSet,
  failed?: Failed,
): Answer {
  const part = fragments === undefined || fragments.answer(known);
  if (part === false) {
    if (fragments !== undefined) failed?.(fragments);
    return false;
  }
  let next: Fact | undefined;
  const want = (fact: Fact): void => {
    if (next === undefined || (!isFree(next, free) && isFree(fact, free))) next = fact;
  };
  let holds = true;
  for (const test of all) {
    const answer = test.answer(known);
    if (answer === true) continue;
    if (answer === false) {
      if (!invert) {
        failed?.(test);
        return false;
      }
      holds = false;
      break;
    }
    want(answer);
  }
  if (!holds) return part;
  if (next !== undefined) {
    if (part !== true) want(part);
    return next;
  }
  return invert ? false : part;
}
