/**
 * One command on another kernel: a QEMU guest, emulated in software, whose tree is this machine's,
 * so that Node, this clone and every tool of the host are in it without an image being built.
 *
 *   node test/kernel/guest.ts [--seconds N] [--memory MIB] [--cpus N] [--share DIR] -- COMMAND…
 *
 * Runs COMMAND in the clone as root, prints what it prints, and exits as it does. The guest writes
 * to memory only; what is to stay goes to /share, which is DIR of the host (a folder that goes with
 * the guest unless told). Modules are loaded by name: `modprobe openvswitch`. It has no network.
 *
 * Invariants: the machine's kernel is never asked to run the guest (KVM here may open and then
 * hang); a guest ends at its deadline, with this process, and on its command's end; nothing but the
 * cache is left. Expect 10 to 20 times the run time of the host: MIDONET_PATIENCE says so to tests.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { debianImage } from './image.ts';
import type { Image } from './image.ts';

const CLONE = dirname(dirname(import.meta.dirname));
const CACHE = join(CLONE, '.cache', 'kernel');
/** What Node compiled in earlier guests: to strip types is what costs most at the start there. */
const COMPILED = join(CACHE, 'compiled');
const DEFAULTS = { seconds: 1200, memoryMib: 3072, cpus: 2 } as const;
/** How much longer than on the machine itself things may take before a test calls them stuck. */
export const PATIENCE = 6;
/** The exit code when the guest did not end by itself, as of timeout(1). */
export const TIMED_OUT = 124;
/** The exit code when the guest ended without an answer of its command. */
export const NO_ANSWER = 125;

export interface GuestOptions {
  /** Program and arguments, run in this clone without a shell. */
  readonly command: readonly string[];
  readonly seconds?: number;
  readonly memoryMib?: number;
  readonly cpus?: number;
  /** A folder of the host that the guest sees as /share and may write to. */
  readonly share?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** As one word of a shell. */
export const quote = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`;

/**
 * What the guest runs when its tree is up. The output goes through a port that no message of the
 * kernel gets into.
 */
function script({ command, env = {} }: GuestOptions): string {
  const own = {
    MIDONET_PATIENCE: process.env['MIDONET_PATIENCE'] ?? String(PATIENCE),
    NODE_COMPILE_CACHE: COMPILED,
  };
  const variables = { ...own, ...env };
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}`);
  return `
exec </dev/null >"$(ls /dev/vport*)" 2>&1
export HOME=/root
export PATH=${quote(join(CLONE, 'node_modules', '.bin'))}:/usr/local/sbin:/usr/local/bin
export PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
${lines.join('\n')}
ip link set lo up
cd ${quote(CLONE)}
${command.map(quote).join(' ')}
echo $? >/share/status
sync
/bin/busybox poweroff -f
`;
}

function qemuArguments(image: Image, options: GuestOptions, dirs: Dirs): string[] {
  const tree = (id: string, path: string, more: string): string[] => [
    '-virtfs',
    `local,path=${path},mount_tag=${id},security_model=none,multidevs=remap${more}`,
  ];
  return [
    ...['-accel', 'tcg,thread=multi', '-cpu', 'Nehalem'],
    ...['-smp', String(options.cpus ?? DEFAULTS.cpus)],
    ...['-m', String(options.memoryMib ?? DEFAULTS.memoryMib)],
    ...['-nodefaults', '-no-reboot', '-display', 'none', '-monitor', 'none'],
    ...['-kernel', image.kernel, '-initrd', image.initrd],
    ...['-append', `console=ttyS0 quiet panic=-1 mitigations=off ${IN_TIME}`],
    ...['-serial', `file:${dirs.console}`],
    ...['-chardev', 'stdio,id=out,signal=off', '-device', 'virtio-serial-pci'],
    ...['-device', 'virtserialport,chardev=out,name=out'],
    ...tree('root', '/', ',readonly=on'),
    ...tree('share', dirs.share, ''),
    ...tree('compiled', COMPILED, ''),
  ];
}

/** On a busy machine the kernel finds its timer late, and would look for another for ever. */
const IN_TIME = 'no_timer_check';

interface Dirs {
  readonly share: string;
  readonly console: string;
}

/** Ends with the guest; false when it had to be ended. */
function boot(args: readonly string[], seconds: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // The guest must not outlive this process, however that ends.
    const dying = ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...args];
    // At the end of its input the port closes, and whoever writes to it waits for ever: so a pipe.
    const guest = spawn('setpriv', dying, { stdio: ['pipe', 'inherit', 'inherit'] });
    let late = false;
    const end = (): void => void guest.kill('SIGKILL');
    const timer = setTimeout(() => {
      late = true;
      end();
    }, seconds * 1000);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, end);
    guest.on('error', reject);
    guest.on('close', () => {
      clearTimeout(timer);
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end);
      resolve(!late);
    });
  });
}

/**
 * Runs a command in a guest of Debian's kernel; answers its exit code, TIMED_OUT or NO_ANSWER. What
 * it prints goes to this process's standard output. Throws when the kernel cannot be had.
 */
export async function runInGuest(options: GuestOptions): Promise<number> {
  const image = await debianImage(CACHE);
  mkdirSync(COMPILED, { recursive: true });
  const own = mkdtempSync(join(tmpdir(), 'midonet-guest-'));
  const share = options.share ?? join(own, 'share');
  const dirs = { share, console: join(own, 'console') };
  try {
    mkdirSync(share, { recursive: true });
    rmSync(join(share, 'status'), { force: true });
    writeFileSync(join(share, 'clone'), CLONE);
    writeFileSync(join(share, 'modules'), image.modules);
    writeFileSync(join(share, 'run.sh'), script(options));
    const seconds = options.seconds ?? DEFAULTS.seconds;
    if (!(await boot(qemuArguments(image, options, dirs), seconds))) {
      process.stderr.write(`guest: no end within ${seconds} s\n`);
      return TIMED_OUT;
    }
    const status = readStatus(share);
    if (status === undefined)
      process.stderr.write(
        `guest: it ended without an answer\n${readFileSync(dirs.console, 'utf8')}\n`,
      );
    return status ?? NO_ANSWER;
  } finally {
    rmSync(image.initrd, { force: true });
    for (const name of ['clone', 'modules', 'run.sh', 'status'])
      rmSync(join(share, name), { force: true });
    rmSync(own, { recursive: true, force: true });
  }
}

function readStatus(share: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(join(share, 'status'), 'utf8'), 10);
  } catch {
    return undefined;
  }
}

function number(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`--${name} must be a whole number above 0`);
}

/** The command line of the head of this file. */
async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    options: { seconds: text, memory: text, cpus: text, share: text },
    allowPositionals: true,
  });
  if (positionals.length === 0) throw new Error('usage: guest.ts [OPTIONS] -- COMMAND…');
  const [seconds, memoryMib, cpus] = [
    number('seconds', values.seconds),
    number('memory', values.memory),
    number('cpus', values.cpus),
  ];
  process.exitCode = await runInGuest({
    command: positionals,
    ...(seconds === undefined ? {} : { seconds }),
    ...(memoryMib === undefined ? {} : { memoryMib }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(values.share === undefined ? {} : { share: values.share }),
  });
}

if (import.meta.main) await main();
