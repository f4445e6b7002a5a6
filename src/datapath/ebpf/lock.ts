/**
 * Who may run a datapath: one process for each run directory, and one for each network namespace,
 * because the datapath's own devices are there. The second one is refused and told about the first.
 *
 * Both locks end with their holder, however it ends. What is left in the kernel is not a lock, but
 * says whose it is: the private veth's alias names the run directory, and another one is refused
 * for as long as that one has pins.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { closeFd, tryLock } from '#os/libc.ts';
import { isBpffs } from '#os/mount.ts';
import { linkByName, setLink } from '#os/netlink/links.ts';
import { heldNames, holdName, NAME_BYTES_MAX } from '#os/unix-name.ts';
import { INJECT_DEVICE } from './devices.ts';
import { bpffsDir, layoutDirs } from './pins.ts';

const NAME = 'midonet-datapath';
const ALIAS = 'midonet datapath of ';
/** IFALIASZ less its NUL. */
const ALIAS_BYTES_MAX = 255;
/** How long an agent that starts lets the guard finish with an interface. */
const GUARD_WAIT_MS = 2_000;
const POLL_MS = 10;

export type Holder = 'agent' | 'guard';

const lockPath = (runDir: string): string => join(runDir, 'datapath.lock');

/** What the holder of the run directory's lock says of itself, such as `agent 4711`. */
function holderOf(runDir: string): string {
  try {
    return readFileSync(lockPath(runDir), 'utf8').trim();
  } catch {
    return '';
  }
}

/** The run directory's lock; undefined when another process has it. */
export function tryLockRunDir(runDir: string, as: Holder): Disposable | undefined {
  const fd = openSync(lockPath(runDir), 'a+', 0o600);
  if (!tryLock(fd)) {
    closeSync(fd);
    return undefined;
  }
  ftruncateSync(fd);
  writeSync(fd, `${as} ${process.pid}\n`);
  return { [Symbol.dispose]: () => closeSync(fd) };
}

/** As `tryLockRunDir`, but lets the guard end what it does; throws with the holder's pid. */
export function lockRunDir(runDir: string): Disposable {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = 0; ; waited += POLL_MS) {
    const lock = tryLockRunDir(runDir, 'agent');
    if (lock !== undefined) return lock;
    const holder = holderOf(runDir);
    if (holder.startsWith('guard') && waited < GUARD_WAIT_MS) {
      Atomics.wait(clock, 0, 0, POLL_MS);
      continue;
    }
    const pid = / (\d+)$/.exec(holder)?.[1];
    const who = pid === undefined ? '' : `: process ${pid}`;
    throw new Error(`another process runs the datapath of ${runDir}${who}`);
  }
}

/** Both locks. Throws, naming the process and the run directory that are in the way. */
export function lockDatapath(runDir: string): Disposable {
  using undo = new DisposableStack();
  undo.use(lockRunDir(runDir));
  const name = holdName(NAME);
  if (name === undefined) throw new Error(inTheWay());
  undo.adopt(name, closeFd);
  const detail = Buffer.from(`${NAME} ${process.pid} ${resolve(runDir)}`).subarray(
    0,
    NAME_BYTES_MAX,
  );
  const shown = holdName(detail.toString());
  if (shown !== undefined) undo.adopt(shown, closeFd);
  refuseOthersPins(runDir);
  return undo.move();
}

function inTheWay(): string {
  const [, pid, dir] =
    heldNames()
      .map((each) => new RegExp(`^${NAME} (\\d+) (.*)$`).exec(each))
      .find((found) => found !== null) ?? [];
  const who = pid === undefined ? 'another process' : `process ${pid}, with run directory ${dir},`;
  return `${who} runs the datapath of this network namespace: there can be only one`;
}

/** The run directory whose datapath the devices of this network namespace belong to. */
export function ownerOfDevices(): string | undefined {
  const alias = linkByName(INJECT_DEVICE)?.alias;
  return alias?.startsWith(ALIAS) === true ? alias.slice(ALIAS.length) : undefined;
}

const aliasOf = (runDir: string): string =>
  Buffer.from(`${ALIAS}${resolve(runDir)}`)
    .subarray(0, ALIAS_BYTES_MAX)
    .toString();

function refuseOthersPins(runDir: string): void {
  const owner = ownerOfDevices();
  if (owner === undefined || ALIAS + owner === aliasOf(runDir)) return;
  if (!isBpffs(bpffsDir(owner)) || layoutDirs(owner).length === 0) return;
  throw new Error(
    `the datapath of this network namespace is that of run directory ${owner}, whose flows go on ` +
      `without a process: start it with that one, or unmount ${bpffsDir(owner)} first`,
  );
}

/** From now on the devices are those of this run directory. */
export function claimDevices(runDir: string, ifindex: number): void {
  const alias = aliasOf(runDir);
  if (linkByName(INJECT_DEVICE)?.alias !== alias) setLink(ifindex, { alias });
}
