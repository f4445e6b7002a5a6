/**
 * The connections of this host: records are made before the packets that open them leave, told to
 * the hosts where answers may enter, and ended when nothing comes any more.
 *
 * Invariants: every key of which something changed is answered as a tag, and the caller makes the
 * flows under it stale before anything else is decided; what is told leaves before the frames that
 * it is about (`Datapath.beforeFrames`).
 */
import type { Connections } from '#flow/connections.ts';
import type { Actions } from '#flow/flow.ts';
import {
  NO_TRANSLATIONS,
  type ConnectionKey,
  type ConnectionRef,
  type FoundConnection,
  type Translation,
  type Zone,
} from '#virtual/connection.ts';
import type { Ingress, Opening, Outcome } from '#virtual/outcome.ts';
import { connectionTag, type Tag } from '#virtual/tags.ts';
import type { Topology } from '#virtual/topology.ts';
import { LIMITS } from './limits.ts';

/** Whoever tells other hosts of records. */
export interface Telling {
  /** A record was made here, or is another one: to be told before frames leave. */
  opened(ref: ConnectionRef): void;
  /** One of its halves went on, or ended, or its ends began anew. */
  wentOn(ref: ConnectionRef): void;
}

export interface TrackingOptions {
  readonly connections: Connections;
  readonly topology: Topology;
  readonly telling: Telling;
  /** Monotonic milliseconds, of the clock that stamps records. */
  readonly now: () => number;
  /** A packet has opened a connection, or one with the same ends anew. */
  readonly began?: (outcome: Outcome) => void;
}

/** The record of a packet: what its flow stamps, and what is to be decided anew. */
export interface Opened {
  readonly connection: NonNullable<Actions['connection']>;
  readonly tags: readonly Tag[];
  /** It was not there before, or the packet begins it anew. */
  readonly begins: boolean;
}

/** Whether a device is there whose packets and answers enter there. */
export const isZone = (topology: Topology, zone: Zone): boolean =>
  topology.bridgeOfFloodKey(zone) !== undefined || topology.routerOfNetworkKey(zone) !== undefined;

const tagsOf = (keys: readonly ConnectionKey[]): Tag[] => keys.map(connectionTag);

export class Tracking {
  readonly #options: TrackingOptions;
  /** The slot of the record that begins anew with the packet that is being decided. */
  #reopened: number | undefined;

  constructor(options: TrackingOptions) {
    this.#options = options;
  }

  /**
   * The record of a packet that is forwarded in the opening direction; undefined: there is no room;
   * 'taken': another connection has the ends that were chosen for it.
   * Of a flood over linked bridges only the first is opened: answers come from one.
   */
  open(outcome: Outcome, ingress: Ingress, opening: Opening): Opened | 'taken' | undefined {
    const { connections, telling, now, began } = this.#options;
    const forward = outcome.connection?.key;
    if (forward === undefined) throw new Error('tracking: a packet without a key opens nothing');
    const wanted = {
      forward,
      returns: opening.returns,
      inPort: 'port' in ingress ? ingress.port : undefined,
      outPort: opening.to,
      createdMs: now(),
      translations: outcome.connection?.translations ?? NO_TRANSLATIONS,
    };
    if (wanted.translations.length > 0 && connections.isTaken(wanted)) return 'taken';
    const committed = connections.commit(wanted);
    if (committed === undefined) return undefined;
    if (committed.fresh) telling.opened(committed.ref);
    const begins = committed.fresh || committed.ref.slot === this.#reopened;
    if (begins) began?.(outcome);
    this.#reopened = undefined;
    const connection = { slot: committed.ref.slot, direction: 'forward' as const };
    return { connection, tags: tagsOf(committed.changed), begins };
  }

  /**
   * A segment opens what has ended, or was never answered, anew (RFC 9293 §3.6.1); false: it is one
   * more of what there is.
   */
  reopen(found: FoundConnection): boolean {
    const { connections, telling, now } = this.#options;
    const { ref } = found;
    if (found.anew === true || !connections.isOver(found, now())) return false;
    connections.reopen(ref, now());
    this.#reopened = ref.slot;
    telling.wentOn(ref);
    return true;
  }

  /** What ended and what went on, of the next records in turn; the tags of what changed. */
  tick(): readonly Tag[] {
    const { connections, telling, now } = this.#options;
    const { ended, told } = connections.sweep(
      now(),
      LIMITS.connectionsPerTick,
      LIMITS.connectionsEndedPerTick,
    );
    for (const ref of [...connections.endings(), ...told]) {
      telling.wentOn(ref);
      connections.told(ref);
    }
    return tagsOf(ended);
  }

  /** Connections whose public port nobody owns any more end: the next owner may choose it. */
  release(isOwned: (translation: Translation) => boolean): readonly Tag[] {
    return tagsOf(this.#options.connections.keepTranslations(isOwned));
  }

  /** Records of devices that are not any more go: their numbers mean nothing here. */
  follow(): readonly Tag[] {
    const { connections, topology } = this.#options;
    return tagsOf(connections.keepZones((zone) => isZone(topology, zone)));
  }
}
