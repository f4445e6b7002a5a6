/**
 * What a host is looked at for, in one table. A check that fails is a finding itself, and stops no
 * other.
 */
import type { LocalFinding } from '#client/health-asks.ts';
import { type Check, type Eye, finding, type Subject } from './eye.ts';
import { firewall } from './firewall.ts';
import { btf, kernelVersion, pinnedMaps, processLimits, redirectPeer } from './kernel.ts';
import * as underlay from './underlay.ts';

export const CHECKS: Readonly<Record<string, Check>> = {
  'kernel-version': kernelVersion,
  'kernel-redirect-peer': redirectPeer,
  'kernel-btf': btf,
  'pinned-maps': pinnedMaps,
  'process-limits': processLimits,
  'tunnel-address': underlay.tunnelAddress,
  'underlay-link': underlay.underlayLink,
  routes: underlay.routes,
  'rp-filter': underlay.reversePath,
  'tunnel-device': underlay.tunnelDevice,
  'udp-port': underlay.udpPort,
  'port-interfaces': underlay.portInterfaces,
  lro: underlay.largeReceive,
  firewall,
};

export async function* examine(eye: Eye, subject: Subject): AsyncGenerator<LocalFinding[]> {
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      yield [...(await check(eye, subject))];
    } catch (error) {
      const evidence = (error instanceof Error ? error.message : String(error)).slice(0, 1_000);
      const what = `the check ${name} could not be made`;
      yield [finding('warning', name, { what, evidence, remedy: 'look at it by hand' })];
    }
  }
}
