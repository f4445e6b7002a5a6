/**
 * What agents tell each other of connections, as bytes: whole records, so that each can be lost,
 * doubled or overtaken without harm, under one MAC for the datagram.
 *
 * Invariants: nothing of a datagram is looked at before its MAC was; every length is checked, and a
 * datagram is taken whole or not at all. All numbers in network order.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { ConnectionRecord } from '#flow/connection-records.ts';
import { readIp4, readIp6, writeIp4, writeIp6, isIp6, type Ip } from '#net/ip.ts';
import { NO_TRANSLATIONS, TRANSLATIONS_MAX } from '#virtual/connection.ts';
import type { ConnectionKey, Translation, Zone } from '#virtual/connection.ts';
import type { PortId } from '#virtual/ids.ts';

/** Bytes of a datagram: with IPv6 and UDP around it, what every underlay of MTU 1,500 carries. */
export const DATAGRAM_BYTES_MAX = 1_400;
const MAGIC = 0x4d4e_5233;
export const HEADER_BYTES = 36;
const MAC_BYTES = 16;
/** Of a record before its addresses, and with them. */
const FIXED_BYTES = 64;
const RECORD_BYTES = { ip4: FIXED_BYTES + 4 * 4, ip6: FIXED_BYTES + 4 * 16 } as const;
/** Records of one datagram, at most. */
export const RECORDS_MAX = Math.floor(
  (DATAGRAM_BYTES_MAX - HEADER_BYTES - MAC_BYTES) / RECORD_BYTES.ip4,
);
/** A translation of a record before its two addresses. */
const TRANSLATION_BYTES = 12;
/** A question before its addresses, and with them. */
const ASK_FIXED_BYTES = 12;
const ASK_BYTES = { ip4: ASK_FIXED_BYTES + 2 * 4, ip6: ASK_FIXED_BYTES + 2 * 16 } as const;
/** Questions of one datagram, at most. */
export const ASKS_MAX = 16;
/** An age that stands for "never". */
const NEVER = 0xffff_ffff;
const FLAG = { six: 1 } as const;
/** Where the flags of a record say how many translations it has. */
const COUNT_SHIFT = 4;

/**
 * `boot`: a random number of the sending process; `peerBoot`: that of the receiving one, as far as
 * it is known, 0: not yet. `sequence`: counts datagrams with records from 1, 0: there are none.
 * `ack`: the newest sequence seen of the peer; bit i of `ackBits` says that `ack` − 1 − i was, too.
 */
export interface Header {
  readonly epoch: number;
  readonly boot: number;
  readonly sequence: number;
  readonly peerBoot: number;
  readonly ack: number;
  readonly ackBits: number;
  /** Whenever it is another number, the sender wants to be told everything anew. */
  readonly wants: number;
  /** Counts datagrams with questions, from 1, as 16 bits do; 0: there was none. */
  readonly asked: number;
  /** The newest `asked` of the peer whose questions were looked at: what is known is on its way. */
  readonly answered: number;
}
export interface Datagram {
  readonly header: Header;
  readonly records: readonly TellingRecord[];
  /** Keys that answers have, where they enter: whoever knows such a record is to tell it. */
  readonly asks: readonly ConnectionKey[];
}
/** A record, with ages in place of times: milliseconds since; undefined: never. */
export interface TellingRecord {
  readonly forward: ConnectionKey;
  readonly returns: ConnectionKey;
  readonly inPort: PortId | undefined;
  readonly outPort: PortId | undefined;
  readonly ages: readonly [number | undefined, number | undefined];
  readonly tcp: readonly [number, number];
  readonly incarnation: number;
  readonly translations: readonly Translation[];
}

/** `nowMs`: on the clock of the record. */
export function tellingOf(record: ConnectionRecord, nowMs: number): TellingRecord {
  const { halves, createdMs: _, ...rest } = record;
  const age = (seenMs: number): number | undefined =>
    seenMs === 0 ? undefined : Math.max(0, Math.round(nowMs - seenMs));
  return {
    ...rest,
    ages: [age(halves[0].seenMs), age(halves[1].seenMs)],
    tcp: [halves[0].tcp, halves[1].tcp],
  };
}
/** The record as it is on this clock; never older than the clock. */
export function recordOf(told: TellingRecord, nowMs: number): ConnectionRecord {
  const { ages, tcp, ...rest } = told;
  const half = (side: 0 | 1) => {
    const age = ages[side];
    return { seenMs: age === undefined ? 0 : Math.max(1, nowMs - age), tcp: tcp[side] };
  };
  const halves = [half(0), half(1)] as const;
  // What is made of it must not say that packets were seen which only the answers' half knows.
  return { ...rest, createdMs: halves[0].seenMs || halves[1].seenMs || 1, halves };
}

const isSix = ({ forward }: TellingRecord): boolean => isIp6(forward.tuple.src);
const sizeOf = (six: boolean, translations: number): number =>
  (six ? RECORD_BYTES.ip6 : RECORD_BYTES.ip4) +
  translations * (TRANSLATION_BYTES + 2 * (six ? 16 : 4));
