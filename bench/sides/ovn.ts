/**
 * OVN with two chassis: its databases and ovn-northd on the machine of the API, on each host an
 * Open vSwitch in user space (packet sockets, or AF_XDP sockets) with ovn-controller, Geneve
 * between them. One logical switch with the stations a, c and d, as in the other networks.
 *
 * Tunnels of the user space datapath need the underlay's address on a bridge of that datapath, with
 * the underlay's interface as its port.
 */
import { namespaceOf, openLab, type Lab } from '#lab/lab.ts';
import type { Journal } from '#lab/journal.ts';
import { API_PART, machineOf, UNDERLAY_INTERFACE, UNDERLAY_PART } from '#lab/names.ts';
import { mkdirSync } from 'node:fs';
import { ipBatch, makeWires, WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { runOk } from '#os/run.ts';
import { offloadsOff } from '../tools.ts';
import {
  addPort,
  appctl,
  cablesWithoutOffload,
  startDaemon,
  startVswitch,
  vsctl,
  vswitchOf,
  XDP_PORT,
  type Vswitch,
} from './ovs.ts';

const SB_PORT = 6642;
const SYNC_S = 30;
/** Geneve with OVN's option takes 58 bytes of the underlay's 1550. */
const MTU = 1400;

export async function makeOvn(journal: Journal, xdp: boolean): Promise<Lab> {
  const { recipe } = journal;
  await makeWires(journal);
  const lab = openLab(journal.lab);
  const central = vswitchOf(lab, API_PART);
  const address = machineOf(recipe, API_PART).address;
  await startCentral(central, address);
  for (const host of recipe.hosts) await startChassis(lab, host, address, xdp);
  const stations = Object.entries(recipe.workloads);
  await nbctl(central, [
    ...['ls-add', 'ls'],
    ...stations.flatMap(([name, { mac, addresses }]) => [
      ...['--', 'lsp-add', 'ls', name],
      ...['--', 'lsp-set-addresses', name, `${mac} ${addresses[0]?.split('/')[0]}`],
    ]),
  ]);
  for (const [name] of stations)
    await ipBatch([`link set dev ${WORKLOAD_INTERFACE} mtu ${MTU}`], namespaceOf(lab, name));
  await nbctl(central, ['--wait=hv', `--timeout=${SYNC_S}`, 'sync']);
  return lab;
}

const nbctl = ({ dir }: Vswitch, words: readonly string[]): Promise<string> =>
  runOk('ovn-nbctl', [`--db=unix:${dir}/nb.sock`, ...words], { deadlineMs: SYNC_S * 2000 });

async function startCentral(central: Vswitch, address: string): Promise<void> {
  const { dir } = central;
  mkdirSync(dir, { recursive: true });
  for (const name of ['nb', 'sb']) {
    await runOk('ovsdb-tool', [
      'create',
      `${dir}/${name}.db`,
      `/usr/share/ovn/ovn-${name}.ovsschema`,
    ]);
    const listen = name === 'sb' ? [`--remote=ptcp:${SB_PORT}:${address}`] : [];
    const words = ['ovsdb-server', `${dir}/${name}.db`, `--remote=punix:${dir}/${name}.sock`];
    await startDaemon(central, name, [...words, `--unixctl=${dir}/${name}.ctl`, ...listen], () =>
      runOk(`ovn-${name}ctl`, [`--db=unix:${dir}/${name}.sock`, '--timeout=5', 'init']),
    );
  }
  const dbs = [`--ovnnb-db=unix:${dir}/nb.sock`, `--ovnsb-db=unix:${dir}/sb.sock`];
  await startDaemon(central, 'northd', ['ovn-northd', ...dbs, `--unixctl=${dir}/northd.ctl`], () =>
    runOk('ovs-appctl', ['--target', `${dir}/northd.ctl`, '--timeout=5', 'version']),
  );
}

async function startChassis(lab: Lab, host: string, central: string, xdp: boolean): Promise<void> {
  const { address, cable, mac } = machineOf(lab.recipe, host);
  const names = await cablesWithoutOffload(lab, host);
  await offloadsOff(lab, host, UNDERLAY_INTERFACE);
  await offloadsOff(lab, UNDERLAY_PART, cable);
  const vswitch = await startVswitch(lab, host);
  const ids = {
    'system-id': host,
    'ovn-remote': `tcp:${central}:${SB_PORT}`,
    'ovn-encap-type': 'geneve',
    'ovn-encap-ip': address,
    'ovn-bridge-datapath-type': 'netdev',
    hostname: host,
  };
  await vsctl(vswitch, [
    ...['set', 'open', '.'],
    ...Object.entries(ids).map(([key, value]) => `external_ids:${key}="${value}"`),
  ]);
  const settings = xdp ? XDP_PORT : [];
  await vsctl(vswitch, [
    ...['add-br', 'br-phy', '--', 'set', 'bridge', 'br-phy', 'datapath_type=netdev'],
    `other-config:hwaddr="${mac}"`,
    ...addPort('br-phy', UNDERLAY_INTERFACE, settings),
  ]);
  await ipBatch(
    [
      `address flush dev ${UNDERLAY_INTERFACE}`,
      `address add ${address}/24 dev br-phy`,
      'link set dev br-phy up',
    ],
    namespaceOf(lab, host),
  );
  await appctl(vswitch, ['ovs/route/add', '172.30.0.0/24', 'br-phy']).catch(() => {});
  // ovn-controller takes no path for its control socket: it makes one in OVN_RUNDIR.
  const words = ['ovn-controller', `unix:${vswitch.dir}/db.sock`];
  await startDaemon(vswitch, 'controller', words, () => vsctl(vswitch, ['br-exists', 'br-int']));
  await vsctl(
    vswitch,
    names
      .flatMap((name) => addPort('br-int', name, [`external_ids:iface-id=${name}`, ...settings]))
      .slice(1),
  );
}
