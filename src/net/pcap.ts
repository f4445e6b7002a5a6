/**
 * Capture files in the classic libpcap format: microseconds, link type Ethernet (the file format's
 * description: draft-ietf-opsawg-pcap). Written in one byte order, read in both.
 *
 * Invariant: a file that was cut off in the middle of a record still gives every record before it.
 */
export const PCAP_SNAP_LENGTH = 262_144;
/** A record that claims to hold more than this is taken for damage. */
export const PCAP_RECORD_MAX = 0x100000;

const HEADER_SIZE = 24;
const RECORD_SIZE = 16;
const MAGIC_US = 0xa1b2c3d4;
const MAGIC_NS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const SECOND_US = 1_000_000;

/**
 * `timeUs`: since 1970. `originalLength`: of the frame on the wire, where `frame` may be cut short.
 */
export interface PcapRecord {
  readonly timeUs: number;
  readonly originalLength: number;
  readonly frame: Uint8Array;
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** What a file begins with. */
export function pcapHeader(snapLength: number = PCAP_SNAP_LENGTH): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE);
  const view = viewOf(bytes);
  view.setUint32(0, MAGIC_US, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, snapLength, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return bytes;
}

/** One record, to be appended. Seconds wrap in 2106. */
export function pcapRecord(
  timeUs: number,
  frame: Uint8Array,
  originalLength: number = frame.length,
): Uint8Array {
  const bytes = new Uint8Array(RECORD_SIZE + frame.length);
  const view = viewOf(bytes);
  view.setUint32(0, Math.floor(timeUs / SECOND_US), true);
  view.setUint32(4, timeUs % SECOND_US, true);
  view.setUint32(8, frame.length, true);
  view.setUint32(12, originalLength, true);
  bytes.set(frame, RECORD_SIZE);
  return bytes;
}

/** `cutShort`: bytes after the last record that are no record. */
export interface PcapFile {
  readonly snapLength: number;
  readonly records: readonly PcapRecord[];
  readonly cutShort: boolean;
}

function byteOrder(view: DataView): { little: boolean } | { error: string } {
  const magic = view.getUint32(0, true);
  if (magic === MAGIC_US) return { little: true };
  if (view.getUint32(0, false) === MAGIC_US) return { little: false };
  const nanoseconds = magic === MAGIC_NS || view.getUint32(0, false) === MAGIC_NS;
  if (nanoseconds) return { error: 'pcap: nanosecond files are not read, only microseconds' };
  return { error: 'pcap: does not begin with the magic number' };
}

/**
 * The records of a file, their frames views of it; `error` says why it is none that can be read.
 */
export function readPcap(bytes: Uint8Array): PcapFile | { readonly error: string } {
  if (bytes.length < HEADER_SIZE) return { error: 'pcap: shorter than its header' };
  const view = viewOf(bytes);
  const order = byteOrder(view);
  if ('error' in order) return order;
  const { little } = order;
  const linkType = view.getUint32(20, little) & 0xffff;
  if (linkType !== LINKTYPE_ETHERNET) {
    return { error: `pcap: link type ${linkType} is not read, only Ethernet (1)` };
  }
  const records: PcapRecord[] = [];
  let at = HEADER_SIZE;
  while (bytes.length - at >= RECORD_SIZE) {
    const length = view.getUint32(at + 8, little);
    const end = at + RECORD_SIZE + length;
    if (length > PCAP_RECORD_MAX || end > bytes.length) break;
    records.push({
      timeUs: view.getUint32(at, little) * SECOND_US + view.getUint32(at + 4, little),
      originalLength: view.getUint32(at + 12, little),
      frame: bytes.subarray(at + RECORD_SIZE, end),
    });
    at = end;
  }
  return { snapLength: view.getUint32(16, little), records, cutShort: at !== bytes.length };
}
