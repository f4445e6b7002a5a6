/**
 * Capture files in the pcapng format (draft-ietf-opsawg-pcapng): one section, one Ethernet
 * interface, microseconds, and for each frame its direction and a comment, which classic files
 * have no room for.
 *
 * Invariant: every block is whole and padded to 32 bits, so a file that ends after any of them is
 * one that others read.
 */
const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;
const LENGTH_UNKNOWN = 0xffffffff;
const OPTION = { end: 0, comment: 1, interfaceName: 2, application: 4, flags: 2 } as const;
const OPTION_BYTES_MAX = 0xffff;
const US_PER_MS = 1_000;

const padded = (bytes: number): number => Math.ceil(bytes / 4) * 4;

interface Option {
  readonly code: number;
  readonly value: Uint8Array;
}
/** `text`: in UTF-8. */
const textOption = (code: number, text: Uint8Array): Option => ({
  code,
  value: text.subarray(0, OPTION_BYTES_MAX),
});

/** A block of words, bytes and options, between its type and its length. */
function block(
  type: number,
  words: readonly number[],
  { data = new Uint8Array(0), options }: { data?: Uint8Array; options: readonly Option[] },
): Uint8Array {
  const optionBytes = options.reduce((sum, { value }) => sum + 4 + padded(value.length), 4);
  const size = 12 + 4 * words.length + padded(data.length) + optionBytes;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let at = 0;
  const put32 = (value: number): void => {
    view.setUint32(at, value, true);
    at += 4;
  };
  for (const word of [type, size, ...words]) put32(word >>> 0);
  bytes.set(data, at);
  at += padded(data.length);
  for (const { code, value } of options) {
    put32(code | (value.length << 16));
    bytes.set(value, at);
    at += padded(value.length);
  }
  put32(OPTION.end);
  put32(size);
  return bytes;
}

/** What a file begins with: who made it, and the interface that frames are of; both in UTF-8. */
export function pcapngHeader(about: {
  readonly application: Uint8Array;
  readonly name: Uint8Array;
  readonly snapLength: number;
}): Uint8Array {
  // Version 1.0: the major number is in the low half of the word.
  const section = block(SECTION, [BYTE_ORDER, 1, LENGTH_UNKNOWN, LENGTH_UNKNOWN], {
    options: [textOption(OPTION.application, about.application)],
  });
  const interfaces = block(INTERFACE, [LINKTYPE_ETHERNET, about.snapLength], {
    options: [textOption(OPTION.interfaceName, about.name)],
  });
  const bytes = new Uint8Array(section.length + interfaces.length);
  bytes.set(section);
  bytes.set(interfaces, section.length);
  return bytes;
}

export interface PcapngFrame {
  /** Milliseconds since 1970, with their fraction. */
  readonly atMs: number;
  readonly frame: Uint8Array;
  /** Of the frame on the wire, where `frame` may be cut short. */
  readonly originalLength: number;
  /** In UTF-8. */
  readonly comment: Uint8Array;
  readonly direction: 'in' | 'out';
}

/** One frame, to be appended. */
export function pcapngFrame(given: PcapngFrame): Uint8Array {
  const { atMs, frame, originalLength, comment, direction } = given;
  const us = Math.round(atMs * US_PER_MS);
  const [high, low] = [Math.floor(us / 2 ** 32), us % 2 ** 32];
  const flags = {
    code: OPTION.flags,
    value: new Uint8Array([direction === 'in' ? 1 : 2, 0, 0, 0]),
  };
  return block(ENHANCED_PACKET, [0, high, low, frame.length, originalLength], {
    data: frame,
    options: [textOption(OPTION.comment, comment), flags],
  });
}
