/**
 * Reads and writes the records of a `ConnectionMemory`; knows nothing of who needs them.
 *
 * Invariant: as `connection-layout.ts` says, a slot is a record exactly while its generation is not
 * 0. All of a record is written by one thread; the halves may be stamped by others meanwhile.
 */
import { NO_TRANSLATIONS, TRANSLATIONS_MAX } from '#virtual/connection.ts';
import type { ConnectionKey, Endpoint, Translation, Tuple, Zone } from '#virtual/connection.ts';
import type { PortId } from '#virtual/ids.ts';
import { readIp4, readIp6, writeIp4, writeIp6, isIp6, type Ip } from '#net/ip.ts';
import { CONNECTION, CONNECTION_BYTES, type ConnectionMemory } from './connection-layout.ts';
import type { Half } from './connection-timeouts.ts';
import { offsets, sizeOf } from './layout.ts';

const AT = offsets(CONNECTION);
if (sizeOf(CONNECTION) !== CONNECTION_BYTES) throw new Error('connection: not of the size it has');
const WORDS = CONNECTION_BYTES / 4;
const NS_PER_MS = 1e6;
/** Milliseconds of the upper word of nanoseconds. */
const HIGH_MS = 2 ** 32 / NS_PER_MS;

/** A key in words: zone, protocol and family, both addresses, both ports. */
export const KEY_WORDS = 11;
/** Where these words are in a record, of either direction. */
const PLACES = [
  { zone: AT.zone, src: AT.src, dst: AT.dst, ports: AT.src_port },
  { zone: AT.return_zone, src: AT.return_src, dst: AT.return_dst, ports: AT.return_src_port },
] as const;

/** 0: forward, 1: back. */
export type Side = 0 | 1;

/** One record as values. Times on the datapath's clock, in milliseconds. */
export interface ConnectionRecord {
  readonly forward: ConnectionKey;
  readonly returns: ConnectionKey;
  readonly inPort: PortId | undefined;
  readonly outPort: PortId | undefined;
  readonly createdMs: number;
  /** What routers have made of its ends, in the order of the forward way. */
  readonly translations: readonly Translation[];
  /**
   * Another one says that the same ends began anew: halves of different ones are of different
   * connections.
   */
  readonly incarnation: number;
  readonly halves: readonly [forward: Half, back: Half];
}
export type NewRecord = Omit<ConnectionRecord, 'halves' | 'incarnation'>;

const UUID_DIGITS = 32;
const DASHES = [8, 13, 18, 23];

function writeId(bytes: Uint8Array, at: number, id: PortId | undefined): void {
  const digits = (id ?? '').replaceAll('-', '').padEnd(UUID_DIGITS, '0');
  for (let i = 0; i < 16; i++)
    bytes[at + i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16) || 0;
}
function readId(bytes: Uint8Array, at: number): PortId | undefined {
  let digits = '';
  for (let i = 0; i < 16; i++) digits += bytes[at + i]!.toString(16).padStart(2, '0');
  if (/^0*$/.test(digits)) return undefined;
  for (const dash of DASHES) digits = `${digits.slice(0, dash)}-${digits.slice(dash)}`;
  return digits as PortId;
}

