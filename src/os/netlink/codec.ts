/**
 * Netlink messages as bytes (linux/netlink.h, rtnetlink.h): building, and reading what the kernel
 * says.
 *
 * Invariant: reading checks every length against what is there; junk gives fewer messages or
 * attributes, never an exception and never bytes from outside.
 */

export const HEADER_BYTES = 16;
export const NLM = {
  request: 1,
  ack: 4,
  dump: 0x300,
  create: 0x400,
  exclusive: 0x200,
  replace: 0x100,
} as const;
export const MESSAGE = { error: 2, done: 3 } as const;
/** Attribute types carry two flag bits on top. */
const TYPE_MASK = 0x3fff;
const NESTED = 0x8000;

const align4 = (n: number): number => (n + 3) & ~3;

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** What follows the header. */
  readonly body: Uint8Array;
}

export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

export function encodeMessage({ type, flags, sequence, body }: Message): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + body.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, out.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  out.set(body, HEADER_BYTES);
  return out;
}

/** All whole messages of a datagram. */
export function decodeMessages(bytes: Uint8Array): Message[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: Message[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length;) {
    const length = view.getUint32(at, true);
    if (length < HEADER_BYTES || at + length > bytes.length) break;
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      body: bytes.subarray(at + HEADER_BYTES, at + length),
    });
    at += align4(length);
  }
  return messages;
}

/** The errno of an error message (0: an acknowledgement); undefined when it is not a whole one. */
export function errorOf(message: Message): number | undefined {
  if (message.type !== MESSAGE.error || message.body.length < 4) return undefined;
  const { body } = message;
  return -new DataView(body.buffer, body.byteOffset, 4).getInt32(0, true);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** One attribute, padded to four bytes. */
export function attribute(type: number, value: Uint8Array): Uint8Array {
  const out = new Uint8Array(align4(4 + value.length));
  const view = new DataView(out.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  out.set(value, 4);
  return out;
}

export const nested = (type: number, ...parts: readonly Uint8Array[]): Uint8Array =>
  attribute(type | NESTED, concat(...parts));

export const u8 = (value: number): Uint8Array => Uint8Array.of(value);
export const u16 = (value: number): Uint8Array => Uint8Array.of(value & 255, (value >> 8) & 255);
/** In network order. */
export const u16be = (value: number): Uint8Array => Uint8Array.of((value >> 8) & 255, value & 255);
export const u32 = (value: number): Uint8Array =>
  Uint8Array.of(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24);
/** With its NUL. */
export const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);

/** The attributes of `bytes` from `at` on, in order; stops at the first that is not whole. */
export function decodeAttributes(bytes: Uint8Array, at = 0): Attribute[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const attributes: Attribute[] = [];
  while (at + 4 <= bytes.length) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) break;
    attributes.push({
      type: view.getUint16(at + 2, true) & TYPE_MASK,
      value: bytes.subarray(at + 4, at + length),
    });
    at += align4(length);
  }
  return attributes;
}

export const find = (attributes: readonly Attribute[], type: number): Uint8Array | undefined =>
  attributes.find((each) => each.type === type)?.value;

/** Little-endian; undefined when there are fewer than four bytes. */
export const readU32 = (value: Uint8Array | undefined): number | undefined =>
  value === undefined || value.length < 4
    ? undefined
    : new DataView(value.buffer, value.byteOffset, 4).getUint32(0, true);

export const readU16be = (value: Uint8Array | undefined): number | undefined =>
  value === undefined || value.length < 2 ? undefined : (value[0]! << 8) | value[1]!;

/** Up to the first NUL. */
export function readText(value: Uint8Array | undefined): string | undefined {
  if (value === undefined) return undefined;
  const end = value.indexOf(0);
  return new TextDecoder().decode(end < 0 ? value : value.subarray(0, end));
}
