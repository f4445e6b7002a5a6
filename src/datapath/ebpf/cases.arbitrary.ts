/**
 * For tests: whole cases of the differential test. A frame, how it gets to the datapath, and the
 * flow that is there for it, from a seed.
 */
import fc from 'fast-check';
import type { Actions, Output, Rewrites } from '#flow/flow.ts';
import { MTU_MIN } from '#flow/flow.ts';
import { decodeFrame, fragmentKind, CHECKSUM_AT, transportSum } from '#net/frame.ts';
import { write16 } from '#net/bytes.ts';
import { fold } from '#net/checksum.ts';
import type { Ip4, Ip6 } from '#net/ip.ts';
import { ethernetSize } from '#net/packet/ethernet.ts';
import { ipv4Size } from '#net/packet/ipv4.ts';
import { ipv6Size } from '#net/packet/ipv6.ts';
import type { DropReason } from '#virtual/drop.ts';
import { DROPS } from '#virtual/drop.ts';
import { EXACT } from '#flow/mask.ts';
import type { FieldSet } from '#virtual/match.ts';
import { fieldSet } from '#virtual/match.ts';
import { actionsTo, frames, superPackets } from './frames.arbitrary.ts';
import { soundFrames } from './sound.arbitrary.ts';

/**
 * `port`, `offload`: from a workload, as bytes or with what virtio says of them. `flood`, `key`: by
 * the tunnel, under a flood key or a port's. `inject`, `execute`: from the agent.
 */
export type Way = 'port' | 'offload' | 'flood' | 'key' | 'inject' | 'execute';
/** What there is for it: a flow that forwards or drops, an invalidated one, none. */
export type Wish = 'forward' | 'drop' | 'stale' | 'none';
/** Of a tunnel frame: who sends, and to which key. */
export type Whence = 'allowed' | 'stranger' | 'unknown-key' | 'no-port';

export interface Case {
  /** Its source MAC is written by `numbered`. */
  readonly frame: Uint8Array;
  readonly gsoSize: number;
  readonly way: Way;
  readonly wish: Wish;
  readonly whence: Whence;
  readonly actions: Actions;
}

/** By its source MAC a frame is told from all others. */
export function numbered(frame: Uint8Array, id: number): Uint8Array {
  const out = frame.slice();
  out.set([2, 0, id >>> 24, id >>> 16, id >>> 8, id], 6);
  return out;
}

/** Leaves the transport checksum to the interface, as a workload's kernel does. */
function offloaded(frame: Uint8Array): Uint8Array {
  const decoded = decodeFrame(frame);
  if (decoded === undefined) return frame;
  const { network: ip, transport, ethernet } = decoded;
  if (ip === undefined || ip.kind === 'arp' || fragmentKind(ip) !== 0) return frame;
  if (transport?.kind !== 'tcp' && transport?.kind !== 'udp') return frame;
  const at = ethernetSize(ethernet) + (ip.kind === 'ipv4' ? ipv4Size(ip) : ipv6Size(ip));
  const sum = fold(transportSum(ip, transport.kind, frame.length - at));
  write16(frame, at + CHECKSUM_AT[transport.kind], sum);
  return frame;
}

const ways = fc.oneof(
  { weight: 52, arbitrary: fc.constant<Way>('port') },
  { weight: 14, arbitrary: fc.constant<Way>('offload') },
  { weight: 9, arbitrary: fc.constant<Way>('flood') },
  { weight: 9, arbitrary: fc.constant<Way>('key') },
  { weight: 8, arbitrary: fc.constant<Way>('inject') },
  { weight: 8, arbitrary: fc.constant<Way>('execute') },
);
const wishes = fc.oneof(
  { weight: 72, arbitrary: fc.constant<Wish>('forward') },
  { weight: 12, arbitrary: fc.constant<Wish>('drop') },
  { weight: 6, arbitrary: fc.constant<Wish>('stale') },
  { weight: 10, arbitrary: fc.constant<Wish>('none') },
);
const whences = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Whence>('allowed') },
  { weight: 2, arbitrary: fc.constant<Whence>('stranger') },
  { weight: 2, arbitrary: fc.constant<Whence>('unknown-key') },
  { weight: 2, arbitrary: fc.constant<Whence>('no-port') },
);

const isIp6Frame = (frame: Uint8Array): boolean => {
  const at = frame[12] === 0x81 && frame[13] === 0 ? 16 : 12;
  return frame[at] === 0x86 && frame[at + 1] === 0xdd;
};
const asIp6 = (ip: Ip4): Ip6 => `fd${ip.toString(16).padStart(30, '0')}` as Ip6;
const asIp4 = (ip: Ip6): Ip4 => Number.parseInt(ip.slice(24), 16) as Ip4;

