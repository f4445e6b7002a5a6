/**
 * Small random firewalls: chains, rules of every field, groups. Jumps lead to later chains only, as
 * validated ones lead nowhere twice; everything else may name what is not there.
 */
import fc from 'fast-check';
import { CONNECTION_STATES } from '../connection.ts';
import { formatIp } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import { bitsOf, formatPrefix } from '#net/prefix.ts';
import { BRIDGE_IDS, ids, PORT_IDS, ROUTER_IDS } from '../ids.arbitrary.ts';
import type { AddressGroupId, ChainId, PortGroupId, RuleId } from '../ids.ts';
import type { KindName, StoredObject } from '../kind.ts';
import { IPS, MACS } from '../packet.arbitrary.ts';
import { CONDITION_FIELDS, type ConditionField } from './condition.ts';

export const CHAIN_IDS = ids<ChainId>(7, 3);
export const RULE_IDS = ids<RuleId>(8, 8);
export const ADDRESS_GROUP_IDS = ids<AddressGroupId>(10, 2);
export const PORT_GROUP_IDS = ids<PortGroupId>(11, 2);

const one = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const revision = fc.integer({ min: 1, max: 3 });
const prefixes = [
  ...IPS.map((address) => formatPrefix({ address, length: bitsOf(address) })),
  '10.0.0.0/24',
  '10.0.0.0/16',
  '0.0.0.0/0',
  'fd00::/64',
  '::/0',
];
const macs = [...MACS.map(formatMac), '02:00:00:00:00:00/ff:00:00:00:00:00'];
const somePorts = fc.uniqueArray(one(PORT_IDS), { maxLength: 3 });
const portRanges = one(['53', '80', '1-1000', '1000-65535']);

/** What is stored of each field. */
const VALUES: { readonly [F in ConditionField]: fc.Arbitrary<unknown> } = {
  inPorts: somePorts,
  outPorts: somePorts,
  inPortGroup: one(PORT_GROUP_IDS),
  outPortGroup: one(PORT_GROUP_IDS),
  portGroup: one(PORT_GROUP_IDS),
  traversedBridge: one(BRIDGE_IDS),
  traversedRouter: one(ROUTER_IDS),
  etherType: one(['ip', 'ip6', 'arp']),
  sourceMac: one(macs),
  destinationMac: one(macs),
  vlan: one([0, 5]),
  source: one(prefixes),
  destination: one(prefixes),
  sourceGroup: one(ADDRESS_GROUP_IDS),
  destinationGroup: one(ADDRESS_GROUP_IDS),
  protocol: one(['tcp', 'udp', 'icmp', 'icmp6']),
  dscp: one([0, 46]),
  sourcePorts: portRanges,
  destinationPorts: portRanges,
  icmpType: one([0, 8, 128]),
  icmpCode: one([0, 1]),
  connection: fc.subarray([...CONNECTION_STATES], { minLength: 1 }),
  destinationRewritten: fc.boolean(),
};

/** The others follow from these: whatever is drawn after them would be another. */
const DRAWN = CONDITION_FIELDS.filter((field) => field !== 'destinationRewritten');

/** A condition of few fields, some inverted. */
export const conditions: fc.Arbitrary<Readonly<Record<string, unknown>>> = fc
  .uniqueArray(one(DRAWN), { maxLength: 3 })
  .chain((fields) =>
    fc.tuple(
      fc.record(Object.fromEntries(fields.map((field) => [field, VALUES[field]])), {
        noNullPrototype: true,
      }),
      fc.subarray(fields),
      fc.integer({ min: 0, max: 7 }).map((n) => n === 0),
      fc.option(one(['header', 'whole']), { freq: 2, nil: undefined }),
    ),
  )
  .map(([fields, not, invert, fragments]) => ({
    ...fields,
    ...(fields['dscp'] === 46 && { destinationRewritten: not.length === 0 }),
    ...(not.length > 0 && { not }),
    ...(fragments !== undefined && { fragments }),
    invert,
  }));