export const sizeOfRecord = (record: TellingRecord): number =>
  sizeOf(isSix(record), record.translations.length);
/** Bytes of a datagram that are left for records. */
export const ROOM = DATAGRAM_BYTES_MAX - HEADER_BYTES - MAC_BYTES;

function putId(bytes: Uint8Array, at: number, id: PortId | undefined): void {
  if (id === undefined) return;
  const digits = id.replaceAll('-', '');
  for (let i = 0; i < 16; i++)
    bytes[at + i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16) || 0;
}
function idAt(bytes: Uint8Array, at: number): PortId | undefined {
  const digits = Buffer.from(bytes.buffer, bytes.byteOffset + at, 16).toString('hex');
  if (/^0*$/.test(digits)) return undefined;
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5') as PortId;
}
const putIp = (bytes: Uint8Array, at: number, ip: Ip): void => {
  if (isIp6(ip)) writeIp6(bytes, at, ip);
  else writeIp4(bytes, at, ip);
};

/**
 * One record: family, protocol, flags of TCP of both halves; zones; ages; ports; ids of the ports;
 * incarnation; addresses; of each translation the router's zone, both ports, which end, and both
 * addresses.
 */
function putRecord(view: DataView, bytes: Uint8Array, at: number, record: TellingRecord): number {
  const { forward, returns, ages, tcp } = record;
  const six = isSix(record);
  bytes[at] = (six ? FLAG.six : 0) | (record.translations.length << COUNT_SHIFT);
  bytes[at + 1] = forward.tuple.protocol;
  bytes[at + 2] = tcp[0];
  bytes[at + 3] = tcp[1];
  view.setUint32(at + 4, forward.zone);
  view.setUint32(at + 8, returns.zone);
  for (const [i, age] of ages.entries()) view.setUint32(at + 12 + 4 * i, age ?? NEVER);
  for (const [i, { tuple }] of [forward, returns].entries()) {
    view.setUint16(at + 20 + 4 * i, tuple.srcPort);
    view.setUint16(at + 22 + 4 * i, tuple.dstPort);
  }
  putId(bytes, at + 28, record.inPort);
  putId(bytes, at + 44, record.outPort);
  view.setUint32(at + 60, record.incarnation);
  const wide = six ? 16 : 4;
  const ips = [forward.tuple.src, forward.tuple.dst, returns.tuple.src, returns.tuple.dst];
  for (const [i, ip] of ips.entries()) putIp(bytes, at + FIXED_BYTES + wide * i, ip);
  let next = at + FIXED_BYTES + 4 * wide;
  for (const { zone, changes, from, to } of record.translations) {
    view.setUint32(next, zone);
    view.setUint16(next + 4, from.port);
    view.setUint16(next + 6, to.port);
    bytes[next + 8] = changes === 'destination' ? 1 : 0;
    putIp(bytes, next + TRANSLATION_BYTES, from.ip);
    putIp(bytes, next + TRANSLATION_BYTES + wide, to.ip);
    next += TRANSLATION_BYTES + 2 * wide;
  }
  return next;
}

function translationsAt(view: DataView, bytes: Uint8Array, at: number): readonly Translation[] {
  const count = bytes[at]! >> COUNT_SHIFT;
  if (count === 0) return NO_TRANSLATIONS;
  const six = (bytes[at]! & FLAG.six) !== 0;
  const wide = six ? 16 : 4;
  const read = six ? readIp6 : readIp4;
  return Array.from({ length: count }, (_, i): Translation => {
    const from = at + FIXED_BYTES + 4 * wide + i * (TRANSLATION_BYTES + 2 * wide);
    const ips = from + TRANSLATION_BYTES;
    return {
      zone: view.getUint32(from) as Zone,
      changes: bytes[from + 8] === 1 ? 'destination' : 'source',
      from: { ip: read(bytes, ips), port: view.getUint16(from + 4) },
      to: { ip: read(bytes, ips + wide), port: view.getUint16(from + 6) },
    };
  });
}

function recordAt(view: DataView, bytes: Uint8Array, at: number): TellingRecord {
  const six = (bytes[at]! & FLAG.six) !== 0;
  const wide = six ? 16 : 4;
  const ip = (i: number): Ip => (six ? readIp6 : readIp4)(bytes, at + FIXED_BYTES + wide * i);
  const key = (i: 0 | 1): ConnectionKey => ({
    zone: view.getUint32(at + 4 + 4 * i) as Zone,
    tuple: {
      protocol: bytes[at + 1]!,
      src: ip(2 * i),
      dst: ip(2 * i + 1),
      srcPort: view.getUint16(at + 20 + 4 * i),
      dstPort: view.getUint16(at + 22 + 4 * i),
    },
  });
  const age = (i: 0 | 1): number | undefined => {
    const told = view.getUint32(at + 12 + 4 * i);
    return told === NEVER ? undefined : told;
  };
  return {
    forward: key(0),
    returns: key(1),
    inPort: idAt(bytes, at + 28),
    outPort: idAt(bytes, at + 44),
    ages: [age(0), age(1)],
    tcp: [bytes[at + 2]!, bytes[at + 3]!],
    incarnation: view.getUint32(at + 60),
    translations: translationsAt(view, bytes, at),
  };
}