/** With addresses of the frame's own family. */
function fitted<T extends Rewrites>(what: T, six: boolean): T {
  const out: { -readonly [K in keyof Rewrites]: Rewrites[K] } = { ...what };
  for (const field of ['ipSrc', 'ipDst'] as const) {
    const ip = out[field];
    if (ip === undefined) continue;
    if (six) out[field] = typeof ip === 'string' ? ip : asIp6(ip);
    else out[field] = typeof ip === 'string' ? asIp4(ip) : ip;
  }
  return out as T;
}
const outputFitted = (output: Output, six: boolean): Output =>
  output.rewrite === undefined ? output : { ...output, rewrite: fitted(output.rewrite, six) };

interface Draw {
  readonly bytes: Uint8Array;
  readonly big: { readonly frame: Uint8Array; readonly gsoSize: number };
  readonly whole: boolean;
  readonly way: Way;
  readonly wish: Wish;
  readonly whence: Whence;
  readonly actions: Actions;
  readonly reason: DropReason;
  readonly misfit: number;
}

const BIG_BYTES_WITHOUT_SEGMENTS = 1400;

function build(draw: Draw): Case {
  const { bytes, big, way, wish, whence, reason, misfit } = draw;
  const offload = way === 'offload';
  const small = big.frame.slice(0, BIG_BYTES_WITHOUT_SEGMENTS);
  const frame = !offload ? bytes : offloaded(draw.whole ? big.frame.slice() : shortened(small));
  const six = isIp6Frame(frame) !== (misfit === 0);
  const { mtu, decTtl, soundTcp, connection, ...fields } = fitted(draw.actions, six);
  const guards = {
    ...(decTtl !== undefined && misfit % 2 === 0 && { decTtl }),
    // How large a segment is, another test looks at.
    ...(soundTcp !== undefined && misfit % 3 !== 1 && { soundTcp }),
    ...(connection !== undefined && { connection }),
    ...(mtu !== undefined && misfit % 2 === 1 && !offload && { mtu: MTU_MIN + (misfit >> 2) }),
  };
  const outputs = fields.outputs.map((output) => outputFitted(output, six));
  const actions: Actions =
    wish === 'drop' ? { ...guards, drop: reason, outputs: [] } : { ...guards, ...fields, outputs };
  return { frame, gsoSize: offload && draw.whole ? big.gsoSize : 0, way, wish, whence, actions };
}

/** A super-packet cut to one packet: its lengths say so. */
function shortened(frame: Uint8Array): Uint8Array {
  const decoded = decodeFrame(frame);
  const ip = frame[12] === 0x81 ? 18 : 14;
  if (decoded === undefined) return frame;
  const six = isIp6Frame(frame);
  write16(frame, ip + (six ? 4 : 2), frame.length - ip - (six ? 40 : 0));
  const again = decodeFrame(frame);
  if (again?.transport?.kind !== 'udp' || again.network?.kind === 'arp') return frame;
  const network = again.network;
  if (network === undefined) return frame;
  const l4 = ip + (network.kind === 'ipv4' ? ipv4Size(network) : ipv6Size(network));
  write16(frame, l4 + 4, frame.length - l4);
  return frame;
}

/** Cases with outputs among these places. */
const casesTo = (places: readonly Output[], frameBytesMin: number): fc.Arbitrary<Case> =>
  fc
    .record({
      bytes: fc.oneof({ weight: 4, arbitrary: soundFrames(frameBytesMin) }, frames(frameBytesMin)),
      big: superPackets,
      whole: fc.boolean(),
      way: ways,
      wish: wishes,
      whence: whences,
      actions: actionsTo(places),
      reason: fc.constantFrom(...(Object.keys(DROPS) as DropReason[])),
      misfit: fc.nat(11),
    })
    .map(build);

const MASKS = 8;
/** Sets of fields that flows of one batch match: disjoint, for each has a source MAC of its own. */
const fieldSets: fc.Arbitrary<FieldSet[]> = fc
  .array(fc.nat(EXACT), { minLength: MASKS, maxLength: MASKS })
  .map((sets) => [EXACT, ...sets.map((set) => set | fieldSet(['ethSrc']))]);

/** Cases with outputs among these places, and the sets of fields that their flows match. */
export function drawBatch(
  places: readonly Output[],
  frameBytesMin: number,
  { seed, count }: { readonly seed: number; readonly count: number },
): { cases: Case[]; fields: FieldSet[] } {
  const cases = fc.sample(casesTo(places, frameBytesMin), { seed, numRuns: count });
  const [fields = [EXACT]] = fc.sample(fieldSets, { seed, numRuns: 1 });
  return { cases, fields };
}
