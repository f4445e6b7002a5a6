/** What the schema of a rule cannot say: which fields go together, and what its chain allows. */
import { isIp6 } from '#net/ip.ts';
import { bridgeFaults, jumpFaults, rulesOf, RULES_PER_CHAIN_MAX } from '../chain/jumps.ts';
import type { Fault, KindName, StoredObject, View } from '../kind.ts';
import { asksTransport, CONDITION_FIELDS, type ConditionField } from './condition.ts';
import { isNatAction, targetOf, targetPrefix } from './nat.ts';
import type { Rule } from './rule.ts';
import { prefixOf } from './values.ts';

/** The references of a condition, and what they name. */
const NAMED = [
  ['jump', 'chain'],
  ['inPorts', 'port'],
  ['outPorts', 'port'],
  ['inPortGroup', 'port-group'],
  ['outPortGroup', 'port-group'],
  ['portGroup', 'port-group'],
  ['traversedBridge', 'bridge'],
  ['traversedRouter', 'router'],
  ['sourceGroup', 'address-group'],
  ['destinationGroup', 'address-group'],
] as const satisfies [keyof Rule, KindName][];

/** Which protocols have what a field asks for. */
const PROTOCOLS: { readonly [F in ConditionField]?: readonly string[] } = {
  sourcePorts: ['tcp', 'udp'],
  destinationPorts: ['tcp', 'udp'],
  icmpType: ['icmp', 'icmp6'],
  icmpCode: ['icmp', 'icmp6'],
};

/** What the rule says by itself. */
function ownFaults(rule: Rule): Fault[] {
  const faults: Fault[] = [];
  if (rule.action === 'jump' && rule.jump === undefined)
    faults.push({ path: 'jump', message: 'is required for a rule with action jump' });
  if (rule.action !== 'jump' && rule.jump !== undefined) {
    const message = `has no meaning in a rule with action ${rule.action}`;
    faults.push({ path: 'jump', message });
  }
  for (const [i, field] of (rule.not ?? []).entries())
    if (rule[field] === undefined)
      faults.push({ path: `not.${i}`, message: `names ${field}, which the rule does not give` });
  if (asksTransport(rule) && ['any', 'later'].includes(rule.fragments ?? 'header')) {
    const message = 'must be header or whole: later fragments have no ports and no ICMP type';
    faults.push({ path: 'fragments', message });
  }
  return [...faults, ...translationFaults(rule), ...neverFaults(rule)];
}

/** Fields that only some actions have. */
const TRANSLATES = ['targets', 'static', 'after'] as const;

function translationFaults(rule: Rule): Fault[] {
  const { action, targets } = rule;
  const given = TRANSLATES.filter((field) => rule[field] !== undefined);
  const meaningless = (field: string): Fault => ({
    path: field,
    message: `has no meaning in a rule with action ${action}`,
  });
  if (!isNatAction(action)) return given.map(meaningless);
  if (action === 'reverse-snat' || action === 'reverse-dnat')
    return given.filter((field) => field !== 'after').map(meaningless);
  if (targets === undefined)
    return [{ path: 'targets', message: `is required for a rule with action ${action}` }];
  return rule.static === true ? staticFaults(rule, targets) : targetFaults(targets);
}

function targetFaults(targets: readonly string[]): Fault[] {
  const faults: Fault[] = [];
  for (const [i, text] of targets.entries())
    if (text.includes('/'))
      faults.push({
        path: `targets.${i}`,
        message: 'is a prefix, which only a static rule can have: give a range of addresses',
      });
  if (faults.length > 0) return faults;
  const families = new Set(targets.map((text) => isIp6(targetOf(text).first)));
  if (families.size > 1) faults.push({ path: 'targets', message: 'must be of one family' });
  return faults;
}

/** Address for address: there is as much on one side as on the other. */
function staticFaults(rule: Rule, targets: readonly string[]): Fault[] {
  const field = rule.action === 'snat' ? 'source' : 'destination';
  const own = rule[field] as string | undefined;
  const [target] = targets;
  const to = target === undefined ? undefined : targetPrefix(target);
  if (targets.length !== 1 || to === undefined)
    return [{ path: 'targets', message: 'must be one address or one prefix in a static rule' }];
  if (own === undefined || rule.not?.includes(field) === true || rule.invert)
    return [{ path: field, message: `is required, and not inverted, in a static ${rule.action}` }];
  const from = prefixOf(own);
  if (isIp6(from.address) !== isIp6(to.address) || from.length !== to.length)
    return [{ path: 'targets', message: `must be of the family and the length of ${field}` }];
  return [];
}

/** A condition that no packet meets is a mistake, unless a field of it is inverted. */
function neverFaults(rule: Rule): Fault[] {
  const faults: Fault[] = [];
  const plain = (field: ConditionField): string | undefined =>
    rule.not?.includes(field) === true ? undefined : (rule[field] as string | undefined);
  const protocol = plain('protocol');
  for (const field of CONDITION_FIELDS) {
    const allowed = PROTOCOLS[field];
    if (protocol === undefined || allowed === undefined || plain(field) === undefined) continue;
    if (!allowed.includes(protocol)) {
      const message = `has a meaning only with protocol ${allowed.join(' or ')}, not ${protocol}`;
      faults.push({ path: field, message });
    }
  }
  const [source, destination] = [plain('source'), plain('destination')];
  const family = (text: string): boolean => isIp6(prefixOf(text).address);
  if (source !== undefined && destination !== undefined && family(source) !== family(destination))
    faults.push({ path: 'destination', message: 'must be of the same family as the source' });
  return faults;
}

/** A rule names what its own tenant has; one of no tenant may name anything but their chains. */
function ownerFaults(rule: Rule, view: View): Fault[] {
  const faults: Fault[] = [];
  const chain = view.get('chain', rule.chain);
  if (chain !== undefined && chain.tenant !== rule.tenant)
    faults.push({ path: 'tenant', message: 'must be the tenant of the chain' });
  for (const [field, kind] of NAMED) {
    const given = rule[field] as string | readonly string[] | undefined;
    const ids = given === undefined ? [] : [given].flat();
    for (const [i, id] of ids.entries()) {
      const object = view.get(kind, id);
      if (object === undefined || object.tenant === rule.tenant) continue;
      if (rule.tenant === undefined && kind !== 'chain') continue;
      const path = Array.isArray(given) ? `${field}.${i}` : field;
      faults.push({ path, message: 'must be of the tenant of the rule' });
    }
  }
  return faults;
}

function placeFaults(rule: Rule, view: View): Fault[] {
  if (rule.position === undefined) return [];
  const { ids, positions } = rulesOf(view, rule.chain);
  const faults: Fault[] = [];
  if (ids.length > RULES_PER_CHAIN_MAX) {
    const message = `has ${RULES_PER_CHAIN_MAX} rules, and cannot have more`;
    faults.push({ path: 'chain', message });
  }
  const other = positions.get(rule.position)?.find((id) => id !== rule.id);
  if (other === undefined) return faults;
  const name = view.get('rule', other)?.name;
  const called = name === undefined ? other : `${name} (${other})`;
  return [
    ...faults,
    { path: 'position', message: `is that of rule ${called} of the chain already` },
  ];
}

export function check(next: StoredObject, view: View): Fault[] {
  const rule = next as unknown as Rule;
  return [
    ...ownFaults(rule),
    ...ownerFaults(rule, view),
    ...placeFaults(rule, view),
    ...jumpFaults(rule, view),
    ...bridgeFaults(rule, view),
  ];
}
