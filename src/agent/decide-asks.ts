/**
 * What this host would decide, and which interfaces it has: answers that only look. Nothing that a
 * walk claims is committed, nothing is sent, and no budget is spent.
 */
import type { AskOf, PartOf } from '#client/asks.ts';
import { place } from '#flow/placed.ts';
import type { PortId } from '#virtual/ids.ts';
import { fieldsOf } from '#virtual/match.ts';
import type { EdgeContext } from './edge-asks.ts';

/** Throws where this host has no part in the port's network. */
export function* decideAnswer(
  { port: id, frame }: AskOf<'decide'>,
  { host, topology, packets, bindings }: EdgeContext,
): Generator<PartOf<'decide'>[], void, void> {
  const port = id as PortId;
  if (topology.port(port) === undefined)
    throw new Error('it has no part in the network of that port, so it decides nothing there');
  const ingress = { port };
  const observed = packets.decider.observe(Uint8Array.fromHex(frame), ingress);
  if (observed === undefined) throw new Error('the frame is too short to be an Ethernet frame');
  const { outcome, notes, notesLeftOut } = observed;
  const { verdict, rewrites, guards, seen, cacheable, sends, steps } = outcome;
  const carries = (each: PortId): boolean => bindings.dpPort(each) !== undefined;
  const placed = carries(port) ? place(outcome, ingress, { host, topology, carries }) : undefined;
  const part = {
    revision: topology.revision,
    steps,
    verdict,
    rewrites,
    guards,
    fields: fieldsOf(seen),
    cacheable,
    sends: sends.map(({ about: _, ...sent }) => ({ ...sent, frame: sent.frame.toHex() })),
    notes,
    notesLeftOut,
    ...(placed !== undefined && { placed }),
  };
  yield [part as unknown as PartOf<'decide'>];
}

export function* interfacesAnswer(
  { names }: AskOf<'interfaces'>,
  { bindings }: EdgeContext,
): Generator<PartOf<'interfaces'>[], void, void> {
  yield names.filter((name) => bindings.mayTake(name)).map((name) => ({ name }));
}
