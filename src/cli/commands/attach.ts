/**
 * `mn attach` and `mn detach`: what exists on this machine becomes a port of a virtual network, and
 * is let go again.
 *
 * Invariants: each step looks whether it is done already, so a run that was killed anywhere is
 * finished by the same command, and nothing is there twice; and nothing passes before the agent has
 * isolated the interface: a cable's end stays down until then, and a tap or a card belongs to the
 * agent before its port is called up.
 */
import type { Command } from 'commander';
import { WireError, type Wires } from '#client/wires.ts';
import type { Written } from '#client/types.ts';
import {
  addressesOf,
  cableOf,
  checkFree,
  type Port,
  portIn,
  portNamed,
  seedsOf,
  seedsWith,
  waitUntilUp,
} from '../attaching.ts';
import { parseIp } from '#net/ip.ts';
import { parseMac } from '#net/mac.ts';
import { parseNetwork } from '#net/prefix.ts';
import { print, styled } from '../format.ts';
import { EXIT, type ExitCode, RefusedError, UsageError } from '../io.ts';
import {
  action,
  formatOf,
  numberOption,
  type Options,
  outputOption,
  repeated,
  type Session,
  WAIT_MS_DEFAULT,
  WAIT_MS_MAX,
} from '../session.ts';

const INSIDE_DEFAULT = 'eth0';

const textOf = (options: Options, name: string): string | undefined =>
  options[name] as string | undefined;
const listOf = (options: Options, name: string): readonly string[] =>
  (options[name] as readonly string[] | undefined) ?? [];

async function wiresOf({ io }: Session): Promise<Wires> {
  if (io.wires === undefined)
    throw new UsageError('this machine cannot be reached from here: run mn on the host itself');
  return io.wires();
}

/** Runs it on the machine; its refusals are the caller's to mend. */
async function onMachine<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof WireError) throw new RefusedError(error.message);
    throw error;
  }
}

/** The id of the host: the one named, else that of the agent of this network namespace. */
async function hostOf({ names }: Session, wires: Wires, options: Options): Promise<string> {
  const given = textOf(options, 'host');
  if (given !== undefined) return names.id('host', given);
  const here = await onMachine(() => wires.agent());
  if (here !== undefined) return here.host;
  throw new RefusedError(
    'no agent runs in this network namespace, so it is not known which host this is',
    'Start one: mn agent --host NAME …; or name the host: --host NAME',
  );
}

/** The port, if it is there; whatever refuses it is told before anything is made. */
async function foundPort(
  session: Session,
  name: string,
  options: Options,
): Promise<Port | undefined> {
  const bridge = textOf(options, 'bridge');
  const found = await portNamed(session.io.client, name);
  if (found === undefined && bridge === undefined)
    throw new RefusedError(
      `there is no port ${name}`,
      `To make it: mn attach ${name} --bridge BRIDGE …; see what there is: mn bridge list`,
    );
  if (found === undefined || bridge === undefined) return found;
  if (found.bridge === (await session.names.id('bridge', bridge))) return found;
  throw new RefusedError(`port ${name} is there, and not of bridge ${bridge}`);
}

async function madePort({ io }: Session, name: string, options: Options): Promise<Port> {
  return portIn(await io.client.create('port', { name, bridge: textOf(options, 'bridge') }));
}

/** Sets what is not set yet. */
async function update(
  { io }: Session,
  port: Port,
  body: Readonly<Record<string, unknown>>,
): Promise<Written | undefined> {
  const now = port as unknown as Readonly<Record<string, unknown>>;
  const changes = Object.fromEntries(
    Object.entries(body).filter(([field, value]) => value !== undefined && now[field] !== value),
  );
  if (Object.keys(changes).length === 0) return undefined;
  return io.client.update('port', port.id, changes, port.revision);
}

interface Place {
  readonly host: string;
  readonly interface: string;
}
interface Attached {
  readonly port: Port;
  readonly place: Place;
  /** What was attached, for people. */
  readonly what: string;
}

const ONLY_CONTAINERS = ['inside', 'gateway', 'mtu'] as const;

