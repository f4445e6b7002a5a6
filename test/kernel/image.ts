/**
 * A kernel that is not this machine's, ready to boot: fetched as a Debian package by its exact
 * name, unpacked, never installed, and an initrd that carries the few modules a guest needs to see
 * the host's tree.
 *
 * Invariant: everything is in the folder given (below `.cache/`), and what is there whole is taken
 * as it is: a second run needs no network. Delete the folder to get a newer kernel.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { run, runOk } from '#os/run.ts';

/** Depends on the newest kernel of the release. The flavour for clouds lacks 9p. */
const META_PACKAGE = 'linux-image-amd64';
/** Of the package (70 MB), and of unpacking it. */
const FETCH_MS = 600_000;
/** What the guest needs before it sees the host's tree; the rest it loads by name from there. */
const EARLY_MODULES = ['virtio_pci', 'virtio_console', '9p', '9pnet_virtio', 'overlay'] as const;
const INIT = join(import.meta.dirname, 'init.sh');

export interface Image {
  /** Such as `6.1.0-31-amd64`. */
  readonly release: string;
  readonly kernel: string;
  readonly initrd: string;
  /** The folder that belongs at /lib/modules/RELEASE. */
  readonly modules: string;
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** The package of the kernel that Debian ships now, such as `linux-image-6.1.0-31-amd64`. */
async function currentPackage(): Promise<string | undefined> {
  const { stdout } = await run('apt-cache', ['depends', META_PACKAGE]);
  return /Depends: (linux-image-\d\S+)/.exec(stdout)?.[1];
}

/** Downloads into `dir`; answers the file. The lists of packages are renewed when they are old. */
async function fetchPackage(dir: string): Promise<string> {
  mkdirSync(dir, { recursive: true });
  // `apt-get download` writes to the folder it runs in.
  const download = async (): Promise<boolean> => {
    const name = await currentPackage();
    if (name === undefined) return false;
    say(`Fetching ${name} (apt-get download; it is not installed).`);
    const script = 'cd -- "$0" && apt-get -q download -- "$1"';
    return (await run('sh', ['-c', script, dir, name], { deadlineMs: FETCH_MS })).code === 0;
  };
  if (!(await download())) {
    await runOk('apt-get', ['-q', 'update'], { deadlineMs: FETCH_MS });
    if (!(await download())) throw new Error(`apt-get cannot download what ${META_PACKAGE} is`);
  }
  const [file] = readdirSync(dir).filter((name) => name.endsWith('.deb'));
  if (file === undefined) throw new Error(`apt-get left no package in ${dir}`);
  return join(dir, file);
}

/** Unpacks the package to `into`, whole or not at all. */
async function unpack(into: string): Promise<void> {
  const unfinished = `${into}.${process.pid}`;
  rmSync(unfinished, { recursive: true, force: true });
  try {
    const file = await fetchPackage(join(unfinished, 'package'));
    await runOk('dpkg-deb', ['-x', file, unfinished], { deadlineMs: FETCH_MS });
    rmSync(join(unfinished, 'package'), { recursive: true });
    const release = onlyEntry(join(unfinished, 'lib', 'modules'));
    await runOk('depmod', ['-b', unfinished, release], { deadlineMs: FETCH_MS });
    // Somebody else may have been faster.
    if (!existsSync(into)) renameSync(unfinished, into);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

function onlyEntry(dir: string): string {
  const [entry, ...others] = readdirSync(dir);
  if (entry === undefined || others.length > 0)
    throw new Error(`${dir} should hold one entry: delete what it is in, and start again`);
  return entry;
}

/** Removes what runs that were killed left half done. */
function sweep(dir: string): void {
  for (const name of readdirSync(dir)) {
    const [, pid] = /\.(\d+)(\.cpio)?$/.exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(dir, name), { recursive: true, force: true });
  }
}

/** The kernel of Debian's current release, from `dir` or fetched into it. */
export async function debianImage(dir: string): Promise<Image> {
  mkdirSync(dir, { recursive: true });
  sweep(dir);
  const root = join(dir, 'debian');
  if (!existsSync(root)) await unpack(root);
  const release = onlyEntry(join(root, 'lib', 'modules'));
  const modules = join(root, 'lib', 'modules', release);
  const kernel = join(root, 'boot', `vmlinuz-${release}`);
  const initrd = await buildInitrd(dir, root, release);
  return { release, kernel, initrd, modules };
}

/** Made at every run, in a file of its own: it is small, and the init in it may have changed. */
async function buildInitrd(dir: string, root: string, release: string): Promise<string> {
  const tree = join(dir, `initrd.${process.pid}`);
  const file = `${tree}.cpio`;
  try {
    for (const each of ['bin', 'proc', 'sys', 'dev', 'low', 'up', 'new', 'share', 'modules'])
      mkdirSync(join(tree, each), { recursive: true });
    const busybox = await runOk('sh', ['-c', 'command -v busybox']);
    copyFileSync(busybox.trim(), join(tree, 'bin', 'busybox'));
    copyFileSync(INIT, join(tree, 'init'));
    chmodSync(join(tree, 'init'), 0o755);
    const order = await withDependencies(root, release, EARLY_MODULES);
    for (const path of order) copyFileSync(path, join(tree, 'modules', basename(path)));
    const list = order.map((path) => basename(path)).join('\n');
    writeFileSync(join(tree, 'modules.order'), `${list}\n`);
    const script = 'cd -- "$0" && find . | cpio --quiet -o -H newc >"$1"';
    await runOk('sh', ['-c', script, tree, file]);
    return file;
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

/** Files of modules in the order in which they can be loaded; what is built in has none. */
async function withDependencies(
  root: string,
  release: string,
  names: readonly string[],
): Promise<string[]> {
  const paths = new Set<string>();
  for (const name of names) {
    const args = ['-d', root, '-S', release, '--show-depends', name];
    const lines = (await runOk('modprobe', args)).split('\n');
    for (const line of lines) {
      const [, path] = /^insmod (\S+)/.exec(line) ?? [];
      if (path !== undefined) paths.add(path);
    }
  }
  return [...paths];
}