function putAsk(view: DataView, bytes: Uint8Array, at: number, key: ConnectionKey): number {
  const { protocol, src, dst, srcPort, dstPort } = key.tuple;
  const six = isIp6(src);
  const wide = six ? 16 : 4;
  bytes[at] = six ? FLAG.six : 0;
  bytes[at + 1] = protocol;
  view.setUint32(at + 4, key.zone);
  view.setUint16(at + 8, srcPort);
  view.setUint16(at + 10, dstPort);
  putIp(bytes, at + ASK_FIXED_BYTES, src);
  putIp(bytes, at + ASK_FIXED_BYTES + wide, dst);
  return at + ASK_FIXED_BYTES + 2 * wide;
}
function askAt(view: DataView, bytes: Uint8Array, at: number): ConnectionKey {
  const six = (bytes[at]! & FLAG.six) !== 0;
  const ip = (i: number): Ip =>
    (six ? readIp6 : readIp4)(bytes, at + ASK_FIXED_BYTES + (six ? 16 : 4) * i);
  return {
    zone: view.getUint32(at + 4) as Zone,
    tuple: {
      protocol: bytes[at + 1]!,
      src: ip(0),
      dst: ip(1),
      srcPort: view.getUint16(at + 8),
      dstPort: view.getUint16(at + 10),
    },
  };
}

const macOf = (bytes: Uint8Array, key: Uint8Array): Buffer =>
  createHmac('sha256', key).update(bytes).digest().subarray(0, MAC_BYTES);

/** A datagram; the records must fit (`ROOM`, `sizeOfRecord`), or, without any, ASKS_MAX asks. */
export function encode({ header, records, asks }: Datagram, key: Uint8Array): Uint8Array {
  const asked = asks.reduce(
    (sum, { tuple }) => sum + (isIp6(tuple.src) ? ASK_BYTES.ip6 : ASK_BYTES.ip4),
    HEADER_BYTES,
  );
  const size = records.reduce((sum, record) => sum + sizeOfRecord(record), asked);
  const bytes = new Uint8Array(size + MAC_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC);
  view.setUint32(4, header.epoch);
  view.setUint32(8, header.boot);
  view.setUint32(12, header.sequence);
  view.setUint32(16, header.peerBoot);
  view.setUint32(20, header.ack);
  view.setUint32(24, header.ackBits);
  view.setUint8(28, records.length);
  view.setUint8(29, asks.length);
  view.setUint16(30, header.wants);
  view.setUint16(32, header.asked);
  view.setUint16(34, header.answered);
  let at = HEADER_BYTES;
  for (const record of records) at = putRecord(view, bytes, at, record);
  for (const ask of asks) at = putAsk(view, bytes, at, ask);
  bytes.set(macOf(bytes.subarray(0, at), key), at);
  return bytes;
}

/** The epoch by whose key a datagram is to be read; undefined: it is none of ours. */
export function epochOf(bytes: Uint8Array): number | undefined {
  if (bytes.length < HEADER_BYTES + MAC_BYTES || bytes.length > DATAGRAM_BYTES_MAX)
    return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(0) === MAGIC ? view.getUint32(4) : undefined;
}

/** Undefined: `epochOf` refuses it, it was not made with this key, or it is not whole. */
export function decode(bytes: Uint8Array, key: Uint8Array): Datagram | undefined {
  const epoch = epochOf(bytes);
  if (epoch === undefined) return undefined;
  const end = bytes.length - MAC_BYTES;
  if (!timingSafeEqual(macOf(bytes.subarray(0, end), key), bytes.subarray(end))) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = {
    epoch,
    boot: view.getUint32(8),
    sequence: view.getUint32(12),
    peerBoot: view.getUint32(16),
    ack: view.getUint32(20),
    ackBits: view.getUint32(24),
    wants: view.getUint16(30),
    asked: view.getUint16(32),
    answered: view.getUint16(34),
  };
  const [records, asks]: [TellingRecord[], ConnectionKey[]] = [[], []];
  let at = HEADER_BYTES;
  const sizeAt = ({ ip4, ip6 }: { readonly ip4: number; readonly ip6: number }): number =>
    at < end && (bytes[at]! & FLAG.six) !== 0 ? ip6 : ip4;
  for (let n = view.getUint8(28); n > 0; n--) {
    if (at >= end) return undefined;
    const count = bytes[at]! >> COUNT_SHIFT;
    const size = sizeOf((bytes[at]! & FLAG.six) !== 0, count);
    if (count > TRANSLATIONS_MAX || at + size > end) return undefined;
    records.push(recordAt(view, bytes, at));
    at += size;
  }
  for (let n = view.getUint8(29); n > 0; n--) {
    const size = sizeAt(ASK_BYTES);
    if (at + size > end) return undefined;
    asks.push(askAt(view, bytes, at));
    at += size;
  }
  return at === end ? { header, records, asks } : undefined;
}
