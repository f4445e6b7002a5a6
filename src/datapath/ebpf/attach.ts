/**
 * How programs get onto interfaces: one interface, two bodies. `tcx` (`ports.ts`) are links of
 * kernel 6.6 and newer, kept by pins. `clsact` (`clsact.ts`) are filters of the traffic control
 * that every kernel has, kept by the interface itself. The programs are the same.
 *
 * The kernel is asked which it has, not its version: TCX can be built without, or carried back.
 */
import type { DpPort } from '#flow/flow.ts';
import { hasTcx } from '#os/bpf.ts';
import { attachOwnFilter, ClsactPorts } from './clsact.ts';
import type { Devices } from './devices.ts';
import { attachOwn, Ports } from './ports.ts';
import type { Programs } from './programs.ts';

export type Attachment = 'tcx' | 'clsact';

/** The programs on the interfaces of workloads. What is found of an earlier process is ours. */
export interface PortPrograms extends Disposable {
  /**
   * Puts both programs on, and the interface up without IPv6 and ARP. Nothing happens when they are
   * there. Throws when there is no such interface, or something else has their place; then nothing
   * of ours stays on it.
   */
  add(port: DpPort): void;
  /** Sets the interface down, then takes the programs off; also when it has vanished. */
  release(port: DpPort): void;
  has(port: DpPort): boolean;
  list(): DpPort[];
  /** Those the kernel took the programs off: another interface may have their number by now. */
  vanished(): DpPort[];
}

/** What this kernel has; `program`: a loaded classifier to ask with. */
export const bestAttachment = (program: number): Attachment => (hasTcx(program) ? 'tcx' : 'clsact');

export const openPorts = (
  attachment: Attachment,
  runDir: string,
  programs: Programs,
): PortPrograms => (attachment === 'tcx' ? new Ports(runDir, programs) : new ClsactPorts(programs));

/** The programs of the datapath's own devices; those of an earlier process give way to ours. */
export function attachDevices(
  attachment: Attachment,
  runDir: string,
  { devices, programs }: { readonly devices: Devices; readonly programs: Programs },
): void {
  const { sink, inject, tun_in } = programs;
  for (const own of [
    { name: 'sink', ifindex: devices.sink, program: sink, hook: 'ingress' },
    { name: 'inject', ifindex: devices.inject, program: inject, hook: 'egress' },
    { name: 'tunnel', ifindex: devices.tunnel, program: tun_in, hook: 'ingress' },
  ] as const)
    if (attachment === 'tcx') attachOwn(runDir, own);
    else attachOwnFilter(own);
}