export class ConnectionRecords {
  readonly slots: number;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #view: DataView;
  readonly #keyBytes = new Uint8Array(KEY_WORDS * 4);
  /** What `encode` wrote last. */
  readonly key: Uint32Array = new Uint32Array(this.#keyBytes.buffer);

  constructor({ slots, bytes }: ConnectionMemory) {
    if (bytes.length < slots * CONNECTION_BYTES) throw new Error('connections: too little memory');
    this.slots = slots;
    this.#bytes = bytes;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, slots * WORDS);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, slots * CONNECTION_BYTES);
  }

  generation(slot: number): number {
    return this.#words[slot * WORDS + AT.generation / 4]!;
  }
  setGeneration(slot: number, generation: number): void {
    this.#words[slot * WORDS + AT.generation / 4] = generation;
  }

  incarnation(slot: number): number {
    return this.#words[slot * WORDS + AT.incarnation / 4]!;
  }
  setIncarnation(slot: number, incarnation: number): void {
    this.#words[slot * WORDS + AT.incarnation / 4] = incarnation;
  }

  /** Writes a key into `key`. */
  encode(zone: number, { protocol, src, dst, srcPort, dstPort }: Tuple): void {
    const { key } = this;
    key.fill(0);
    key[0] = zone;
    key[1] = protocol | (isIp6(src) ? 0x100 : 0);
    this.#putIp(8, src);
    this.#putIp(24, dst);
    key[10] = swapped(srcPort) | (swapped(dstPort) << 16);
  }
  #putIp(at: number, ip: Ip): void {
    if (isIp6(ip)) writeIp6(this.#keyBytes, at, ip);
    else writeIp4(this.#keyBytes, at + 12, ip);
  }

  /** Writes the key of a record's side into `key`. */
  load(slot: number, side: Side): void {
    const base = slot * WORDS;
    const place = PLACES[side];
    const { key } = this;
    const words = this.#words;
    key[0] = words[base + place.zone / 4]!;
    key[1] = words[base + AT.protocol / 4]! & 0xffff;
    for (let i = 0; i < 4; i++) {
      key[2 + i] = words[base + place.src / 4 + i]!;
      key[6 + i] = words[base + place.dst / 4 + i]!;
    }
    key[10] = words[base + place.ports / 4]!;
  }
  /** Whether the key of a record's side is the one in `key`. */
  has(slot: number, side: Side): boolean {
    const base = slot * WORDS;
    const place = PLACES[side];
    const { key } = this;
    const words = this.#words;
    if (words[base + place.ports / 4] !== key[10] || words[base + place.zone / 4] !== key[0])
      return false;
    for (let i = 0; i < 4; i++) {
      if (words[base + place.src / 4 + i] !== key[2 + i]) return false;
      if (words[base + place.dst / 4 + i] !== key[6 + i]) return false;
    }
    return (words[base + AT.protocol / 4]! & 0xffff) === key[1];
  }

  /** Writes all of a record but its generation. */
  put(slot: number, wanted: NewRecord): void {
    const { forward, returns, inPort, outPort, createdMs, translations } = wanted;
    const base = slot * WORDS;
    this.#words.fill(0, base + 1, base + WORDS);
    for (const [side, { zone, tuple }] of [forward, returns].entries()) {
      this.encode(zone, tuple);
      this.#putKey(base, PLACES[side as Side]);
    }
    const at = slot * CONNECTION_BYTES;
    writeId(this.#bytes, at + AT.in_port, inPort);
    writeId(this.#bytes, at + AT.out_port, outPort);
    this.#putMs(at + AT.created, createdMs);
    this.#bytes[at + AT.translations] = translations.length;
    for (const [i, each] of translations.entries()) this.#putTranslation(at, i, each);
  }
  #putTranslation(at: number, i: number, { zone, changes, from, to }: Translation): void {
    const view = this.#view;
    view.setUint32(at + AT.nat_zone + 4 * i, zone, true);
    this.#bytes[at + AT.nat_changes + i] = changes === 'destination' ? 1 : 0;
    view.setUint16(at + AT.nat_from_port + 2 * i, from.port);
    view.setUint16(at + AT.nat_to_port + 2 * i, to.port);
    this.#writeIp(at + AT.nat_from + 16 * i, from.ip);
    this.#writeIp(at + AT.nat_to + 16 * i, to.ip);
  }
  #writeIp(at: number, ip: Ip): void {
    if (isIp6(ip)) writeIp6(this.#bytes, at, ip);
    else writeIp4(this.#bytes, at + 12, ip);
  }
  /** Most have none. */
  translations(slot: number): readonly Translation[] {
    const at = slot * CONNECTION_BYTES;
    const count = this.#bytes[at + AT.translations]!;
    if (count === 0) return NO_TRANSLATIONS;
    const six = this.#bytes[at + AT.six] !== 0;
    const view = this.#view;
    return Array.from({ length: Math.min(count, TRANSLATIONS_MAX) }, (_, i): Translation => {
      const end = (ip: number, port: number): Endpoint => ({
        ip: six
          ? readIp6(this.#bytes, at + ip + 16 * i)
          : readIp4(this.#bytes, at + ip + 16 * i + 12),
        port: view.getUint16(at + port + 2 * i),
      });
      return {
        zone: view.getUint32(at + AT.nat_zone + 4 * i, true) as Zone,
        changes: this.#bytes[at + AT.nat_changes + i] === 1 ? 'destination' : 'source',
        from: end(AT.nat_from, AT.nat_from_port),
        to: end(AT.nat_to, AT.nat_to_port),
      };
    });
  }
  #putKey(base: number, { zone, src, dst, ports }: (typeof PLACES)[number]): void {
    const { key } = this;
    const words = this.#words;
    words[base + zone / 4] = key[0]!;
    words[base + AT.protocol / 4] = key[1]!;
    for (let i = 0; i < 4; i++) {
      words[base + src / 4 + i] = key[2 + i]!;
      words[base + dst / 4 + i] = key[6 + i]!;
    }
    words[base + ports / 4] = key[10]!;
  }

  zone(slot: number, side: Side): Zone {
    return this.#words[slot * WORDS + PLACES[side].zone / 4] as Zone;
  }
  protocol(slot: number): number {
    return this.#bytes[slot * CONNECTION_BYTES + AT.protocol]!;
  }
  createdMs(slot: number): number {
    return this.#ms(slot * CONNECTION_BYTES + AT.created);
  }
  seenMs(slot: number, side: Side): number {
    return this.#ms(slot * CONNECTION_BYTES + AT.seen + side * 8);
  }
  tcp(slot: number, side: Side): number {
    return this.#words[slot * WORDS + AT.tcp / 4 + side]!;
  }
  half(slot: number, side: Side): Half {
    return { seenMs: this.seenMs(slot, side), tcp: this.tcp(slot, side) };
  }
  /** A stamp of another host is laid over what is known: the later time, all flags. */
  stamp(slot: number, side: Side, { seenMs, tcp }: Half): void {
    if (seenMs > this.seenMs(slot, side))
      this.#putMs(slot * CONNECTION_BYTES + AT.seen + side * 8, seenMs);
    this.#words[slot * WORDS + AT.tcp / 4 + side]! |= tcp;
  }
  /** Nothing was seen of either direction. */
  clear(slot: number): void {
    const base = slot * WORDS;
    this.#words.fill(0, base + AT.seen / 4, base + AT.seen / 4 + 6);
  }

  inPort(slot: number): PortId | undefined {
    return readId(this.#bytes, slot * CONNECTION_BYTES + AT.in_port);
  }
  outPort(slot: number): PortId | undefined {
    return readId(this.#bytes, slot * CONNECTION_BYTES + AT.out_port);
  }
  /** Whether the record entered or left by a port, given as `idWords` answers it. */
  concerns(slot: number, id: Uint32Array): boolean {
    const base = slot * WORDS;
    const is = (at: number): boolean => {
      for (let i = 0; i < 4; i++) if (this.#words[base + at / 4 + i] !== id[i]) return false;
      return true;
    };
    return is(AT.in_port) || is(AT.out_port);
  }

  keyOf(slot: number, side: Side): ConnectionKey {
    const at = slot * CONNECTION_BYTES;
    const { zone, src, dst, ports } = PLACES[side];
    const six = this.#bytes[at + AT.six] !== 0;
    const ip = (from: number): Ip =>
      six ? readIp6(this.#bytes, at + from) : readIp4(this.#bytes, at + from + 12);
    const tuple = {
      protocol: this.protocol(slot),
      src: ip(src),
      dst: ip(dst),
      srcPort: this.#view.getUint16(at + ports),
      dstPort: this.#view.getUint16(at + ports + 2),
    };
    return { zone: this.#words[(at + zone) / 4] as Zone, tuple };
  }
  read(slot: number): ConnectionRecord {
    return {
      forward: this.keyOf(slot, 0),
      returns: this.keyOf(slot, 1),
      inPort: this.inPort(slot),
      outPort: this.outPort(slot),
      createdMs: this.createdMs(slot),
      incarnation: this.incarnation(slot),
      translations: this.translations(slot),
      halves: [this.half(slot, 0), this.half(slot, 1)],
    };
  }

  #ms(at: number): number {
    return (
      this.#view.getUint32(at, true) / NS_PER_MS + this.#view.getUint32(at + 4, true) * HIGH_MS
    );
  }
  #putMs(at: number, ms: number): void {
    const high = Math.floor(ms / HIGH_MS);
    this.#view.setUint32(at + 4, high, true);
    this.#view.setUint32(at, Math.floor((ms - high * HIGH_MS) * NS_PER_MS), true);
  }
}

/** A port's number as it is in a key: network order. */
const swapped = (port: number): number => (port >> 8) | ((port & 0xff) << 8);

/** The id of a port as it is in records. */
export function idWords(id: PortId): Uint32Array {
  const bytes = new Uint8Array(16);
  writeId(bytes, 0, id);
  return new Uint32Array(bytes.buffer);
}
