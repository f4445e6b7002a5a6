/**
 * The kernel datapath keeps the contract also where its programs are filters: here the cases that
 * depend most on how programs get onto interfaces. The whole of it runs so on a kernel that has
 * nothing else (`./midonet test --kernel debian`). Needs root.
 */
import { test } from 'node:test';
import { contract } from '../contract.ts';
import { LIFECYCLE } from '../contract/lifecycle.ts';
import { TAGS } from '../contract/tags.ts';
import { isRoot, openBench } from './testbed.ts';

const attachment = 'clsact';

if (isRoot())
  contract(
    'ebpf, clsact',
    (upcallBudget) => Promise.resolve(openBench({ upcallBudget, attachment })),
    { ...LIFECYCLE, ...TAGS },
  );
else
  test('ebpf, clsact: the contract', { skip: 'needs root: network namespaces, bpf(2)' }, () => {});
