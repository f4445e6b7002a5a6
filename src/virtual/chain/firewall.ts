/**
 * Chains with their rules, and groups with their members, as the walk asks for them; a part of the
 * topology.
 *
 * Invariants: what is answered depends on the rows that are here, not on the order in which they
 * came; a change yields the tag of every chain whose rules are others, and of every member that
 * came or went (law 2). A chain's view is one value until a rule of it changes.
 */
import type { Ip } from '#net/ip.ts';
import { AddressMembers, memberPrefix } from '../address-group/members.ts';
import type { AddressGroupId, ChainId, PortGroupId, PortId, RuleId } from '../ids.ts';
import type { KindName, StoredObject } from '../kind.ts';
import type { ObjectOf } from '../kinds.ts';
import { listDifference } from '../list-difference.ts';
import { ReadyChain } from '../ready.ts';
import type { ChangedRoute } from '../router/changes.ts';
import { conditionOf } from '../rule/condition.ts';
import { isNatAction, targetOf, targetPrefix, type NatView } from '../rule/nat.ts';
import { prefixOf, protocolOf } from '../rule/values.ts';
import { differInLabelsOnly } from '../same.ts';
import { chainTag, portGroupTag, type Tag } from '../tags.ts';
import type { ChainView, RuleView } from '../view.ts';

type ChainRow = ObjectOf<'chain'>;
type RuleRow = ObjectOf<'rule'>;
type PortGroupRow = ObjectOf<'port-group'>;
type AddressGroupRow = ObjectOf<'address-group'>;

/** Where a change of the topology gathers what it has brought about. */
export interface FirewallEffects {
  readonly tags: Set<Tag>;
  /** Prefixes of groups are told like destinations of routers: many of one group as one. */
  readonly routes: ChangedRoute[];
}

/** What a rule translates; undefined: nothing. */
function natOf(row: RuleRow): NatView | undefined {
  const { action, after = 'accept', targets = [] } = row;
  if (!isNatAction(action)) return undefined;
  const base = { action, after };
  if (row.static !== true) {
    const portless = row.protocol === undefined ? undefined : protocolOf(row.protocol as string);
    const named = row.not?.includes('protocol') === true || row.invert === true;
    return {
      ...base,
      targets: targets.map(targetOf),
      static: undefined,
      portless: named ? undefined : portless,
    };
  }
  const from = action === 'snat' ? row.source : row.destination;
  const to = targetPrefix(targets[0] ?? '');
  if (from === undefined || to === undefined) throw new Error(`rule ${row.id}: is not static`);
  return {
    ...base,
    targets: [],
    static: { from: prefixOf(from as string), to },
    portless: undefined,
  };
}

/** The row as the walk sees it. */
export const ruleOf = (row: RuleRow): RuleView => ({
  id: row.id as RuleId,
  name: row.name,
  position: row.position ?? 0,
  action: row.action,
  nat: natOf(row),
  jump: row.jump as ChainId | undefined,
  log: row.log === true,
  condition: conditionOf(row),
});

/** A chain with its rules; it also stands for rules whose chain is not known (yet). */
class ChainState {
  row: ChainRow | undefined;
  readonly rules = new Map<string, RuleView>();
  readonly #id: ChainId;
  readonly #ready: ReadyChain;
  #view: ChainView | undefined;

  constructor(id: ChainId) {
    this.#id = id;
    this.#ready = new ReadyChain(id);
  }
  /** What was made of the rules is made anew when it is asked for. */
  changed(): void {
    this.#view = undefined;
  }
  get view(): ChainView | undefined {
    if (this.row === undefined) return undefined;
    return (this.#view ??= {
      id: this.#id,
      ready: this.#ready,
      name: this.row.name,
      rules: [...this.rules.values()].sort(inOrder),
    });
  }
}
/** Positions are unique in a chain; ids decide for rows that are not (yet) valid. */
const inOrder = (a: RuleView, b: RuleView): number =>
  a.position - b.position || (a.id < b.id ? -1 : 1);

