/**
 * A walk as text: one line for each step, then the verdict. The same lines are the answer of a
 * trace and the cause of an installed flow, so they name objects as their owners do and leave out
 * what says nothing.
 */
import { DROPS } from './drop.ts';
import type { BridgeId, PortId } from './ids.ts';
import type { Outcome, Step, Verdict } from './outcome.ts';
import type { TopologyView } from './view.ts';

const portName = (topology: TopologyView, id: PortId): string => topology.port(id)?.name ?? id;
const bridgeName = (topology: TopologyView, id: BridgeId): string =>
  topology.bridge(id)?.name ?? id;

function describeStep({ at, did, detail }: Step, topology: TopologyView): string {
  const name =
    at.kind === 'port'
      ? portName(topology, at.id as PortId)
      : bridgeName(topology, at.id as BridgeId);
  const what = did.replaceAll('-', ' ');
  return `${at.kind} ${name}: ${what}${detail === undefined ? '' : ` ${detail}`}`;
}

function describeVerdict(verdict: Verdict, outcome: Outcome, topology: TopologyView): string {
  if (verdict.kind === 'drop') return `drop: ${DROPS[verdict.reason].about}`;
  if (verdict.kind === 'answer') {
    const ports = outcome.sends.map(({ port }) => portName(topology, port));
    return `answer: sent out of port ${ports.join(', ')}`;
  }
  const { to } = verdict;
  if ('port' in to) return `forward: to port ${portName(topology, to.port)}`;
  const bridge = bridgeName(topology, to.flood);
  if (to.here === true) return `forward: to the ports of bridge ${bridge} on this host`;
  const except = to.except === undefined ? '' : ` except ${portName(topology, to.except)}`;
  return `forward: to all ports of bridge ${bridge}${except}`;
}

/** `topology`: names come from here; what it no longer has is named by its id. */
export const describeOutcome = (outcome: Outcome, topology: TopologyView): string[] => [
  ...outcome.steps.map((step) => describeStep(step, topology)),
  describeVerdict(outcome.verdict, outcome, topology),
];
