/**
 * Open vSwitch with its datapath in user space (`netdev`), with packet sockets or with AF_XDP
 * sockets on its ports. Offloads are off on both ends of every cable: this datapath needs whole
 * frames.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { namespaceOf, openLab, type Lab } from '#lab/lab.ts';
import type { Journal } from '#lab/journal.ts';
import { labDir } from '#lab/names.ts';
import { find, isAlive, start, until } from '#lab/processes.ts';
import { ipBatch, makeWires, WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { runOk } from '#os/run.ts';
import { offloadsOff } from '../tools.ts';
import { SINK } from './recipes.ts';

const READY_MS = 10_000;
/** AF_XDP on a veth without a driver's help: works everywhere, and native mode is no faster. */
export const XDP_PORT = ['type=afxdp-nonpmd', 'options:xdp-mode=generic'] as const;

/** One Open vSwitch: its daemons in a part of a lab, and the words to speak to them. */
export interface Vswitch {
  readonly lab: Lab;
  readonly part: string;
  /** Its run directory. */
  readonly dir: string;
}

export const vswitchOf = (lab: Lab, part: string): Vswitch => ({
  lab,
  part,
  dir: `${labDir(lab.name)}/ovs-${part}`,
});

/** Runs ovs-vsctl; waits until the daemon has done it. */
export const vsctl = ({ dir }: Vswitch, words: readonly string[]): Promise<string> =>
  runOk('ovs-vsctl', [`--db=unix:${dir}/db.sock`, '--timeout=15', ...words]);

/** Asks the daemon that forwards. */
export const appctl = ({ dir }: Vswitch, words: readonly string[]): Promise<string> =>
  runOk('ovs-appctl', ['--target', `${dir}/vswitchd.ctl`, '--timeout=15', ...words]);

/** The OpenFlow rules of a bridge become exactly these. */
export const setRules = async (
  { dir }: Vswitch,
  bridge: string,
  rules: readonly string[],
): Promise<void> => {
  await runOk('ovs-ofctl', ['replace-flows', `unix:${dir}/${bridge}.mgmt`, '-'], {
    input: `${rules.join('\n')}\n`,
  });
};

/** Starts a daemon that stays in the foreground and answers when it can be spoken to. */
export async function startDaemon(
  { lab, part, dir }: Vswitch,
  name: string,
  words: readonly string[],
  ready: () => Promise<unknown>,
): Promise<void> {
  const full = `${name}-${part}`;
  const environment = [`OVS_RUNDIR=${dir}`, `OVN_RUNDIR=${dir}`, `OVS_LOGDIR=${dir}`];
  start({ lab: lab.name, part, name: full, command: ['env', ...environment, ...words] });
  await until(`${full} answers`, READY_MS, async () => {
    const process = find(lab.name, full);
    if (process === undefined || !isAlive(process)) throw new Error(`${full} ended by itself`);
    return ready().then(
      () => true,
      () => false,
    );
  });
}

/** A database, and the daemon that forwards, without a bridge yet. */
export async function startVswitch(lab: Lab, part: string): Promise<Vswitch> {
  const vswitch = vswitchOf(lab, part);
  const { dir } = vswitch;
  mkdirSync(dir, { recursive: true });
  const schema = '/usr/share/openvswitch/vswitch.ovsschema';
  await runOk('ovsdb-tool', ['create', `${dir}/conf.db`, schema]);
  const database = ['ovsdb-server', `${dir}/conf.db`, `--remote=punix:${dir}/db.sock`];
  await startDaemon(vswitch, 'ovsdb', [...database, `--unixctl=${dir}/ovsdb.ctl`], () =>
    vsctl(vswitch, ['--no-wait', 'init']),
  );
  const daemon = ['ovs-vswitchd', `unix:${dir}/db.sock`, `--unixctl=${dir}/vswitchd.ctl`];
  await startDaemon(vswitch, 'vswitchd', daemon, () => appctl(vswitch, ['version']));
  return vswitch;
}

/** Both ends of the cables of all workloads here. */
export async function cablesWithoutOffload(lab: Lab, host: string): Promise<string[]> {
  const names = Object.entries(lab.recipe.workloads)
    .filter(([, workload]) => workload.host === host)
    .map(([name]) => name);
  for (const name of names) {
    await offloadsOff(lab, host, name);
    await offloadsOff(lab, name, WORKLOAD_INTERFACE);
  }
  return names;
}

/** The words that add a port to a bridge. */
export const addPort = (bridge: string, name: string, settings: readonly string[]): string[] => [
  ...['--', 'add-port', bridge, name],
  ...(settings.length === 0 ? [] : ['--', 'set', 'interface', name, ...settings]),
];

/** `system`: the kernel module; `netdev`: user space. */
type DatapathType = 'system' | 'netdev';

async function addBridge(
  vswitch: Vswitch,
  type: DatapathType,
  ports: readonly string[],
  settings: readonly string[] = [],
): Promise<void> {
  await vsctl(vswitch, [
    ...['add-br', 'br0', '--', 'set', 'bridge', 'br0', `datapath_type=${type}`],
    ...ports.flatMap((name) => addPort('br0', name, settings)),
  ]);
}

/** A learning switch on the first host. */
export async function makeOvs(journal: Journal, xdp: boolean): Promise<Lab> {
  await makeWires(journal);
  const lab = openLab(journal.lab);
  const vswitch = await startVswitch(lab, 'h1');
  const ports = await cablesWithoutOffload(lab, 'h1');
  await addBridge(vswitch, 'netdev', ports, xdp ? XDP_PORT : []);
  return lab;
}

/**
 * Its daemon counts no CPU, and then loses every upcall for ever, when it starts within the first
 * ten seconds of a machine (version 3.1).
 */
const UPTIME_MIN_S = 12;
const uptimeS = (): number => Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]);

/** A learning switch on the first host, forwarding in the kernel; offloads stay on. */
export async function makeOvsKernel(journal: Journal): Promise<Lab> {
  await makeWires(journal);
  const lab = openLab(journal.lab);
  await until('Open vSwitch may start', UPTIME_MIN_S * 1000, () => uptimeS() > UPTIME_MIN_S);
  const vswitch = await startVswitch(lab, 'h1');
  await addBridge(vswitch, 'system', Object.keys(lab.recipe.workloads));
  return lab;
}

/**
 * A switch that sends everything to one port, by a rule that reads the UDP ports: so every pair of
 * them is a flow of its own.
 */
export async function makeOvsSetUps(journal: Journal): Promise<Lab> {
  await makeWires(journal);
  const lab = openLab(journal.lab);
  const vswitch = await startVswitch(lab, 'h1');
  await addBridge(vswitch, 'netdev', await cablesWithoutOffload(lab, 'h1'));
  const reads = ['UDP_SRC', 'UDP_DST'].map(
    (field, i) => `move:OXM_OF_${field}[]->NXM_NX_REG${i}[0..15]`,
  );
  await setRules(vswitch, 'br0', [`udp,actions=${reads.join(',')},output:${SINK.name}`]);
  // The receiver's kernel would answer with errors.
  await ipBatch(['link set dev eth0 arp off'], namespaceOf(lab, SINK.name));
  return lab;
}
