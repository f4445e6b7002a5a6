/**
 * The pins of all layouts: those of an agent with another layout become ours, as far as they can.
 *
 * Maps of another layout say nothing here. Its links do: a program that stays attached beside ours
 * would still take every frame, by flows that nobody changes any more. So the links move to our
 * directory, where they are adopted like our own: their programs are swapped in place, and an
 * interface is isolated at every moment. Flows, keys and senders are made anew.
 *
 * Invariant: a link is pinned at every moment, in the old directory or in ours, so whoever is
 * killed here leaves what the next one finds.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { bpffsDir, versionDir } from './maps.ts';

/** Directories of links, in that of every layout. */
const LINK_DIRS = ['ports', 'own'] as const;

/** The kernel keeps files of its own at the top of a bpffs; what is below our names is all ours. */
const layoutsIn = (bpffs: string): string[] =>
  readdirSync(bpffs).filter((name) => /^v\d+$/.test(name));

/** To be called before maps and links are opened, with the lock. */
export function takeOverPins(runDir: string): void {
  const ours = versionDir(runDir);
  const bpffs = bpffsDir(runDir);
  for (const layout of layoutsIn(bpffs)) {
    if (layout === basename(ours)) continue;
    for (const dir of LINK_DIRS) moveAll(join(bpffs, layout, dir), join(ours, dir));
    removePins(join(bpffs, layout));
  }
}

/** What is there already stays; then the other one goes with its directory. */
function moveAll(from: string, to: string): void {
  if (!existsSync(from)) return;
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from))
    if (!existsSync(join(to, name))) renameSync(join(from, name), join(to, name));
}

/** Nothing is attached or kept any more. */
export function removeAllPins(runDir: string): void {
  const bpffs = bpffsDir(runDir);
  for (const layout of layoutsIn(bpffs)) removePins(join(bpffs, layout));
}

function removePins(dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) removePins(path);
    else unlinkSync(path);
  }
  rmdirSync(dir);
}
