/** Loads the programs of datapath.bpf.o with the maps of this datapath in place. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpfMap, loadProgram } from '#os/bpf.ts';
import { linkProgram, readPrograms } from '#os/elf.ts';
import { closeFd } from '#os/libc.ts';
import type { Maps } from './maps.ts';
import { makePinDir, programDir, replacePin, versionDir } from './pins.ts';

const NAMES = [
  'port_in',
  'tun_in',
  'inject',
  'sink',
  'rewrite',
  'flood',
  'crossing',
  'lost',
  'port_out',
] as const;
/** Which program is which entry of the map `tails`. */
export const TAILS = ['flood', 'rewrite', 'crossing', 'lost'] as const;
export type Programs = Readonly<Record<(typeof NAMES)[number], number>>;

/** Another object than the one that is committed, and what it wants beside the usual maps. */
export interface ProgramVariant {
  readonly object: Uint8Array;
  readonly maps: Readonly<Record<string, number>>;
}

const committed = (): Uint8Array =>
  new Uint8Array(readFileSync(join(import.meta.dirname, 'datapath.bpf.o')));

/** The descriptors; `closePrograms` when the links hold them. Throws with the verifier's words. */
export function loadPrograms(maps: Maps, variant?: ProgramVariant): Programs {
  const elf = readPrograms(variant?.object ?? committed());
  const fds = { ...maps.fds, ...variant?.maps };
  const programs: { [name: string]: number } = {};
  try {
    for (const name of NAMES) {
      const program = elf.find((each) => each.name === name);
      if (program === undefined) throw new Error(`datapath.bpf.o holds no program ${name}`);
      programs[name] = loadProgram(name, linkProgram(program, fds));
    }
    const tails = new BpfMap(maps.fds.tails, 4, 4);
    for (const [at, name] of TAILS.entries()) {
      tails.key.u32(0, at);
      tails.value.u32(0, programs[name] ?? 0);
      tails.update();
    }
  } catch (error) {
    closePrograms(programs);
    throw error;
  }
  return programs as Programs;
}

/** Programs that the guard attaches while no agent runs (`guard.ts`). */
export const GUARDING = ['port_in', 'port_out'] as const;

/** Keeps the guard's programs where it finds them. */
export function pinPrograms(runDir: string, programs: Programs): void {
  const dir = programDir({ dir: versionDir(runDir) });
  makePinDir(dir);
  for (const name of GUARDING) replacePin(programs[name], join(dir, name));
}

export function closePrograms(programs: Readonly<Record<string, number>>): void {
  for (const fd of Object.values(programs)) closeFd(fd);
}
