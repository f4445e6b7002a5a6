/** Loads the programs of datapath.bpf.o with the maps of this datapath in place. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpfMap, loadProgram } from '#os/bpf.ts';
import { linkProgram, readPrograms } from '#os/elf.ts';
import { closeFd } from '#os/libc.ts';
import type { Maps } from './maps.ts';

const NAMES = ['port_in', 'tun_in', 'inject', 'sink', 'flood', 'port_out'] as const;
export type Programs = Readonly<Record<(typeof NAMES)[number], number>>;

/** The descriptors; `closePrograms` when the links hold them. Throws with the verifier's words. */
export function loadPrograms(maps: Maps): Programs {
  const elf = readPrograms(
    new Uint8Array(readFileSync(join(import.meta.dirname, 'datapath.bpf.o'))),
  );
  const programs: { [name: string]: number } = {};
  try {
    for (const name of NAMES) {
      const program = elf.find((each) => each.name === name);
      if (program === undefined) throw new Error(`datapath.bpf.o holds no program ${name}`);
      programs[name] = loadProgram(name, linkProgram(program, maps.fds));
    }
    const tails = new BpfMap(maps.fds.tails, 4, 4);
    tails.value.u32(0, programs['flood'] ?? 0);
    tails.update();
  } catch (error) {
    closePrograms(programs);
    throw error;
  }
  return programs as Programs;
}

export function closePrograms(programs: Readonly<Record<string, number>>): void {
  for (const fd of Object.values(programs)) closeFd(fd);
}
