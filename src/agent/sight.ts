/**
 * Frames where this host's datapath sees them, for whoever asked. It tells ids and numbers; what
 * they are called is the API's to say.
 *
 * Invariant: looking changes nothing but the datapath's looks, and those end with the answer.
 */
import type { PartOf } from '#client/asks.ts';
import type { Place, SeenFrame, StepRow } from '#client/sight.ts';
import type { Sighting } from '#datapath/sight.ts';
import type { DpPeer, FlowRef } from '#flow/flow.ts';
import { KEY } from '#flow/layout.ts';
import { matchesOf } from '#flow/packet-filter.ts';
import { entryOf } from '#flow/parse.ts';
import { formatIp } from '#net/ip.ts';
import { parsePacketFilter } from '#net/packet-filter.ts';
import type { PortId } from '#virtual/ids.ts';
import type { Step } from '#virtual/outcome.ts';
import type { EdgeAnswer, EdgeContext } from './edge-asks.ts';
import { LIMITS } from './limits.ts';

/** Parts told in one slice. */
const PARTS_PER_SLICE = 128;

/** The underlay address of a peer. */
export const addressOf = ({ datapath }: EdgeContext, peer: DpPeer): string | undefined => {
  const found = datapath.peers().find((one) => one.peer === peer);
  return found && formatIp(found.address);
};
/** A step as it is told. */
export const stepRow = ({ at: { kind, id }, did, detail }: Step): StepRow => ({
  kind,
  id,
  did,
  ...(detail !== undefined && { detail }),
});
const textOf = ({ slot, generation }: FlowRef): string => `${slot}.${generation}`;

function tunnelPlace(context: EdgeContext, key: number, peer: DpPeer): Place {
  const remote = addressOf(context, peer);
  return { key, ...(remote !== undefined && { remote }) };
}

/** Where a frame was seen. What the agent sends is of the entry of its flow. */
function placeOf({ where, port, key, fate }: Sighting, context: EdgeContext): Place {
  const { bindings, datapath } = context;
  const at = port === undefined ? undefined : bindings.portAt(port);
  if (where === 'port' || where === 'out') return at === undefined ? {} : { port: at };
  const entry = entryOf(key);
  const words = new DataView(key.buffer, key.byteOffset);
  const tunnelKey = words.getUint32(KEY.tun_key, true);
  if (entry.port === datapath.tunnelPort) {
    const place = tunnelPlace(context, tunnelKey, words.getUint32(KEY.tun_src, true) as DpPeer);
    const to =
      fate.kind === 'sent' && fate.to !== undefined && 'port' in fate.to ? fate.to : undefined;
    const target = where === 'tunnel' && to ? bindings.portAt(to.port) : undefined;
    return target === undefined ? place : { ...place, port: target };
  }
  const own = bindings.portAt(entry.port);
  return own === undefined ? {} : { port: own };
}

function toOf({ fate }: Sighting, context: EdgeContext): Place | undefined {
  if (fate.kind !== 'sent' || fate.to === undefined) return undefined;
  if ('peer' in fate.to) return tunnelPlace(context, fate.to.key, fate.to.peer);
  const port = context.bindings.portAt(fate.to.port);
  return port === undefined ? {} : { port };
}

/** What the agent has decided about frames like this since it was handed up. */
function decidedOf(key: Uint8Array, { table }: EdgeContext): SeenFrame['decided'] {
  const ref = table.lookup(key);
  const verdict = ref && table.cause(ref)?.verdict;
  if (ref === undefined || verdict === undefined) return undefined;
  return { flow: textOf(ref), ...(verdict.kind === 'drop' && { reason: verdict.reason }) };
}

function seenFrame(sighting: Sighting, snapBytes: number, context: EdgeContext): SeenFrame {
  const { where, fate, ref, key, length, frame, timeMs } = sighting;
  const { datapath, table } = context;
  const flow = ref !== undefined && ref.slot < datapath.slots ? ref : undefined;
  const up = fate.kind === 'up' ? decidedOf(key, context) : undefined;
  const steps = flow && fate.kind === 'dropped' ? table.cause(flow)?.steps : undefined;
  const by = steps?.at(-1);
  const to = toOf(sighting, context);
  return {
    type: 'frame',
    atMs: datapath.sights.wallMs(timeMs),
    where,
    at: placeOf(sighting, context),
    fate: fate.kind,
    outputs: fate.kind === 'sent' ? fate.outputs : 0,
    ...(fate.kind !== 'sent' && { reason: fate.reason }),
    ...(to !== undefined && { to }),
    ...(flow !== undefined && { flow: textOf(flow) }),
    ...(up !== undefined && { decided: up }),
    ...(by !== undefined && { by: stepRow(by) }),
    length,
    frame: Buffer.from(frame.subarray(0, snapBytes)).toString('base64'),
  };
}

export const sight: EdgeAnswer<'sight'> = function* (ask, context) {
  const { datapath, bindings, looks } = context;
  const dpPort = (): number | undefined =>
    ask.port === undefined ? undefined : bindings.dpPort(ask.port as PortId);
  const port = dpPort();
  if (ask.port !== undefined && port === undefined)
    throw new Error('the port is not up on this host');
  const filter = parsePacketFilter(ask.filter);
  if ('error' in filter) throw new Error(`filter: ${filter.error}`);
  const look = looks.begin({
    port: ask.port === undefined ? undefined : bindings.dpPort(ask.port as PortId),
    matches: matchesOf(filter),
    snapBytes: ask.snapBytes,
    make: (sighting) => seenFrame(sighting, ask.snapBytes, context),
  });
  try {
    let left = ask.frames;
    for (let toldMs = -Infinity; left > 0;) {
      if (dpPort() !== port) throw new Error('the port is not up on this host any more');
      const more = looks.poll();
      const parts: PartOf<'sight'>[] = look.take(Math.min(left, PARTS_PER_SLICE));
      left -= parts.length;
      const now = datapath.now();
      if (left === 0 || now - toldMs >= LIMITS.lookCountMs) {
        parts.push({ type: 'count', ...look.counts() });
        toldMs = now;
      }
      if (parts.length > 0) yield parts;
      else yield more ? [] : 'idle';
    }
  } finally {
    look.end();
  }
};
