/**
 * The hardware of a lab: a namespace for every machine and workload, cables (veth) between them,
 * one bridge as the underlay. Nothing is made in the root namespace.
 *
 * Workloads are quiet: no router solicitation, no duplicate address detection. What is captured in
 * one is then what somebody sent on purpose.
 */
import { inNetns, netnsPath } from '#os/netns.ts';
import { runOk } from '#os/run.ts';
import { writeSysctl } from '#os/sysctl.ts';
import type { Journal } from './journal.ts';
import {
  machinesOf,
  netnsOf,
  UNDERLAY_INTERFACE,
  underlayMtu,
  UNDERLAY_PART,
  type Machine,
} from './names.ts';
import { refuseWhenStopping } from './processes.ts';
import { workloadsOf, type Workload } from './recipe.ts';

const UNDERLAY_BRIDGE = 'underlay';
/** What a workload sees of its port. */
export const WORKLOAD_INTERFACE = 'eth0';
const WORKLOAD_MTU = 1500;
/** How long one batch of `ip` commands may take on a busy machine. */
const BATCH_DEADLINE_MS = 30_000;

const running = new Set<Promise<unknown>>();

/**
 * Runs `ip` commands in order, in a part's namespace when one is named; stops at the first error.
 */
export async function ipBatch(lines: readonly string[], namespace?: string): Promise<void> {
  if (lines.length === 0) return;
  refuseWhenStopping();
  const where = namespace === undefined ? [] : ['-n', namespace];
  const batch = runOk('ip', [...where, '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    deadlineMs: BATCH_DEADLINE_MS,
  });
  running.add(batch);
  await batch.finally(() => running.delete(batch));
}

/** Resolves when no batch runs: what follows can rely on nothing being made behind its back. */
export async function batchesEnd(): Promise<void> {
  while (running.size > 0) await Promise.allSettled(running);
}

/** Writes IPv6 settings; a kernel without IPv6 has nothing to set. */
function setIpv6(namespace: string, settings: Readonly<Record<string, string>>): void {
  inNetns(netnsPath(namespace), () => {
    for (const [key, value] of Object.entries(settings)) {
      try {
        writeSysctl(`net/ipv6/conf/${key}`, value);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  });
}

const QUIET = {
  'default/accept_ra': '0',
  'default/router_solicitations': '0',
  'default/accept_dad': '0',
} as const;

/** A cable from a part's own interface to an interface in another namespace. */
interface Cable {
  readonly namespace: string;
  readonly interface: string;
  readonly mac: string;
  readonly mtu: number;
  readonly far: { readonly namespace: string; readonly interface: string };
}

export const cableLine = (cable: Cable): string =>
  `link add name ${cable.interface} address ${cable.mac} mtu ${cable.mtu}` +
  ` netns ${cable.namespace} type veth` +
  ` peer name ${cable.far.interface} mtu ${cable.mtu} netns ${cable.far.namespace}`;

const machineCable = (lab: string, machine: Machine, mtu: number): string =>
  cableLine({
    namespace: netnsOf(lab, machine.part),
    interface: UNDERLAY_INTERFACE,
    mac: machine.mac,
    mtu,
    far: { namespace: netnsOf(lab, UNDERLAY_PART), interface: machine.cable },
  });

const workloadCable = (lab: string, name: string, workload: Workload): string =>
  cableLine({
    namespace: netnsOf(lab, name),
    interface: WORKLOAD_INTERFACE,
    mac: workload.mac,
    mtu: workload.mtu ?? WORKLOAD_MTU,
    far: { namespace: netnsOf(lab, workload.host), interface: name },
  });

/** Makes every namespace and cable of the journal; none of them may exist. */
export async function makeWires(journal: Journal): Promise<void> {
  const { lab, recipe, namespaces } = journal;
  await ipBatch(namespaces.map((name) => `netns add ${name}`));
  const underlay = netnsOf(lab, UNDERLAY_PART);
  const machines = machinesOf(recipe);
  const workloads = workloadsOf(recipe, 'namespace');
  for (const [name] of workloads) setIpv6(netnsOf(lab, name), QUIET);
  const six = recipe.underlay === 'ipv6';
  const off = { 'default/disable_ipv6': '1' };
  setIpv6(netnsOf(lab, UNDERLAY_PART), off);
  for (const { part } of machines) setIpv6(netnsOf(lab, part), six ? QUIET : off);
  await ipBatch([
    `link add name ${UNDERLAY_BRIDGE} netns ${underlay} type bridge mcast_snooping 0`,
    ...machines.map((machine) => machineCable(lab, machine, underlayMtu(recipe))),
    ...workloads.map(([name, workload]) => workloadCable(lab, name, workload)),
  ]);
  await Promise.all([
    ipBatch(underlayLines(machines), underlay),
    ...machines.map((machine) => ipBatch(machineLines(machine), netnsOf(lab, machine.part))),
    ...workloads.map(([name, workload]) => ipBatch(workloadLines(workload), netnsOf(lab, name))),
  ]);
  await Promise.all(
    recipe.hosts.map((host) => {
      const onHost = ([, workload]: readonly [string, Workload]) => workload.host === host;
      const taps = workloadsOf(recipe, 'vm').filter(onHost);
      const here = [...workloads.filter(onHost), ...taps];
      return ipBatch(
        [
          ...taps.map(([name]) => `tuntap add dev ${name} mode tap vnet_hdr`),
          ...here.map(([name]) => `link set dev ${name} up`),
        ],
        netnsOf(lab, host),
      );
    }),
  );
}

const underlayLines = (machines: readonly Machine[]): string[] => [
  'link set dev lo up',
  ...machines.map(({ cable }) => `link set dev ${cable} up master ${UNDERLAY_BRIDGE}`),
  `link set dev ${UNDERLAY_BRIDGE} up`,
];

const machineLines = (machine: Machine): string[] => [
  'link set dev lo up',
  `address add ${machine.address}/24 dev ${UNDERLAY_INTERFACE}`,
  ...(machine.tunnelAddress === machine.address
    ? []
    : [`address add ${machine.tunnelAddress}/64 dev ${UNDERLAY_INTERFACE}`]),
  `link set dev ${UNDERLAY_INTERFACE} up`,
];

const workloadLines = (workload: Workload): string[] => [
  'link set dev lo up',
  `link set dev ${WORKLOAD_INTERFACE} up`,
  ...workload.addresses.map((address) => `address add ${address} dev ${WORKLOAD_INTERFACE}`),
  ...workload.via.map((gateway) => {
    const everywhere = gateway.includes(':') ? '::/0' : '0.0.0.0/0';
    return `route add ${everywhere} via ${gateway} dev ${WORKLOAD_INTERFACE}`;
  }),
];

/** Plugs a workload into another host: the same interface, MAC and addresses, a new cable. */
export async function moveCable(lab: string, name: string, workload: Workload): Promise<void> {
  if (workload.kind === 'vm') throw new Error(`${name} is a VM: its tap stays where it is`);
  const inside = netnsOf(lab, name);
  // Both ends of a veth go together.
  await ipBatch([`link delete dev ${WORKLOAD_INTERFACE}`], inside);
  await ipBatch([workloadCable(lab, name, workload)]);
  await ipBatch(workloadLines(workload), inside);
  await ipBatch([`link set dev ${name} up`], netnsOf(lab, workload.host));
}
