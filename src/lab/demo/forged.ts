/**
 * Act: frames forged on the underlay. A machine that is no host, and one that lies with the address
 * of a host that does not carry the network, send VXLAN with every key there is to every host. The
 * datapath checks (source, network), so nothing may arrive and every frame must be counted as
 * dropped.
 */
import { parseFrameText } from '#net/text.ts';
import type { StoredObject } from '#virtual/kind.ts';
import { countersOf, countersWhen, namespaceOf, type Lab } from '../lab.ts';
import { machineOf, TUNNEL_UDP_PORT, UNDERLAY_INTERFACE, type Machine } from '../names.ts';
import { PacketSocket } from '../packet-socket.ts';
import { markBytes } from '../probes.ts';
import { until } from '../processes.ts';
import { Stage } from '../stage.ts';
import { type Act, hostOf, KIND } from './act.ts';

const ARRIVE_MS = 5_000;
/**
 * struct vxlanhdr (RFC 7348 §5): flags with the I bit, reserved; the key and a reserved byte
 * follow.
 */
const VXLAN_FLAGS = '08000000';
/** A key that nobody was given. */
const NO_KEY = 0x7abcde;
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const STRANGER = '02:00:00:00:00:ee';

/** One way into one host: a key, and the inner destination that it leads to. */
interface Door {
  readonly host: string;
  readonly key: number;
  readonly bridge: string;
  readonly to: string;
}

/**
 * Every key that a host might listen to: the floods of all bridges, the ports that are up there.
 */
async function doors({ client, recipe }: Lab): Promise<Door[]> {
  const field = (object: StoredObject | undefined, name: string): unknown =>
    (object as unknown as Record<string, unknown> | undefined)?.[name];
  const bridges = await client.listAll('bridge');
  const ports = await client.listAll('port');
  const floods = bridges.flatMap((bridge) =>
    recipe.hosts.map((host) => ({
      host,
      key: Number(field(bridge, 'floodKey')),
      bridge: bridge.name ?? '',
      to: BROADCAST,
    })),
  );
  const up = (await client.listAll('location')).flatMap((location) => {
    const name = ports.find(({ id }) => id === location.id)?.name ?? '';
    const workload = recipe.workloads[name];
    if (workload === undefined) return [];
    const key = Number(field(location, 'tunnelKey'));
    return [{ host: workload.host, key, bridge: workload.bridge ?? '', to: workload.mac }];
  });
  return [...floods, ...up];
}

interface Forgery {
  readonly by: Machine;
  /** The outer source address. */
  readonly source: string;
  readonly target: Machine;
  readonly door: Door;
  readonly kind: number;
}

function forge({ by, source, target, door, kind }: Forgery): Uint8Array {
  const mark = Buffer.from(markBytes({ kind, from: 0, to: 0 })).toString('hex');
  const inner = frameOf(`${STRANGER} > ${door.to} type 0x88b8 data ${mark}`);
  const header = `${VXLAN_FLAGS}${door.key.toString(16).padStart(6, '0')}00`;
  const data = header + Buffer.from(inner).toString('hex');
  const outer = `udp ${source}:49152 > ${target.address}:${TUNNEL_UDP_PORT} data ${data}`;
  return frameOf(`${by.mac} > ${target.mac} ${outer}`);
}

function frameOf(text: string): Uint8Array {
  const frame = parseFrameText(text);
  if ('error' in frame) throw new Error(`${text}: ${frame.error}`);
  return frame;
}

export interface Forgers {
  /** A machine on the underlay that is no host. */
  readonly intruder: string;
  /** A host, and a bridge it carries nothing of. */
  readonly host: string;
  readonly foreign: string;
}

