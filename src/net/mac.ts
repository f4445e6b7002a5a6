/**
 * IEEE 802 MAC addresses as numbers, so that they compare, hash and key maps without allocation.
 *
 * Invariant: a `Mac` is an integer of at most 48 bits, the first octet on the wire the highest.
 */
import { read16, read32, write16, write32 } from './bytes.ts';

/** A 48-bit MAC address. Too wide for bit operators: use the functions here. */
export type Mac = number & { readonly brand: 'Mac' };

export const BROADCAST = 0xffffffffffff as Mac;
export const ZERO_MAC = 0 as Mac;

const OCTET_4 = 2 ** 32;
const OCTET_5 = 2 ** 40;
const COLON = 58;

/** The value of an ASCII hexadecimal digit, -1 for anything else. */
const digitOf = (code: number): number => {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
};

/** Exactly `aa:bb:cc:dd:ee:ff` in either case; `undefined` for every other text. */
export function parseMac(text: string): Mac | undefined {
  if (text.length !== 17) return undefined;
  let mac = 0;
  for (let i = 0; i < 17; i += 3) {
    const high = digitOf(text.charCodeAt(i));
    const low = digitOf(text.charCodeAt(i + 1));
    if (high < 0 || low < 0) return undefined;
    if (i < 15 && text.charCodeAt(i + 2) !== COLON) return undefined;
    mac = mac * 256 + high * 16 + low;
  }
  return mac as Mac;
}

/**
 * Every byte as two digits: every step of a walk tells a MAC, and `toString` took twice as long.
 */
const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, '0'),
);

/** `aa:bb:cc:dd:ee:ff`, lower case. */
export function formatMac(mac: Mac): string {
  const high = Math.floor(mac / OCTET_4);
  const low = mac >>> 0;
  const first = `${HEX[high >>> 8]}:${HEX[high & 255]}:${HEX[low >>> 24]}`;
  return `${first}:${HEX[(low >>> 16) & 255]}:${HEX[(low >>> 8) & 255]}:${HEX[low & 255]}`;
}

/** Multicast or broadcast: the individual/group bit is set (IEEE 802-2014 §8.2.2). */
export const isGroup = (mac: Mac): boolean => ((mac / OCTET_5) & 1) !== 0;

const RESERVED_FIRST = 0x0180c2000000;
const RESERVED_LAST = 0x0180c200000f;
/** Groups that reach no further than the next bridge (IEEE 802.1Q table 8-1). */
export const isReservedGroup = (mac: Mac): boolean => mac >= RESERVED_FIRST && mac <= RESERVED_LAST;

/** The caller has checked that six bytes are there. */
export const readMac = (bytes: Uint8Array, at: number): Mac =>
  (read16(bytes, at) * OCTET_4 + read32(bytes, at + 2)) as Mac;

/** The caller has checked that there is room for six bytes. */
export function writeMac(bytes: Uint8Array, at: number, mac: Mac): void {
  write16(bytes, at, Math.floor(mac / OCTET_4));
  write32(bytes, at + 2, mac);
}

/** The bits of a MAC that a mask has. */
export const macUnder = (mac: Mac, mask: Mac): Mac =>
  (((Math.floor(mac / OCTET_4) & Math.floor(mask / OCTET_4)) >>> 0) * OCTET_4 +
    ((mac & mask) >>> 0)) as Mac;
