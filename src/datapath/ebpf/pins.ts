/**
 * What is pinned, and in which order it comes and goes: a directory RUN_DIR/bpf/v<N> for each
 * layout, with `layout` (its description), `maps`, `programs`, and links in `ports` and `own`.
 *
 * An agent of another layout makes its maps beside the old ones, fills them, swaps the program of
 * each link in place, and moves the link's pin to its own directory; then the old directory goes.
 * Whoever is killed on the way leaves two whole sets that say the same, because nobody changes
 * flows before there is only one: the next agent, of either layout, goes on with its own set and
 * swaps the links that are not its own yet.
 *
 * Invariants: a link is pinned at every moment, in one directory or the other, so an interface is
 * isolated at every moment; it runs a program of a whole set; and a set stops being whole (its mark
 * goes first) only when no link is in its directory any more.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import type { Description } from '#flow/description.ts';
import { DESCRIPTION_BYTES_MAX, parseDescription } from '#flow/description.ts';
import { LAYOUT_VERSION } from '#flow/layout.ts';
import { BpfMap, createMap, MAP_TYPE, mapInfo, openPinned, pin } from '#os/bpf.ts';
import { killPoint } from '#os/kill-point.ts';
import { closeFd } from '#os/libc.ts';

export const bpffsDir = (runDir: string): string => join(runDir, 'bpf');
export const versionDir = (runDir: string): string => join(bpffsDir(runDir), `v${LAYOUT_VERSION}`);

/** The directory of one layout. */
export interface LayoutDir {
  readonly dir: string;
}
/** Directories of links. */
export type LinkDir = 'ports' | 'own';
export const linkDir = ({ dir }: LayoutDir, which: LinkDir): string => join(dir, which);
export const programDir = ({ dir }: LayoutDir): string => join(dir, 'programs');
export const mapPath = ({ dir }: LayoutDir, name: string): string => join(dir, 'maps', name);

/** The map that is pinned last and unpinned first. */
export const WHOLE_MARK = 'config';
export const isWhole = (layout: LayoutDir): boolean => existsSync(mapPath(layout, WHOLE_MARK));

export const makePinDir = (dir: string): void => {
  killPoint();
  mkdirSync(dir, { recursive: true });
};
export const unlinkPin = (path: string): void => {
  killPoint();
  unlinkSync(path);
};
export const renamePin = (from: string, to: string): void => {
  killPoint();
  renameSync(from, to);
};
const removeDir = (dir: string): void => {
  killPoint();
  rmdirSync(dir);
};

/** Pins in the place of what is pinned there: at every moment there is one of the two. */
export function replacePin(fd: number, path: string): void {
  const beside = `${path}-new`;
  if (existsSync(beside)) unlinkPin(beside);
  pin(fd, beside);
  renamePin(beside, path);
}

/** Every layout that has something here; the kernel keeps files of its own at the top, too. */
export const layoutDirs = (runDir: string): LayoutDir[] =>
  existsSync(bpffsDir(runDir))
    ? readdirSync(bpffsDir(runDir))
        .filter((name) => /^v\d+$/.test(name))
        .map((name) => ({ dir: join(bpffsDir(runDir), name) }))
    : [];
/** Those of other versions, the newest first. */
export function otherLayouts(runDir: string): LayoutDir[] {
  const version = ({ dir }: LayoutDir): number => Number(basename(dir).slice(1));
  return layoutDirs(runDir)
    .filter(({ dir }) => dir !== versionDir(runDir))
    .toSorted((a, b) => version(b) - version(a));
}

/** Stores the text as the one element of a pinned map: a bpffs holds nothing else. */
export function writeDescription({ dir }: LayoutDir, text: string): void {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length >= DESCRIPTION_BYTES_MAX)
    throw new Error(`the layout's description has more than ${DESCRIPTION_BYTES_MAX} bytes`);
  const valueSize = Math.ceil((bytes.length + 1) / 8) * 8;
  const spec = { name: 'layout', type: MAP_TYPE.array, keySize: 4, valueSize, entries: 1 };
  const fd = createMap(spec);
  try {
    const map = new BpfMap(fd, 4, valueSize);
    map.value.bytes.set(bytes);
    map.update();
    pin(fd, join(dir, 'layout'));
  } finally {
    closeFd(fd);
  }
}

/** Undefined: there is none, or it is longer than it can be. */
export function readDescription({ dir }: LayoutDir): string | undefined {
  const fd = openPinned(join(dir, 'layout'));
  if (fd === undefined) return undefined;
  try {
    const { valueSize, keySize, entries } = mapInfo(fd);
    if (valueSize > DESCRIPTION_BYTES_MAX || keySize !== 4 || entries !== 1) return undefined;
    const map = new BpfMap(fd, 4, valueSize);
    if (!map.lookup()) return undefined;
    const end = map.value.bytes.indexOf(0);
    return new TextDecoder().decode(map.value.bytes.subarray(0, end < 0 ? valueSize : end));
  } finally {
    closeFd(fd);
  }
}

/**
 * A whole set of another layout that says what it holds; the newest, of several: they say the same.
 */
export function describedLayout(
  runDir: string,
): { readonly layout: Description; readonly dir: string } | undefined {
  for (const other of otherLayouts(runDir)) {
    const text = isWhole(other) ? readDescription(other) : undefined;
    const layout = text === undefined ? undefined : parseDescription(text);
    if (layout !== undefined) return { layout, dir: mapPath(other, '') };
  }
  return undefined;
}

/** Takes a set of maps away; its mark goes first. */
export function removeMaps(layout: LayoutDir): void {
  if (isWhole(layout)) unlinkPin(mapPath(layout, WHOLE_MARK));
  const text = join(layout.dir, 'layout');
  if (existsSync(text)) unlinkPin(text);
  removePins(join(layout.dir, 'maps'));
}

/** What is left of other layouts goes: links first, if any should be left. */
export function removeLayout(layout: LayoutDir): void {
  for (const which of ['ports', 'own'] as const) removePins(linkDir(layout, which));
  removePins(programDir(layout));
  removeMaps(layout);
  removePins(layout.dir);
}

/** Nothing is attached or kept any more. */
export function removeAllPins(runDir: string): void {
  for (const layout of layoutDirs(runDir)) removeLayout(layout);
}

function removePins(dir: string): void {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) return;
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) removePins(path);
    else unlinkPin(path);
  }
  removeDir(dir);
}
