/**
 * Reading and writing numbers in network byte order, without a DataView per frame.
 *
 * Invariant: nothing throws. A byte outside the array reads as 0 and is not written; decoders check
 * lengths before they read, so that this never decides anything.
 */

export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);

export const read8 = (bytes: Uint8Array, at: number): number => bytes[at] ?? 0;

export const read16 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

export const read32 = (bytes: Uint8Array, at: number): number =>
  ((read16(bytes, at) << 16) | read16(bytes, at + 2)) >>> 0;

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Lower-case digits, two for a byte. */
export const hexOf = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
