/** Looks at frames of the reference datapath; the rules are in `sight.ts`. */
import type { Actions, DpPort, Entry } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { parseKey } from '#flow/parse.ts';
import type { DropReason } from '#virtual/drop.ts';
import { tokenNs } from './budget.ts';
import { checkSight, isLookedAt } from './sight.ts';
import type { Fate, Sight, Sighting, Sights } from './sight.ts';

/** Frames that were seen and wait for the reader; what is more is lost, as in the kernel's ring. */
export const SIGHTINGS_WAITING_MAX = 4096;
const NS_PER_MS = 1e6;

interface Look {
  sight: Sight;
  fullAtNs: number;
  matched: number;
}
/** What becomes of a frame: its fate, why it is dropped, what sends it, or the only port for it. */
export type Becoming = Fate | DropReason | Actions | { readonly port: DpPort };
type Seen = Pick<Sighting, 'where' | 'port' | 'key' | 'ref'> & { readonly what: Becoming };

/** Where a frame of an entry comes in. */
export const whereOf = ({ tunnel }: Entry): 'port' | 'tunnel' =>
  tunnel === undefined ? 'port' : 'tunnel';

function fateOf(what: Becoming): Fate {
  if (typeof what === 'string') return { kind: 'dropped', reason: what };
  if ('kind' in what) return what;
  if ('port' in what) return { kind: 'sent', outputs: 1, to: { port: what.port } };
  const [only, ...others] = what.outputs;
  const outputs = what.outputs.length;
  if (only === undefined || others.length > 0) return { kind: 'sent', outputs };
  const to = 'port' in only ? { port: only.port } : { peer: only.remote, key: only.key };
  return { kind: 'sent', outputs, to };
}

export class MemorySights implements Sights {
  readonly fd = undefined;
  readonly #now: () => number;
  readonly #looks = new Map<number, Look>();
  /** Of ended looks too, until there is another. */
  readonly #matched = new Map<number, number>();
  #waiting: Sighting[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  look(id: number, sight: Sight): void {
    checkSight(id, sight);
    this.#looks.set(id, { sight, fullAtNs: 0, matched: 0 });
    this.#matched.set(id, 0);
    // Those before were seen by another.
    const bit = 1 << id;
    this.#waiting = this.#waiting.map((each) => ({ ...each, sights: each.sights & ~bit }));
  }
  prolong(id: number, untilMs: number): void {
    const look = this.#looks.get(id);
    if (look !== undefined) look.sight = { ...look.sight, untilMs };
  }
  end(id: number): void {
    this.#looks.delete(id);
  }
  matched(id: number): number {
    return this.#matched.get(id) ?? 0;
  }

  /** Time here is whatever the clock says. */
  wallMs(atMs: number): number {
    return atMs;
  }

  drain(take: (sighting: Sighting) => void, max: number): number {
    const batch = this.#waiting.splice(0, max);
    for (const each of batch) {
      let sights = 0;
      for (const id of this.#looks.keys()) sights |= each.sights & (1 << id);
      if (sights !== 0) take({ ...each, sights });
    }
    return batch.length;
  }

  /** Whether anybody looks: what a frame is shown as need not be put together else. */
  get any(): boolean {
    return this.#looks.size > 0;
  }

  /** Shows a frame that leaves by a port. */
  showLeaving(frame: Uint8Array, port: DpPort): void {
    if (!this.any) return;
    const key = new Uint8Array(KEY_SIZE);
    parseKey(frame, key);
    this.show(frame, { where: 'out', port, key, what: { port }, ref: undefined });
  }

  /** Shows a frame to who looks at such. */
  show(frame: Uint8Array, { key, what, ...seen }: Seen): void {
    const timeMs = this.#now();
    let [sights, snapBytes] = [0, 0];
    for (const [id, look] of this.#looks) {
      const { sight } = look;
      if (timeMs >= sight.untilMs || !isLookedAt(sight, key, seen.port)) continue;
      this.#matched.set(id, this.matched(id) + 1);
      const token = tokenNs(sight);
      const after = Math.max(look.fullAtNs, timeMs * NS_PER_MS) + token;
      if (after > timeMs * NS_PER_MS + token * sight.burst) continue;
      look.fullAtNs = after;
      sights |= 1 << id;
      snapBytes = Math.max(snapBytes, sight.snapBytes);
    }
    if (sights === 0 || this.#waiting.length === SIGHTINGS_WAITING_MAX) return;
    this.#waiting.push({
      ...seen,
      fate: fateOf(what),
      sights,
      timeMs,
      key: key.slice(),
      length: frame.length,
      gsoSize: 0,
      frame: frame.slice(0, snapBytes),
    });
  }
}
