/** The kernel datapath keeps the contract, between real interfaces. Needs root. */
import { test } from 'node:test';
import { contract } from '../contract.ts';
import { isRoot, openBench } from './testbed.ts';

if (isRoot()) contract('ebpf', (budget) => Promise.resolve(openBench(budget)));
else test('ebpf: the contract', { skip: 'needs root: network namespaces and bpf(2)' }, () => {});
