/**
 * The kernel datapath keeps the contract, between real interfaces, in the way this
 * kernel attaches programs best. Needs root. PORTS=taps: all of
 * it between taps instead of cables, and not a part only. PEER_REDIRECT=off: with frames for
 * workloads on the way through the host's end of their cable.
 */
import { test } from 'node:test';
import { contract, FORWARDING_ONLY } from '../contract.ts';
import { openTapBench } from './tap-bench.ts';
import { isRoot, openBench } from './testbed.ts';

const peerRedirect = process.env['PEER_REDIRECT'] !== 'off';
const taps = process.env['PORTS'] === 'taps';
if (!isRoot())
  test('ebpf: the contract', { skip: 'needs root: network namespaces and bpf(2)' }, () => {});
else {
  const open = taps ? openTapBench : openBench;
  contract('ebpf', (upcallBudget) => Promise.resolve(open({ upcallBudget, peerRedirect })));
  if (!taps)
    contract(
      'ebpf on taps',
      (upcallBudget) => Promise.resolve(openTapBench({ upcallBudget, peerRedirect })),
      FORWARDING_ONLY,
    );
}
