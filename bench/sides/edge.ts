/**
 * This network on one host without its control plane: the kernel datapath and the agent's edge, in
 * this process, with the topology handed over once. For machines where starting an API and agents
 * takes longer than the measurement.
 */
import { Edge } from '#agent/edge.ts';
import { openEbpf } from '#datapath/ebpf/open.ts';
import type { Journal } from '#lab/journal.ts';
import { namespaceOf, openLab, type Lab } from '#lab/lab.ts';
import { labDir, TUNNEL_UDP_PORT } from '#lab/names.ts';
import { makeWires } from '#lab/wires.ts';
import { monotonicMs } from '#os/clock.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';
import type { HostId } from '#virtual/ids.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import type { TopologyObject } from '#virtual/topology.ts';
import { MAC } from './recipes.ts';

const SLOTS = 4_096;
const RING_BYTES = 1 << 20;
/** A first packet waits so long at most; more often, an emulated CPU would do nothing else. */
const PUMP_MS = 5;

const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const HOST = id(1);
const ROUTER = id(2);
const BRIDGES = ['la', 'lb'] as const;
const bridgeId = (name: string | undefined): string => id(name === 'la' ? 10 : 11);

const object = (kind: KindName, fields: object): TopologyObject => ({
  kind,
  object: { revision: 1, adminStateUp: true, ...fields } as unknown as StoredObject,
});

/** The recipe ONE_HOST as the API would hand it out. */
function objects({ recipe }: Lab): TopologyObject[] {
  const inBridge = { type: 'bridge', hairpin: false };
  return [
    object('host', { id: HOST, name: 'h1' }),
    object('router', { id: ROUTER, name: 'r', networkKey: 0x800009 }),
    ...BRIDGES.flatMap((name, i) => [
      object('bridge', { id: bridgeId(name), name, floodKey: 0x800001 + i }),
      object('port', {
        ...inBridge,
        id: id(20 + i),
        name: `${name}-r`,
        bridge: bridgeId(name),
        addresses: [],
        peer: id(30 + i),
      }),
      object('port', {
        id: id(30 + i),
        name: `r-${name}`,
        type: 'router',
        router: ROUTER,
        peer: id(20 + i),
        mac: i === 0 ? MAC.routerA : MAC.routerB,
        networks: [`10.${i + 1}.0.1/16`],
      }),
    ]),
    ...Object.entries(recipe.workloads).map(([name, { bridge, mac, addresses }], i) =>
      object('port', {
        ...inBridge,
        id: id(40 + i),
        name,
        bridge: bridgeId(bridge),
        host: HOST,
        interface: name,
        addresses: addresses.map((text) => ({ mac, ip: text.split('/')[0] })),
      }),
    ),
  ];
}

/** The edge works as long as this process does. */
export async function makeEdge(journal: Journal): Promise<Lab> {
  await makeWires(journal);
  const lab = openLab(journal.lab);
  const path = netnsPath(namespaceOf(lab, 'h1'));
  const post = (): void => {};
  const edge = inNetns(path, () => {
    const datapath = openEbpf({
      runDir: `${labDir(lab.name)}/hosts/h1`,
      slots: SLOTS,
      ringBytes: RING_BYTES,
      tunnelUdpPort: TUNNEL_UDP_PORT,
    });
    const made = new Edge({ host: HOST as HostId, datapath, now: monotonicMs, seed: 1 });
    const interfaces = Object.keys(lab.recipe.workloads).map((name) => ({
      name,
      index: linkByName(name)?.index ?? 0,
    }));
    made.handle({ type: 'interfaces', interfaces }, post);
    const learned = { type: 'learned', all: true, put: [], forget: [] } as const;
    made.handle({ type: 'event', event: learned }, post);
    const snapshot = { type: 'snapshot', revision: 1, objects: objects(lab) } as const;
    made.handle({ type: 'event', event: snapshot }, post);
    return made;
  });
  // What deciding needs (maps, sockets) is open: no need to enter the namespace again.
  setInterval(() => edge.pump(post), PUMP_MS).unref();
  return lab;
}
