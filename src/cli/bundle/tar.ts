/**
 * Files as a tar archive (POSIX.1-1988 ustar, pax "interchange format"), and back. Only plain
 * files, owned by nobody, of the time that is given: equal files make equal archives.
 */
export interface ArchiveFile {
  /** At most 100 bytes, no leading slash. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

const BLOCK = 512;
const NAME_BYTES_MAX = 100;
/** Fields of a header: where they begin, and how long they are. */
const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  owner: [108, 8],
  group: [116, 8],
  size: [124, 12],
  time: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 8],
} as const;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function header({ name, bytes }: ArchiveFile, timeMs: number): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const set = (field: keyof typeof FIELD, text: string): void =>
    block.set(encoder.encode(text), FIELD[field][0]);
  const octal = (field: keyof typeof FIELD, n: number): void =>
    set(field, `${n.toString(8).padStart(FIELD[field][1] - 1, '0')}\0`);
  if (encoder.encode(name).length > NAME_BYTES_MAX) throw new Error(`${name}: too long a name`);
  set('name', name);
  octal('mode', 0o600);
  octal('owner', 0);
  octal('group', 0);
  octal('size', bytes.length);
  octal('time', Math.floor(timeMs / 1_000));
  set('type', '0');
  set('magic', 'ustar\u000000');
  // Summed with the field itself as blanks.
  set('checksum', ' '.repeat(FIELD.checksum[1]));
  const sum = block.reduce((total, byte) => total + byte, 0);
  set('checksum', `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

const padding = (size: number): Uint8Array => new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);

/** The archive; ended by two empty blocks. Throws for a name that does not fit. */
export function pack(files: readonly ArchiveFile[], timeMs: number): Uint8Array {
  const parts = files.flatMap((file) => [
    header(file, timeMs),
    file.bytes,
    padding(file.bytes.length),
  ]);
  return Buffer.concat([...parts, new Uint8Array(2 * BLOCK)]);
}

/** The files of an archive that `pack` made. Throws when a header's sum is wrong. */
export function unpack(given: Uint8Array): ArchiveFile[] {
  // A copy, of which a slice is another: that of a Buffer would be the same bytes.
  const archive = new Uint8Array(given);
  const files: ArchiveFile[] = [];
  for (let at = 0; at + BLOCK <= archive.length;) {
    const block = archive.slice(at, at + BLOCK);
    const text = (field: keyof typeof FIELD): string => {
      const [from, length] = FIELD[field];
      return decoder.decode(block.subarray(from, from + length)).replace(/[\0 ]+$/, '');
    };
    const name = text('name');
    if (name === '') break;
    const told = parseInt(text('checksum'), 8);
    block.fill(0x20, FIELD.checksum[0], FIELD.checksum[0] + FIELD.checksum[1]);
    if (block.reduce((sum, byte) => sum + byte, 0) !== told) throw new Error(`${name}: wrong sum`);
    const size = parseInt(text('size'), 8);
    files.push({ name, bytes: archive.slice(at + BLOCK, at + BLOCK + size) });
    at += BLOCK + size + padding(size).length;
  }
  return files;
}