/** An interface that is there: a tap, a card, an end of somebody's cable. */
async function attachInterface(
  session: Session,
  [name, wires, host]: readonly [string, Wires, string],
  options: Options,
): Promise<Attached> {
  const own = String(options['interface']);
  for (const option of ONLY_CONTAINERS)
    if (options[option] !== undefined)
      throw new UsageError(`--${option} is for containers: what is behind ${own} sets itself up`);
  const mac = textOf(options, 'mac');
  const addresses = listOf(options, 'address');
  if (addresses.length > 0 && mac === undefined)
    throw new UsageError(`--address needs --mac: that of the machine behind ${own}`);
  const isHere = (await onMachine(() => wires.agent()))?.host === host;
  const found = await onMachine(() => wires.interface(own));
  if (isHere && found === undefined)
    throw new RefusedError(`there is no interface ${own} here`, 'See what there is: ip link');
  const there = await foundPort(session, name, options);
  const place = { host, interface: own };
  if (there !== undefined) checkFree(there, place);
  const isBound = there?.host === host;
  const isOwn = (found?.addresses.length ?? 0) > 0 || found?.enslaved === true;
  if (isHere && isOwn && !isBound && options['force'] !== true)
    throw new RefusedError(
      found?.enslaved === true
        ? `${own} belongs to a bridge or bond of this host`
        : `${own} carries addresses of this host (${found?.addresses.join(', ')})`,
      "Attached, it is the virtual network's alone, and the host is not reached by it: --force",
    );
  const port = there ?? (await madePort(session, name, options));
  const seeds = mac === undefined ? undefined : seedsWith(port, mac, addresses);
  const written = await update(session, port, { ...place, addresses: seeds });
  return { port: written === undefined ? port : portIn(written), place, what: own };
}

/** Another network namespace, by a cable of its own. */
async function attachNamespace(
  session: Session,
  [name, wires, host]: readonly [string, Wires, string],
  options: Options,
): Promise<Attached> {
  const { io } = session;
  const pid = options['pid'] as number | undefined;
  const given = pid === undefined ? { name: String(options['netns']) } : { pid };
  const netns = await onMachine(() => wires.netns(given));
  const there = await foundPort(session, name, options);
  if (there !== undefined) checkFree(there, { host, interface: cableOf(there) });
  const port = there ?? (await madePort(session, name, options));
  const place = { host, interface: cableOf(port) };
  let addresses = listOf(options, 'address');
  if (addresses.length === 0) {
    const { known, unknown } = await addressesOf(io.client, port);
    addresses = known;
    if (unknown.length > 0)
      io.err(
        `${styled(io, 'yellow', 'note:')} not set inside, because no router of the bridge knows ` +
          `the length of the network: ${unknown.join(', ')}; give --address\n`,
      );
  }
  const inside = textOf(options, 'inside') ?? INSIDE_DEFAULT;
  const { mac } = await onMachine(() =>
    wires.plug({
      outside: place.interface,
      netns,
      inside,
      mac: textOf(options, 'mac') ?? seedsOf(port)[0]?.mac,
      mtu: options['mtu'] as number | undefined,
      addresses,
      gateways: listOf(options, 'gateway'),
    }),
  );
  const written = await update(session, port, {
    ...place,
    addresses: seedsWith(port, mac, addresses),
  });
  const what = `${inside} in ${pid === undefined ? String(options['netns']) : `process ${pid}`}`;
  return { port: written === undefined ? port : portIn(written), place, what };
}

/** What can be told to be wrong before anything is made. */
function checkValues(options: Options): void {
  const mac = textOf(options, 'mac');
  if (mac !== undefined && parseMac(mac) === undefined)
    throw new UsageError(`--mac: ${mac} must be a MAC address such as 02:00:00:00:00:01`);
  for (const text of listOf(options, 'address'))
    if (!text.includes('/') || parseNetwork(text) === undefined)
      throw new UsageError(`--address: ${text} must be an address with a length: 10.0.0.5/24`);
  for (const text of listOf(options, 'gateway'))
    if (parseIp(text) === undefined)
      throw new UsageError(`--gateway: ${text} must be an IPv4 or IPv6 address`);
}