export async function forged(act: Act, { intruder, host, foreign }: Forgers): Promise<void> {
  const { lab, report } = act;
  const machine = (part: string): Machine => machineOf(lab.recipe, part);
  const by = machine(intruder);
  using stage = new Stage(lab);
  using socket = new PacketSocket({
    namespace: namespaceOf(lab, intruder),
    interface: UNDERLAY_INTERFACE,
  });
  const ways = await doors(lab);
  const attack = async (source: string, through: readonly Door[], text: string): Promise<void> => {
    const forgeries = through.map((door) => ({
      ...{ by, source, door, kind: KIND.forged, target: machine(door.host) },
    }));
    await sendAndCount(act, {
      socket,
      stage,
      frames: forgeries.map((each) => ({ door: each.door, frame: forge(each) })),
      text,
    });
  };
  await attack(by.address, ways, `by ${intruder}, which is no host`);
  const { address } = machine(host);
  const others = ways.filter((door) => door.host !== host);
  const theirs = others.filter((door) => door.bridge === foreign);
  await attack(
    address,
    theirs,
    `with ${host}'s address for ${foreign}, of which ${host} has nothing`,
  );
  const nowhere = others
    .map((door) => ({ ...door, key: NO_KEY }))
    .slice(0, lab.recipe.hosts.length);
  await attack(address, nowhere, `with ${host}'s address and a key nobody has`);

  const [own] = others.filter((door) => door.bridge !== foreign && door.to !== BROADCAST);
  if (own === undefined) return;
  const allowed = { by, source: address, door: own, kind: KIND.allowed, target: machine(own.host) };
  socket.send(forge(allowed));
  const arrived = (): boolean => stage.arrivals().some(({ mark }) => mark?.kind === KIND.allowed);
  await until('the control arrives', ARRIVE_MS, arrived).catch(() => {});
  report.check(
    arrived(),
    `control: with ${host}'s address for ${own.bridge}, which ${host} carries, it does arrive`,
    {
      expected: 'arrives',
      actual: 'lost',
    },
  );
  report.note('(so it is for the underlay to keep machines from using the address of a host)');
}

interface Attack {
  readonly socket: PacketSocket;
  readonly stage: Stage;
  readonly frames: readonly { readonly door: Door; readonly frame: Uint8Array }[];
  readonly text: string;
}

/**
 * Sends; then every host must have counted its share as dropped, and no workload may have got one.
 */
async function sendAndCount({ lab, report }: Act, attack: Attack): Promise<void> {
  const { socket, stage, frames, text } = attack;
  const counted = (drops: Readonly<Record<string, number>>): number =>
    (drops['unknown-sender'] ?? 0) + (drops['unknown-key'] ?? 0);
  const before = new Map<string, number>();
  for (const host of lab.recipe.hosts)
    before.set(host, counted((await countersOf(lab, host)).drops));
  for (const { frame } of frames) socket.send(frame);
  let dropped = 0;
  for (const host of lab.recipe.hosts) {
    const share = frames.filter(({ door }) => door.host === host).length;
    const was = before.get(host) ?? 0;
    const now = await countersWhen(lab, host, ({ drops }) => counted(drops) >= was + share).catch(
      () => countersOf(lab, host),
    );
    dropped += counted(now.drops) - was;
  }
  const arrived = stage
    .arrivals()
    .filter(({ mark }) => mark?.kind === KIND.forged)
    .map(({ at }) => stage.station(at).name);
  const counts = `${frames.length} sent, ${arrived.length} arrived, ${dropped} dropped`;
  report.check(arrived.length === 0 && dropped === frames.length, `VXLAN ${text}: ${counts}`, {
    expected: `0 arrived, ${frames.length} dropped`,
    actual: `arrived at ${arrived.join(' ') || 'nobody'}, ${dropped} dropped`,
  });
  stage.forget();
}

/** A host that carries nothing of some bridge, for the lie above; undefined when all carry all. */
export function outsideOf(lab: Lab): { host: string; foreign: string } | undefined {
  for (const host of lab.recipe.hosts)
    for (const foreign of Object.keys(lab.recipe.bridges)) {
      const workloads = Object.entries(lab.recipe.workloads);
      const here = workloads.filter(([name]) => hostOf(lab, name) === host);
      if (!here.some(([, { bridge }]) => bridge === foreign)) return { host, foreign };
    }
  return undefined;
}
