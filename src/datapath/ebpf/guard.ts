/**
 * Isolates interfaces that appear under a bound name while no agent runs: nothing in the kernel
 * binds by name, so a tap that is deleted and made again would be a cable to the host's own stack
 * until the agent is back.
 *
 * Which names are bound, the pins of the old interfaces say; what is attached are the programs that
 * the agent left pinned. Frames of the new interface match no flow (its number is another) and no
 * budget: they are dropped and counted. The agent adopts the links like its own.
 *
 * Invariants: nothing is done while an agent has the run directory's lock, nor in a network
 * namespace whose datapath is not this run directory's; and one name never has more pins than one
 * interface needs, however often it is made again.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { linkIfindex, openPinned } from '#os/bpf.ts';
import { closeFd } from '#os/libc.ts';
import { linkByName } from '#os/netlink/links.ts';
import { quieten } from './devices.ts';
import { ownerOfDevices, tryLockRunDir } from './lock.ts';
import { layoutDirs, linkDir, programDir, unlinkPin } from './pins.ts';
import type { LayoutDir } from './pins.ts';
import { attachPinned, parsePinName } from './ports.ts';
import type { Direction } from './ports.ts';

const PROGRAM = { in: 'port_in', out: 'port_out' } as const;

interface Pinned {
  readonly file: string;
  readonly direction: Direction;
  readonly port: number;
  readonly alive: boolean;
}

/** One look at all bound names; answers the interfaces that were isolated now. */
export function guardOnce(runDir: string): string[] {
  if (!existsSync(runDir) || layoutDirs(runDir).length === 0) return [];
  using lock = tryLockRunDir(runDir, 'guard');
  return lock === undefined ? [] : isolateReturned(runDir);
}

/** The same, for whoever has the lock: a new agent does it before anything else. */
export function isolateReturned(runDir: string): string[] {
  return ownerOfDevices() === resolve(runDir) ? layoutDirs(runDir).flatMap(guardLayout) : [];
}

function guardLayout(layout: LayoutDir): string[] {
  const dir = linkDir(layout, 'ports');
  if (!existsSync(dir)) return [];
  const names = new Map<string, Pinned[]>();
  for (const file of readdirSync(dir)) {
    const pin = parsePinName(file);
    if (pin === undefined) continue;
    const { direction, port, name } = pin;
    const found = { file, direction, port, alive: isAlive(join(dir, file), port) };
    names.getOrInsertComputed(name, () => []).push(found);
  }
  return [...names]
    .filter(([name, pins]) => pins.some(({ alive }) => !alive) && isolate(layout, name, pins))
    .map(([name]) => name);
}

function isAlive(path: string, port: number): boolean {
  const fd = openPinned(path);
  if (fd === undefined) return false;
  const ifindex = linkIfindex(fd);
  closeFd(fd);
  return ifindex === port;
}

/** False: there is no such interface, or it was isolated before. */
function isolate(layout: LayoutDir, name: string, pins: readonly Pinned[]): boolean {
  const link = linkByName(name);
  if (link === undefined) return false;
  const dir = linkDir(layout, 'ports');
  // Those of the interface that went: under its number there may be another, or this one.
  const dead = pins.filter(({ alive }) => !alive);
  for (const { file } of dead.filter(({ port }) => port === link.index)) unlinkPin(join(dir, file));
  let attached = 0;
  for (const direction of ['in', 'out'] as const) {
    const there = pins.some(
      (pin) => pin.alive && pin.port === link.index && pin.direction === direction,
    );
    const program = there ? undefined : openPinned(join(programDir(layout), PROGRAM[direction]));
    if (program === undefined) continue;
    closeFd(attachPinned(dir, direction, program, link).fd);
    closeFd(program);
    attached += 1;
  }
  if (attached > 0) quieten(link);
  for (const { file } of dead.filter(({ port }) => port !== link.index)) unlinkPin(join(dir, file));
  return attached > 0;
}