/** An action, with the chain it leads to. */
const actionIn = (chain: number): fc.Arbitrary<object> => {
  const plain = one(['accept', 'drop', 'reject', 'return', 'continue']).map((action) => ({
    action,
  }));
  const later = CHAIN_IDS.slice(chain + 1);
  if (later.length === 0) return plain;
  const jumps = one(later).map((jump) => ({ action: 'jump', jump }));
  return fc.oneof({ weight: 2, arbitrary: plain }, { weight: 1, arbitrary: jumps });
};

const NAT: readonly object[] = [
  { action: 'snat', targets: ['10.0.0.9:1024-1100'] },
  { action: 'dnat', targets: ['10.0.0.2', '10.0.0.3'] },
  { action: 'reverse-snat' },
  { action: 'reverse-dnat', after: 'continue' },
  { action: 'snat', targets: ['fd00::9:1024-1100', 'fd00::a'].slice(1) },
];
/**
 * Some rules that would go on translate instead. Not drawn: whatever was drawn after it would be
 * another.
 */
function withNat(id: string, given: Readonly<Record<string, unknown>>): object {
  const n = Number(id.slice(-2));
  if (given['action'] !== 'continue' || n % 3 === 2) return given;
  const { source, not, invert } = given;
  if (typeof source === 'string' && not === undefined && invert === false) {
    const [, length] = source.split('/');
    const to = source.includes(':') ? 'fd00:0:0:1::' : '10.0.1.0';
    return {
      ...given,
      action: 'snat',
      static: true,
      targets: [
        length === '32' || length === '128' || length === '24' || length === '64'
          ? `${to}/${length}`
          : source,
      ],
      after: 'continue',
    };
  }
  return { ...given, ...NAT[n % NAT.length] };
}

const rule = (id: string): fc.Arbitrary<StoredObject> =>
  fc
    .integer({ min: 0, max: CHAIN_IDS.length - 1 })
    .chain((chain) =>
      fc.tuple(
        fc.constant({ id, chain: CHAIN_IDS[chain] }),
        actionIn(chain),
        conditions,
        // Each rule has positions of its own, so that no two of a chain are equal.
        one([1, 2]).map((n) => ({ position: n * 100 + Number(id.slice(-2)) })),
        revision,
      ),
    )
    .map(([at, action, condition, position, of]) => ({
      ...at,
      ...position,
      ...withNat(id, { ...action, ...condition }),
      // Not drawn: whatever was drawn after it would be another.
      log: Number(id.slice(-2)) % 2 === 1,
      revision: of,
    }));

type FirewallKind = 'chain' | 'rule' | 'address-group' | 'port-group';
/** A row of each kind of a firewall. */
export const FIREWALL_ROWS: {
  readonly [K in KindName & FirewallKind]: (id: string) => fc.Arbitrary<StoredObject>;
} = {
  chain: (id) => revision.map((of) => ({ id, name: `c${id.at(-1)}`, revision: of })),
  rule,
  'address-group': (id) =>
    fc
      .tuple(
        fc.uniqueArray(one([...IPS.map(formatIp), '10.0.0.0/24', 'fd00::/64']), { maxLength: 4 }),
        revision,
      )
      .map(([addresses, of]) => ({ id, name: `a${id.at(-1)}`, addresses, revision: of })),
  'port-group': (id) =>
    fc
      .tuple(somePorts, revision)
      .map(([ports, of]) => ({ id, name: `g${id.at(-1)}`, ports, revision: of })),
};

/** Filters of a port or device: mostly none, since what is dropped meets nothing else. */
export const filtersOf = (fields: readonly string[]): fc.Arbitrary<Record<string, string>> =>
  fc
    .tuple(
      ...fields.map((field) => fc.option(one(CHAIN_IDS), { freq: 3 }).map((id) => [field, id])),
    )
    .chain((filters) =>
      fc
        .integer({ min: 0, max: 3 })
        .map((n) => Object.fromEntries(filters.filter(([, id]) => n === 0 && id !== null))),
    );