export class Firewall {
  readonly #chains = new Map<string, ChainState>();
  readonly #portGroups = new Map<string, Set<string>>();
  readonly #addressGroups = new Map<string, AddressMembers>();

  chain(id: ChainId): ChainView | undefined {
    return this.#chains.get(id)?.view;
  }
  inPortGroup(group: PortGroupId, port: PortId): boolean {
    return this.#portGroups.get(group)?.has(port) ?? false;
  }
  inAddressGroup(group: AddressGroupId, ip: Ip): boolean {
    return this.#addressGroups.get(group)?.has(ip) ?? false;
  }

  /** A row in the place of another; false: a kind that is no part of a firewall. */
  change(
    kind: KindName,
    rows: readonly [before: StoredObject | undefined, after: StoredObject | undefined],
    effects: FirewallEffects,
  ): boolean {
    const [before, after] = rows;
    if (kind === 'chain') this.#changeChain(before as ChainRow, after as ChainRow, effects);
    else if (kind === 'rule') this.#changeRule(before as RuleRow, after as RuleRow, effects);
    else if (kind === 'port-group')
      this.#changePorts(before as PortGroupRow, after as PortGroupRow, effects);
    else if (kind === 'address-group')
      this.#changeAddresses(before as AddressGroupRow, after as AddressGroupRow, effects);
    else return false;
    return true;
  }

  #stateOf(id: string): ChainState {
    return this.#chains.getOrInsertComputed(id, () => new ChainState(id as ChainId));
  }
  /** A chain that is neither there nor named by a rule is forgotten. */
  #touch(id: string, chain: ChainState): void {
    chain.changed();
    if (chain.row === undefined && chain.rules.size === 0) this.#chains.delete(id);
  }

  #changeChain(
    before: ChainRow | undefined,
    after: ChainRow | undefined,
    { tags }: FirewallEffects,
  ): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    const chain = this.#stateOf(id);
    const renamed = before?.name !== after?.name;
    chain.row = after;
    if (renamed) this.#touch(id, chain);
    if ((before === undefined) !== (after === undefined)) tags.add(chainTag(id));
  }

  #changeRule(
    before: RuleRow | undefined,
    after: RuleRow | undefined,
    { tags }: FirewallEffects,
  ): void {
    if (before !== undefined && after !== undefined && differInLabelsOnly(before, after)) return;
    const moved = before?.chain !== after?.chain;
    if (before !== undefined && moved) {
      const chain = this.#stateOf(before.chain);
      chain.rules.delete(before.id);
      this.#touch(before.chain, chain);
      tags.add(chainTag(before.chain));
    }
    if (after === undefined) return;
    const chain = this.#stateOf(after.chain);
    chain.rules.set(after.id, ruleOf(after));
    chain.changed();
    tags.add(chainTag(after.chain));
  }

  #changePorts(
    before: PortGroupRow | undefined,
    after: PortGroupRow | undefined,
    { tags }: FirewallEffects,
  ): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    const { gone, come } = listDifference(before?.ports ?? [], after?.ports ?? []);
    const ports = this.#portGroups.getOrInsertComputed(id, () => new Set());
    for (const port of gone) ports.delete(port);
    for (const port of come) ports.add(port);
    if (after === undefined) this.#portGroups.delete(id);
    for (const port of [...gone, ...come]) tags.add(portGroupTag(id, port as PortId));
  }

  #changeAddresses(
    before: AddressGroupRow | undefined,
    after: AddressGroupRow | undefined,
    { routes }: FirewallEffects,
  ): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    const { gone, come } = listDifference(before?.addresses ?? [], after?.addresses ?? []);
    const members = this.#addressGroups.getOrInsertComputed(id, () => new AddressMembers());
    const [out, into] = [gone.map(memberPrefix), come.map(memberPrefix)];
    for (const prefix of out) members.remove(prefix);
    for (const prefix of into) members.add(prefix);
    if (after === undefined) this.#addressGroups.delete(id);
    for (const destination of [...out, ...into]) routes.push({ router: id, destination });
  }
}