async function attach(session: Session, name: string, options: Options): Promise<ExitCode> {
  const { io } = session;
  const ways = ['interface', 'pid', 'netns'].filter((way) => options[way] !== undefined);
  if (ways.length !== 1)
    throw new UsageError('name what to attach by one of --interface, --pid and --netns');
  checkValues(options);
  const wires = await wiresOf(session);
  const host = await hostOf(session, wires, options);
  const way = options['interface'] === undefined ? attachNamespace : attachInterface;
  const { port, place, what } = await way(session, [name, wires, host], options);
  const timeoutMs = (options['timeout'] as number | undefined) ?? WAIT_MS_DEFAULT;
  const raised = await waitUntilUp(io, { port: port.id, host }, timeoutMs);
  const hostName = await session.names.one('host', host);
  const value = { port, ...place, up: raised.up };
  const format = formatOf(options);
  const line = `attached ${what} to port ${port.name ?? port.id} of ${hostName}\n`;
  if (raised.up || format !== 'table') print(io, format, { value, text: () => line });
  if (raised.up) return EXIT.ok;
  const why = raised.alive ? (raised.why ?? 'it has said nothing of it') : 'it is not alive';
  io.err(
    `${styled(io, 'red', 'error:')} bound, but the agent of ${hostName} has not said within ` +
      `${timeoutMs} ms that the port is up: ${why}\n` +
      `${styled(io, 'dim', 'hint:')} Until then nothing passes. Look: mn status; then run this again\n`,
  );
  return EXIT.behind;
}

async function detach(session: Session, name: string, options: Options): Promise<ExitCode> {
  const { io } = session;
  const wires = await wiresOf(session);
  const host = await hostOf(session, wires, options);
  const port = await portNamed(io.client, name);
  if (port === undefined)
    throw new RefusedError(`there is no port ${name}`, 'See what there is: mn port list');
  if (port.host !== undefined && port.host !== host)
    throw new RefusedError(
      `port ${name} is bound on ${await session.names.one('host', port.host)}, not here`,
      `Run this there; or only let it go: mn port unbind ${name}`,
    );
  // The cable first: once the port is not bound, nothing isolates its end any more.
  const removed = await onMachine(() => wires.unplug(cableOf(port)));
  if (options['delete'] === true) await io.client.remove('port', port.id);
  else if (port.host !== undefined)
    await io.client.update('port', port.id, { host: null, interface: null }, port.revision);
  const did = options['delete'] === true ? 'detached and deleted' : 'detached';
  print(io, formatOf(options), {
    value: { port, cableRemoved: removed },
    text: () => `${did} port ${port.name ?? port.id}\n`,
  });
  return EXIT.ok;
}

const common = (command: Command): Command =>
  command
    .argument('<port>', 'its name or id')
    .option('--host <host>', 'this host; without, the one whose agent runs here')
    .addOption(outputOption())
    .helpGroup('The virtual network:');

export function addAttach(session: Session, program: Command): void {
  common(
    program
      .command('attach')
      .description('make an interface or a container of this host a port; needs root')
      .option('--interface <name>', 'a tap, a card, or any interface that is there')
      .addOption(numberOption('--pid <n>', 'a container, by a process in it'))
      .option('--netns <name>', 'a network namespace, by its name or path')
      .option('--bridge <bridge>', 'where the port is made when there is none of that name')
      .option('--address <address/length>', 'of the workload; repeatable', repeated)
      .option('--gateway <address>', 'its default router; repeatable, one of a family', repeated)
      .option('--mac <mac>', 'of the workload; without, that of the port')
      .addOption(numberOption('--mtu <bytes>', 'of the cable', 65_535))
      .option('--inside <name>', `the interface inside (default ${INSIDE_DEFAULT})`)
      .option('--force', 'also an interface that carries addresses of this host')
      .addOption(
        numberOption('--timeout <ms>', 'how long to wait until the port is up', WAIT_MS_MAX),
      ),
  )
    .addHelpText(
      'after',
      `
Returns when the agent says that the port is up: isolated, and nothing passed before.
Run again, it finishes what was interrupted, and changes nothing that is done.

Examples:
  mn attach vm1 --bridge b1 --interface tap0
  mn attach web --bridge b1 --netns web --address 10.0.1.5/24 --gateway 10.0.1.1
  mn attach web --bridge b1 --pid 4242
`,
    )
    .action(action(session, ([name = ''], options) => attach(session, name, options)));
  common(
    program
      .command('detach')
      .description('let go what mn attach attached; the port stays')
      .option('--delete', 'also delete the port'),
  )
    .addHelpText(
      'after',
      `
Examples:
  mn detach vm1
  mn detach web --delete
`,
    )
    .action(action(session, ([name = ''], options) => detach(session, name, options)));
}
