/**
 * Virtual machines of a lab: QEMU under software emulation on a tap in the host's namespace, as a
 * hypervisor runs them: the tap stays when the machine ends, and frames of the guest come with
 * their segmentation and checksums undone.
 *
 * A machine is a process of the lab like any other, found and ended by the same means.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { have } from '#os/run.ts';
import type { Lab } from '../lab.ts';
import { labDir } from '../names.ts';
import { end, find, isAlive, start, until, type Process } from '../processes.ts';
import { workloadsOf, type Workload } from '../recipe.ts';
import { guestImage, type GuestImage } from './image.ts';

const QEMU = process.arch === 'arm64' ? 'qemu-system-aarch64' : 'qemu-system-x86_64';
const TOOLS = [QEMU, 'busybox', 'cpio', 'depmod'];
const MEMORY_MB = 192;
/** Some six seconds on an idle machine. */
const BOOT_MS = 180_000;
const UP = 'guest up after';

const processName = (name: string): string => `vm-${name}`;
/** What the guest wrote to its serial line since it was started last. */
export const consolePath = (lab: string, name: string): string =>
  `${labDir(lab)}/logs/${processName(name)}.console`;

function commandOf(lab: string, name: string, workload: Workload, image: GuestImage): string[] {
  const settings = [
    'console=ttyS0 quiet panic=-1 mitigations=off',
    `addr=${workload.addresses.join(',')}`,
    ...(workload.via.length === 0 ? [] : [`via=${workload.via.join(',')}`]),
  ];
  return [
    QEMU,
    // Never KVM: where there is one that does not work, guests hang.
    ...['-accel', 'tcg', '-m', String(MEMORY_MB), '-smp', '1', '-nodefaults', '-no-reboot'],
    ...['-display', 'none', '-monitor', 'none', '-serial', `file:${consolePath(lab, name)}`],
    ...['-netdev', `tap,id=n0,ifname=${name},script=no,downscript=no`],
    ...['-device', `virtio-net-pci,netdev=n0,romfile=,mac=${workload.mac}`],
    ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', settings.join(' ')],
  ];
}

/** Boots the guests of a lab; `waitForGuests` says when they serve. */
export async function startGuests(lab: Lab): Promise<void> {
  const guests = workloadsOf(lab.recipe, 'vm');
  if (guests.length === 0) return;
  const missing = TOOLS.filter((tool) => !have(tool));
  if (missing.length > 0)
    throw new Error(`VMs need ${missing.join(', ')}: ./midonet lab up RECIPE installs them`);
  const image = await guestImage((line) => console.error(line));
  for (const [name] of guests) boot(lab, name, image);
}

function boot(lab: Lab, name: string, image: GuestImage): Process {
  const workload = lab.recipe.workloads[name];
  if (workload === undefined) throw new Error(`there is no VM ${name}`);
  mkdirSync(`${labDir(lab.name)}/logs`, { recursive: true });
  rmSync(consolePath(lab.name, name), { force: true });
  const command = commandOf(lab.name, name, workload, image);
  return start({ lab: lab.name, part: workload.host, name: processName(name), command });
}

/** Starts a guest whose machine was ended. */
export async function startGuest(lab: Lab, name: string): Promise<void> {
  boot(lab, name, await guestImage(() => {}));
}

/** Pulls the plug; the tap stays. */
export async function killGuest(lab: Lab, name: string): Promise<void> {
  const machine = find(lab.name, processName(name));
  if (machine !== undefined) await end([machine], false);
}

const consoleOf = (lab: Lab, name: string): string => {
  const path = consolePath(lab.name, name);
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
};

/** Waits until every guest serves; throws with the end of its console when one does not. */
export async function waitForGuests(lab: Lab): Promise<void> {
  for (const [name] of workloadsOf(lab.recipe, 'vm')) {
    const machine = find(lab.name, processName(name));
    const isUp = (): boolean => {
      if (consoleOf(lab, name).includes(UP)) return true;
      if (machine === undefined || !isAlive(machine)) throw new Error(`VM ${name} ended`);
      return false;
    };
    await until(`VM ${name} is up`, BOOT_MS, isUp).catch((error: Error) => {
      const lines = consoleOf(lab, name).trimEnd().split('\n').slice(-10).join('\n');
      const where = basename(consolePath(lab.name, name));
      throw new Error(`${error.message}; ${where}:\n${lines}`, { cause: error });
    });
  }
}
