/**
 * Taking over what an earlier agent installed, and checking what this one did.
 *
 * A walk reads only the fields in a flow's mask, so the flow's own masked key is enough to walk
 * again. Invariant: an adopted flow is untouched until topology, learned MACs and interfaces are
 * known; then it stays as it is, or goes stale, but nothing in between.
 */
import type { Datapath, Installed } from '#datapath/datapath.ts';
import type { Actions, Flow, FlowRef, Output } from '#flow/flow.ts';
import { matchedFields } from '#flow/mask.ts';
import { rewriteText } from '#flow/rewrite.ts';
import type { FlowTable } from '#flow/table.ts';
import { fieldsOf } from '#virtual/match.ts';
import { causeOf, type Decision } from './decider.ts';
import type { PacketPath } from './packets.ts';

export interface AdoptionOptions {
  readonly datapath: Datapath;
  readonly table: FlowTable;
  readonly packets: PacketPath;
}

function textOf(output: Output, actions: Actions): string {
  const to = 'port' in output ? `port ${output.port}` : `${output.key} to ${output.remote}`;
  const own = rewriteText(output.rewrite ?? {});
  return `${to} vlan ${output.vlan ?? actions.vlan ?? 'as is'} ${own}`;
}

/**
 * Whether two lists of actions do the same to every frame: outputs are a set, and whether a tag is
 * said of all of them or of each makes no difference.
 */
export function sameActions(a: Actions, b: Actions): boolean {
  if (a.drop !== b.drop || rewriteText(a) !== rewriteText(b)) return false;
  if (a.decTtl !== b.decTtl || a.mtu !== b.mtu || a.outputs.length !== b.outputs.length)
    return false;
  if (a.soundTcp !== b.soundTcp || a.connection?.slot !== b.connection?.slot) return false;
  if (a.connection?.direction !== b.connection?.direction) return false;
  const outputs = (of: Actions) =>
    of.outputs
      .map((each) => textOf(each, of))
      .toSorted()
      .join();
  return outputs(a) === outputs(b);
}

/**
 * Whether a flow is what would be installed now; a walk with a claim left has something to do
 * first.
 */
export function upToDate(flow: Flow, now: Decision): boolean {
  if (!now.outcome.cacheable || now.outcome.claims.length > 0) return false;
  const needed = matchedFields(now.fields);
  return (flow.fields & needed) === needed && sameActions(flow.actions, now.actions);
}

export class Adoption {
  readonly #options: AdoptionOptions;
  readonly #found: Installed[] = [];
  /** Adopted flows that were right, and that were not. */
  readonly counters = { kept: 0, retired: 0 };

  /** Takes over what is installed; what has no place in the table goes at once. */
  constructor(options: AdoptionOptions) {
    this.#options = options;
    const { datapath, table } = options;
    const orphans: FlowRef[] = [];
    for (const installed of datapath.dump())
      if (table.adopt(installed.ref, installed.flow, datapath.now())) this.#found.push(installed);
      else orphans.push(installed.ref);
    if (orphans.length === 0) return;
    datapath.invalidate(orphans);
    datapath.remove(orphans);
  }

  /** Decides adopted flows; once, and only when everything they depend on is known. */
  settle(): void {
    const { table, packets } = this.#options;
    const wrong: FlowRef[] = [];
    for (const { ref, flow } of this.#found.splice(0)) {
      const now = packets.decider.decide(flow.key, flow.fields);
      const right = now !== undefined && upToDate(flow, now);
      if (right && table.reconcile(ref, because(now))) this.counters.kept += 1;
      else wrong.push(ref);
    }
    if (wrong.length === 0) return;
    this.counters.retired += wrong.length;
    packets.flows.retire(wrong);
    packets.flows.deleteSome();
  }

  /** Installed flows that would not be installed so now, as text: none, or there is a bug. */
  wrongFlows(): string[] {
    const { datapath, table, packets } = this.#options;
    const wrong: string[] = [];
    for (const { ref, flow } of datapath.dump()) {
      if (table.cause(ref) === undefined) continue;
      const now = packets.decider.decide(flow.key, flow.fields);
      if (now !== undefined && upToDate(flow, now)) continue;
      const does = JSON.stringify({ fields: fieldsOf(flow.fields), ...flow.actions });
      const should = now && JSON.stringify({ fields: fieldsOf(now.fields), ...now.actions });
      wrong.push(`${does} should be ${should ?? 'gone'}`);
    }
    return wrong;
  }
}

const because = (decision: Decision) => ({ tags: decision.tags, cause: causeOf(decision) });
