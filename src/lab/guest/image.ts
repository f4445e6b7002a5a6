/**
 * What guests boot from: Debian's cloud kernel, and an archive of a few files made here.
 *
 * Made once and kept in .cache/; whoever finds it there uses no network. Its name says what it was
 * made from, so a change of that makes another. Made aside and moved into place as a whole: a maker
 * that is killed leaves nothing that is taken for one.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { run, runOk } from '#os/run.ts';

const CACHE = new URL('../../../.cache/', import.meta.url).pathname;
const INIT = new URL('init', import.meta.url).pathname;
/** Depends on the newest kernel of the release; a few drivers, small. */
const KERNEL = process.arch === 'arm64' ? 'linux-image-cloud-arm64' : 'linux-image-cloud-amd64';
const MODULES = ['virtio_pci', 'virtio_net'];
const PROGRAMS = ['/usr/bin/iperf3'];
const DOWNLOAD_MS = 300_000;
const STEP_MS = 60_000;

export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

/** What is there, or is made now: 27 MB are downloaded, once for a clone. */
export async function guestImage(tell: (line: string) => void): Promise<GuestImage> {
  const parts = [readFileSync(INIT), KERNEL, ...MODULES, ...PROGRAMS];
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  const dir = join(CACHE, `guest-${hash.digest('hex').slice(0, 12)}`);
  const image = { kernel: join(dir, 'vmlinuz'), initrd: join(dir, 'initrd') };
  if (existsSync(dir)) return image;
  tell(`the kernel of VMs comes from Debian's ${KERNEL}, once`);
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, 'guest-new-'));
  try {
    const root = await unpackKernel(work);
    const made = join(work, 'made');
    mkdirSync(made);
    copyFileSync(oneOf(join(root, 'boot'), 'vmlinuz-'), join(made, 'vmlinuz'));
    await makeInitrd(work, root, join(made, 'initrd'));
    if (!existsSync(dir)) renameSync(made, dir);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return image;
}

function oneOf(dir: string, prefix: string): string {
  const name = readdirSync(dir).find((each) => each.startsWith(prefix));
  if (name === undefined) throw new Error(`there is no ${prefix}… in ${dir}`);
  return join(dir, name);
}

/** The directory that the kernel's package was unpacked to. */
async function unpackKernel(work: string): Promise<string> {
  const resolve = async (): Promise<string | undefined> =>
    /Depends: (linux-image-\S+)/.exec((await run('apt-cache', ['depends', KERNEL])).stdout)?.[1];
  const update = () => runOk('apt-get', ['-q', 'update'], { deadlineMs: DOWNLOAD_MS });
  let name = await resolve();
  if (name === undefined) {
    await update();
    name = await resolve();
  }
  if (name === undefined) throw new Error(`Debian's ${KERNEL} names no kernel`);
  const download = ['-c', `cd '${work}' && apt-get -q download ${name}`];
  const first = await run('sh', download, { deadlineMs: DOWNLOAD_MS });
  if (first.code !== 0) {
    // The lists may be older than what the archive has.
    await update();
    await runOk('sh', download, { deadlineMs: DOWNLOAD_MS });
  }
  const root = join(work, 'kernel');
  await runOk('dpkg-deb', ['-x', oneOf(work, 'linux-image-'), root], { deadlineMs: STEP_MS });
  return root;
}

/** A cpio archive (newc) of busybox, init, drivers in the order to load them, and programs. */
async function makeInitrd(work: string, root: string, to: string): Promise<void> {
  const tree = join(work, 'initrd');
  for (const dir of ['bin', 'proc', 'sys', 'dev', 'lib/modules'])
    mkdirSync(join(tree, dir), { recursive: true });
  const put = (from: string, at: string): void => {
    mkdirSync(dirname(join(tree, at)), { recursive: true });
    copyFileSync(from, join(tree, at));
  };
  const busybox = (await runOk('sh', ['-c', 'command -v busybox'])).trim();
  put(busybox, 'bin/busybox');
  put(INIT, 'init');
  for (const at of ['init', 'bin/busybox']) chmodSync(join(tree, at), 0o755);
  const modules = await modulesOf(root);
  for (const path of modules) put(path, `lib/modules/${basename(path)}`);
  const order = modules.map((path) => `/lib/modules/${basename(path)}\n`);
  writeFileSync(join(tree, 'modules.order'), order.join(''));
  for (const program of PROGRAMS) {
    put(program, `bin/${basename(program)}`);
    const libraries = (await runOk('ldd', [program])).matchAll(/(\/\S+) \(0x/g);
    for (const [, path = ''] of libraries) put(path, path);
  }
  const archive = `cd '${tree}' && find . | cpio --quiet -o -H newc > '${to}'`;
  await runOk('sh', ['-c', archive], { deadlineMs: STEP_MS });
}

/** The files of the drivers and what they stand on, in the order to load them. */
async function modulesOf(root: string): Promise<string[]> {
  const base = existsSync(join(root, 'lib/modules')) ? root : join(root, 'usr');
  const [version = ''] = readdirSync(join(base, 'lib/modules'));
  await runOk('depmod', ['-b', base, version], { deadlineMs: STEP_MS });
  const files = new Set<string>();
  for (const module of MODULES) {
    const which = ['-d', base, '-S', version, '--show-depends', module];
    const { stdout } = await run('modprobe', which);
    for (const [, path = ''] of stdout.matchAll(/^insmod (\S+)/gm)) files.add(path);
  }
  return [...files];
}
