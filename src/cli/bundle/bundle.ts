/**
 * A support bundle: what was collected, without secrets, with names and addresses replaced where
 * that is wanted, and a manifest that says of each file what it is (SHA-256) and what it lacks.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { Anonymous } from './anonymise.ts';
import type { Collected } from './collect.ts';
import { redact } from './redact.ts';
import { pack } from './tar.ts';

export interface BundleOptions {
  /** Secrets of this run, wherever they stand. */
  readonly secrets: readonly string[];
  readonly anonymise: boolean;
  readonly version: string;
  readonly timeMs: number;
}
export interface ManifestFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly note?: string;
}
export interface Manifest {
  readonly madeBy: string;
  readonly madeAt: string;
  readonly anonymised: boolean;
  readonly redacted: string;
  readonly files: readonly ManifestFile[];
}

const FOLDER = 'mn-support';
const REDACTED =
  'secrets of bearer tokens, values of fields and variables that hold secrets, and the secrets of the run';

/** Names of everything that may belong to somebody, from the objects there are. */
function announce(anonymous: Anonymous, collected: readonly Collected[]): void {
  const topology = collected.find(({ name }) => name === 'topology.json')?.text ?? '';
  const status = collected.find(({ name }) => name === 'status.json')?.text ?? '';
  const walk = (sort: string, value: unknown): void => {
    if (Array.isArray(value)) for (const each of value) walk(sort, each);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
    for (const [field, inner] of Object.entries(value)) {
      if (typeof inner === 'string' && field === 'name') anonymous.name(sort, inner);
      else if (typeof inner === 'string' && ['tenant', 'interface'].includes(field))
        anonymous.name(field, inner);
      else if (field === 'labels' && Array.isArray(inner)) labels(anonymous, inner);
      else walk(sort, inner);
    }
  };
  for (const [kind, objects] of Object.entries(parsed(topology))) walk(kind, objects);
  walk('host', parsed(status)['hosts']);
}
function labels(anonymous: Anonymous, given: readonly unknown[]): void {
  for (const label of given) {
    const [key, value] = String(label).split('=', 2);
    anonymous.name('label', key);
    anonymous.name('value', value);
  }
}
function parsed(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** The bundle as bytes of a .tar.gz, and its manifest, which is in it too. */
export function bundle(
  collected: readonly Collected[],
  { secrets, anonymise, version, timeMs }: BundleOptions,
): { readonly bytes: Uint8Array; readonly manifest: Manifest } {
  const anonymous = new Anonymous();
  if (anonymise) announce(anonymous, collected);
  const clean = (text: string): string => {
    const bare = redact(text, secrets);
    return anonymise ? anonymous.text(bare) : bare;
  };
  const encoder = new TextEncoder();
  const files = collected.map(({ name, text, note }) => ({
    // The names of hosts are in the names of files, behind a number.
    name: `${FOLDER}/${name.replace(/(?<=^hosts\/\d+-)[^/]*/, clean)}`,
    bytes: encoder.encode(clean(text)),
    note: note === undefined ? undefined : clean(note),
  }));
  const manifest: Manifest = {
    madeBy: `mn ${version}`,
    madeAt: new Date(timeMs).toISOString(),
    anonymised: anonymise,
    redacted: REDACTED,
    files: files.map(({ name, bytes, note }) => ({
      name,
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      ...(note !== undefined && { note }),
    })),
  };
  const first = {
    name: `${FOLDER}/manifest.json`,
    bytes: encoder.encode(`${JSON.stringify(manifest, null, 2)}\n`),
  };
  return { bytes: gzipSync(pack([first, ...files], timeMs)), manifest };
}
