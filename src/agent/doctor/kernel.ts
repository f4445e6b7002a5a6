/** Checks of the kernel, and of what it keeps for the datapath. */
import { LAYOUT_VERSION } from '#flow/layout.ts';
import { isAtLeast } from '#os/kernel.ts';
import { type Check, finding } from './eye.ts';

/** What the datapath needs, and since when the kernel has it by itself. */
const OLDEST = [6, 1] as const;
/** Where `bpf_redirect_peer` clears what a frame must not bring along. */
const REDIRECT_PEER = [6, 8] as const;
const TCX = [6, 6] as const;

export const kernelVersion: Check = ({ kernel }) => {
  if (!isAtLeast(kernel, ...OLDEST))
    return [
      finding('error', 'kernel-version', {
        what: `Linux ${kernel} is older than the datapath needs`,
        evidence: 'it needs ring buffers, BTF and veth redirects of Linux 6.1',
        remedy: 'install a kernel of 6.1 or newer: apt-get install linux-image-amd64',
      }),
    ];
  if (isAtLeast(kernel, ...TCX)) return [];
  return [
    finding('info', 'kernel-tcx', {
      what: 'programs are filters on clsact: this kernel has no TCX links',
      evidence: `Linux ${kernel}; TCX came with 6.6`,
      remedy: 'leave priority 1 of tc filters on bound interfaces to the agent',
    }),
  ];
};

export const redirectPeer: Check = ({ kernel }) =>
  isAtLeast(kernel, ...REDIRECT_PEER) || !isAtLeast(kernel, ...OLDEST)
    ? []
    : [
        finding('info', 'kernel-redirect-peer', {
          what: "frames for containers take the way through the host's end of the cable",
          evidence: `Linux ${kernel}; the short way needs 6.8`,
          remedy: 'nothing is wrong; a newer kernel makes it faster',
        }),
      ];

export const btf: Check = ({ exists }) =>
  exists('/sys/kernel/btf/vmlinux')
    ? []
    : [
        finding('warning', 'kernel-btf', {
          what: 'the kernel tells nothing of its types (BTF)',
          evidence: 'there is no /sys/kernel/btf/vmlinux',
          remedy: 'use a kernel with CONFIG_DEBUG_INFO_BTF=y, as every kernel of Debian has it',
        }),
      ];

export const pinnedMaps: Check = ({ isBpffs, exists }, { bpffs, runDir }) => {
  if (!isBpffs(bpffs))
    return [
      finding('error', 'bpffs', {
        what: 'the pinned maps are out of reach: a restart of the agent starts from nothing',
        evidence: `no bpffs is mounted at ${bpffs}`,
        remedy: `stop the agent, mount -t bpf bpf ${bpffs}, start it; never start it with ip netns exec`,
      }),
    ];
  return exists(`${bpffs}/v${LAYOUT_VERSION}/maps/config`)
    ? []
    : [
        finding('error', 'pinned-maps', {
          what: 'the maps of this version are not pinned',
          evidence: `there is no ${bpffs}/v${LAYOUT_VERSION}/maps/config`,
          remedy: `restart the agent with --run-dir ${runDir}`,
        }),
      ];
};

const numberIn = (text: string, pattern: RegExp): number | undefined => {
  const [, found] = pattern.exec(text) ?? [];
  if (found === undefined) return undefined;
  return found === 'unlimited' ? Infinity : Number(found);
};
const OPEN_FILES_LEAST = 1_024;

/** Limits of the process (setrlimit(2)), as they are. */
export const processLimits: Check = ({ read, entries, kernel }) => {
  const limits = read('/proc/self/limits') ?? '';
  const files = numberIn(limits, /^Max open files +(\d+|unlimited)/m);
  const open = entries('/proc/self/fd');
  const found = [];
  if (files !== undefined && (files < OPEN_FILES_LEAST || (open ?? 0) > files * 0.8))
    found.push(
      finding('warning', 'open-files', {
        what: 'the agent may run out of open files',
        evidence: `${open ?? 'some'} are open of ${files}`,
        remedy: 'raise LimitNOFILE= of its unit, or ulimit -n, and restart it',
      }),
    );
  // From 5.11 on maps count against the memory of the control group instead.
  const memory = numberIn(limits, /^Max locked memory +(\d+|unlimited)/m);
  if (memory !== undefined && memory < 256 * 1024 * 1024 && !isAtLeast(kernel, 5, 11))
    found.push(
      finding('error', 'memlock', {
        what: 'maps of the datapath may not be made: too little memory may be locked',
        evidence: `Max locked memory ${memory}`,
        remedy: 'set LimitMEMLOCK=infinity in its unit, and restart it',
      }),
    );
  return found;
};
