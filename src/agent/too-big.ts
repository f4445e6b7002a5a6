/**
 * Packets that are too big for some of the ways they are to leave by.
 *
 * Invariants: what fits leaves whole; what may be cut leaves in pieces that fit (RFC 791 §2.3); who
 * forbids that, or cannot be cut, is refused: its sender is told the size that fits where that may
 * be told (RFC 1191, RFC 8201). Nothing here sends.
 */
import type { Datapath } from '#datapath/datapath.ts';
import type { Actions, DpPort, Output } from '#flow/flow.ts';
import { GSO_BY_FRAGS } from '#flow/size.ts';
import { fragments, fragments6 } from '#net/fragment.ts';
import { decodeFrame, type Frame } from '#net/frame.ts';
import { errorAbout } from '#net/icmp-error.ts';
import type { PortId } from '#virtual/ids.ts';
import type { ErrorBudget } from '#virtual/state/error-budget.ts';
import type { Tag } from '#virtual/tags.ts';
import { LIMITS } from './limits.ts';

/** A frame as it came. `size`: bytes of its IP packet, of a segment when it will be segmented. */
export interface Large {
  readonly frame: Uint8Array;
  readonly gsoSize: number;
  readonly size: number;
  /** It was put together from fragments: what IPv6 is cut by again (RFC 8200 §4.5). */
  readonly id?: number | undefined;
}

/** Frames for some of the outputs. */
export interface Part {
  readonly frames: readonly Uint8Array[];
  readonly gsoSize: number;
  readonly actions: Actions;
  /** It is not the packet as it came. */
  readonly cut: boolean;
}

export interface Division {
  readonly parts: readonly Part[];
  /** It had to be cut for some. */
  readonly cut: boolean;
  /** The least limit of the outputs that nothing leaves by; undefined: there are none. */
  readonly refused: number | undefined;
}

/** A segment must make some way. */
const SEGMENT_MIN = 8;

/** What leaves in place of a packet larger than `mtu`; undefined where nothing may. */
function cutTo(
  { frame, gsoSize, size, id }: Large,
  mtu: number,
): Omit<Part, 'actions'> | undefined {
  if (gsoSize === 0) {
    const six = id === undefined ? undefined : fragments6(frame, mtu, id);
    const frames = fragments(frame, mtu) ?? six;
    return frames && { frames, gsoSize, cut: true };
  }
  // The kernel has still to make segments of it. Those of a stream may as well be shorter; those of
  // UDP are datagrams.
  const { network, transport }: Partial<Frame> = decodeFrame(frame) ?? {};
  const shorter = gsoSize - (size - mtu);
  if (network?.kind !== 'ipv4' || network.dontFragment || transport?.kind !== 'tcp')
    return undefined;
  if (gsoSize === GSO_BY_FRAGS || shorter < SEGMENT_MIN) return undefined;
  return { frames: [frame], gsoSize: shorter, cut: true };
}

/**
 * What leaves by which outputs of `actions`. `limits`: of each output; `all`: a limit of all of
 * them (a router's on the way).
 */
export function divide(
  large: Large,
  actions: Actions,
  limits: readonly (number | undefined)[],
  all: number | undefined,
): Division {
  const byLimit = new Map<number | undefined, Output[]>();
  for (const [i, output] of actions.outputs.entries()) {
    const limit = Math.min(limits[i] ?? Infinity, all ?? Infinity);
    const key = large.size > limit ? limit : undefined;
    const same = byLimit.get(key);
    if (same === undefined) byLimit.set(key, [output]);
    else same.push(output);
  }
  const parts: Part[] = [];
  let [cut, refused]: [boolean, number | undefined] = [false, undefined];
  for (const [mtu, outputs] of byLimit) {
    const { frame, gsoSize } = large;
    const part = mtu === undefined ? { frames: [frame], gsoSize, cut: false } : cutTo(large, mtu);
    if (part !== undefined) parts.push({ ...part, actions: { ...actions, outputs } });
    if (mtu === undefined) continue;
    if (part !== undefined) cut = true;
    else refused = Math.min(mtu, refused ?? mtu);
  }
  return { parts, cut, refused };
}

/**
 * The ICMP error for who sent the frame, to be sent back by where it came from: as from the host
 * that it was for, so that no address of the network's own is needed on a bridge (the kernel's
 * tunnels do alike). Undefined where none may be sent, or nobody forbade to cut the packet.
 */
export function tooBigError(bytes: Uint8Array, mtu: number): Uint8Array | undefined {
  const { ethernet, network }: Partial<Frame> = decodeFrame(bytes) ?? {};
  if (ethernet === undefined || network === undefined || network.kind === 'arp') return undefined;
  if (network.kind === 'ipv4' && !network.dontFragment) return undefined;
  return errorAbout(bytes, {
    cause: { tooBig: mtu },
    from: network.dst,
    src: ethernet.dst,
    dst: ethernet.src,
    tci: ethernet.tci,
  });
}

export interface LargePacketsOptions {
  readonly datapath: Datapath;
  readonly state: { readonly errors: ErrorBudget };
  readonly bindings: { dpPort(port: PortId): DpPort | undefined };
}

/**
 * An answer in fragments. `id`: that of the question's own, which its sender has chosen to be
 * distinct and hard to guess (RFC 7739); IPv4 answers have it anyway.
 */
export const pieces = (frame: Uint8Array, mtu: number, id: number): Uint8Array[] | undefined =>
  fragments(frame, mtu) ?? fragments6(frame, mtu, id);

/** Sends what is too big for a flow, one by one. */
export class LargePackets {
  readonly #datapath: Datapath;
  readonly #errors: ErrorBudget;
  readonly #bindings: LargePacketsOptions['bindings'];
  #cut = 0;
  #cutNow = 0;
  #tags: Tag[] = [];

  constructor({ datapath, state, bindings }: LargePacketsOptions) {
    this.#datapath = datapath;
    this.#errors = state.errors;
    this.#bindings = bindings;
  }

  /** Packets that were sent in pieces. */
  get cut(): number {
    return this.#cut;
  }
  /** Another LIMITS.cutPerTickMax may be cut. */
  tick(): void {
    this.#cutNow = 0;
  }
  /** What depends on the budget of errors and is stale since. */
  takeTags(): Tag[] {
    return this.#tags.splice(0);
  }

  /**
   * Sends it where it fits, in pieces where it may be cut, and tells the sender where neither goes.
   * `from`: the port it came by. False when some output got nothing.
   */
  send(
    large: Large & { readonly from: PortId | undefined },
    actions: Actions,
    limits: readonly (number | undefined)[],
    all: number | undefined,
  ): boolean {
    const { parts, cut, refused } = divide(large, actions, limits, all);
    const tooMany = cut && ++this.#cutNow > LIMITS.cutPerTickMax;
    if (cut && !tooMany) this.#cut += 1;
    for (const part of parts)
      if (!part.cut || !tooMany)
        for (const piece of part.frames) this.#datapath.execute(piece, part.actions, part.gsoSize);
    if (refused === undefined) return !tooMany;
    // Where some copies leave, the one that its sender meant may be among them.
    if (parts.length === 0 && large.from !== undefined)
      this.#tell(large.frame, large.from, refused);
    return false;
  }

  #tell(frame: Uint8Array, port: PortId, mtu: number): void {
    const back = this.#bindings.dpPort(port);
    if (back === undefined || !this.#errors.mayTell(port)) return;
    this.#tags.push(...this.#errors.charge(port));
    const error = tooBigError(frame, mtu);
    if (error !== undefined) this.#datapath.execute(error, { outputs: [{ port: back }] }, 0);
  }
}
