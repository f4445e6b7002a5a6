/**
 * Reads the BPF object that this repository compiles: little-endian ELF64, programs in executable
 * sections, relocations only to maps (R_BPF_64_64), no BTF, no subprograms. Anything else is
 * refused by name.
 */

/** linux/elf.h and the BPF ABI's relocation types. */
const MACHINE_BPF = 247;
const SECTION = { progbits: 1, symtab: 2, rel: 9 } as const;
const FLAG_EXEC = 4;
const SYMBOL_FUNC = 2;
const R_BPF_64_64 = 1;
const BPF_PSEUDO_MAP_FD = 1;
const LD_IMM64 = 0x18;

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
}

/** One program: its instructions, and where it wants the descriptor of which map. */
export interface ElfProgram {
  readonly name: string;
  readonly code: Uint8Array;
  readonly maps: readonly { readonly at: number; readonly map: string }[];
}

/** All programs of an object. Throws on a file that is not such an object. */
export function readPrograms(file: Uint8Array): ElfProgram[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const u16 = (at: number): number => view.getUint16(at, true);
  const u32 = (at: number): number => view.getUint32(at, true);
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  if (file.length < 64 || u32(0) !== 0x464c457f || file[4] !== 2 || file[5] !== 1) {
    throw new Error('not a little-endian ELF64 file');
  }
  if (u16(18) !== MACHINE_BPF) throw new Error('not a BPF object');
  const sections = readSections({ u16, u32, u64 }, file);
  const symtab = sections.find((section) => section.type === SECTION.symtab);
  const strings = symtab && sections[symtab.link];
  if (symtab === undefined || strings === undefined) throw new Error('the object has no symbols');
  const symbols = [];
  for (let at = symtab.offset; at + 24 <= symtab.offset + symtab.size; at += 24) {
    const name = text(file, strings.offset + u32(at));
    symbols.push({
      name,
      type: (file[at + 4] ?? 0) & 15,
      section: u16(at + 6),
      value: u64(at + 8),
      size: u64(at + 16),
    });
  }
  const programs: ElfProgram[] = [];
  for (const symbol of symbols) {
    const home = sections[symbol.section];
    if (symbol.type !== SYMBOL_FUNC || home === undefined || (home.flags & FLAG_EXEC) === 0)
      continue;
    const start = home.offset + symbol.value;
    const maps = [];
    for (const rel of sections) {
      if (rel.type !== SECTION.rel || rel.info !== symbol.section) continue;
      for (let at = rel.offset; at + 16 <= rel.offset + rel.size; at += 16) {
        const where = u64(at) - symbol.value;
        if (where < 0 || where >= symbol.size) continue;
        const target = symbols[u32(at + 12)];
        if (
          target === undefined ||
          u32(at + 8) !== R_BPF_64_64 ||
          file[start + where] !== LD_IMM64
        ) {
          throw new Error(`${symbol.name}: a relocation that is not to a map`);
        }
        maps.push({ at: where, map: target.name });
      }
    }
    programs.push({ name: symbol.name, code: file.slice(start, start + symbol.size), maps });
  }
  if (programs.length === 0) throw new Error('the object holds no program');
  return programs;
}

interface Reader {
  u16(at: number): number;
  u32(at: number): number;
  u64(at: number): number;
}

function readSections({ u16, u32, u64 }: Reader, file: Uint8Array): Section[] {
  const start = u64(40);
  const count = u16(60);
  const names = start + u16(62) * 64;
  if (start + count * 64 > file.length || names + 64 > file.length)
    throw new Error('the ELF file is cut short');
  const strings = u64(names + 24);
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * 64;
    const section = {
      name: text(file, strings + u32(at)),
      type: u32(at + 4),
      flags: u64(at + 8),
      offset: u64(at + 24),
      size: u64(at + 32),
      link: u32(at + 40),
      info: u32(at + 44),
    };
    if (section.type !== 8 && section.offset + section.size > file.length) {
      throw new Error(`section ${section.name} is cut short`);
    }
    return section;
  });
}

function text(file: Uint8Array, at: number): string {
  const end = file.indexOf(0, at);
  if (end < 0 || at >= file.length) throw new Error('a name of the ELF file is cut short');
  return new TextDecoder().decode(file.subarray(at, end));
}

/**
 * The program's code with the maps' descriptors in place. Throws when it wants a map that is not
 * given.
 */
export function linkProgram(
  program: ElfProgram,
  mapFds: Readonly<Record<string, number>>,
): Uint8Array {
  const code = program.code.slice();
  const view = new DataView(code.buffer);
  for (const { at, map } of program.maps) {
    const fd = mapFds[map];
    if (fd === undefined) throw new Error(`${program.name} wants map ${map}, which there is not`);
    code[at + 1] = ((code[at + 1] ?? 0) & 0x0f) | (BPF_PSEUDO_MAP_FD << 4);
    view.setInt32(at + 4, fd, true);
  }
  return code;
}
