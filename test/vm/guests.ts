/**
 * Real guests on taps: QEMU under emulation, real agents, the real datapath. What they send comes
 * with segmentation and checksums undone, and must arrive whole: on this host, on another, behind a
 * router, at another guest. Machines, taps and agents come and go meanwhile.
 *
 * Takes minutes and downloads a kernel: run by `./midonet test --vm`, and not with all tests.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { cleanLab, remains } from '#lab/clean.ts';
import { killGuest, startGuest, waitForGuests } from '#lab/guest/guest.ts';
import {
  agentOf,
  announce,
  killAgent,
  logTails,
  makeLab,
  namespaceOf,
  startAgent,
  waitForAgents,
  type Lab,
} from '#lab/lab.ts';
import { readJournal } from '#lab/journal.ts';
import { lockLab } from '#lab/lock.ts';
import { namespacesOf, partsOf, UNDERLAY_MTU, UNDERLAY_PART } from '#lab/names.ts';
import { ping } from '#lab/ping.ts';
import { find, inside, isAlive, start, until } from '#lab/processes.ts';
import { addressOf, readRecipe } from '#lab/recipe.ts';
import { linkByName } from '#os/netlink/links.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { PacketSocket } from '#os/packet-socket.ts';
import { run, runOk } from '#os/run.ts';
import { sweepLabs, testLabName } from '../labs.ts';

const skip = process.getuid?.() !== 0 && 'needs root: it makes network namespaces';
const NAME = testLabName('vm');
const MEGABYTES = 8;
const DEADLINE_MS = 120_000;
/** Of an emulated machine on a busy one. */
const PINGS = { count: 5, intervalSeconds: 0.2 } as const;
const recipe = readRecipe('guests');

const addressIn = (name: string, family: 4 | 6 = 4): string => {
  const workload = recipe.workloads[name];
  const address = workload && addressOf(workload, family);
  assert.ok(address !== undefined, name);
  return address;
};

/** Asks the guest for a page, or to run a script, from inside a workload; answers what it says. */
async function http(lab: Lab, from: string, url: string, script?: string): Promise<string> {
  const request =
    script === undefined ? '' : `, { method: 'POST', body: ${JSON.stringify(script)} }`;
  const source = `
    const response = await fetch(${JSON.stringify(url)}${request});
    const hash = require('node:crypto').createHash('sha256');
    const start = performance.now();
    let text = '', bytes = 0;
    for await (const part of response.body) {
      hash.update(part);
      bytes += part.length;
      if (bytes < 65536) text += Buffer.from(part).toString();
    }
    const mbits = bytes * 8 / 1000 / (performance.now() - start);
    console.log(${script === undefined ? 'hash.digest("hex") + " " + mbits.toFixed(0)' : 'text'});
  `;
  const command = [process.execPath, '-e', `(async () => {${source}})()`];
  const [program = '', ...args] = inside(lab.name, from, command);
  return (await runOk(program, args, { deadlineMs: DEADLINE_MS })).trim();
}
const inGuest = (lab: Lab, from: string, guest: string, script: string): Promise<string> =>
  http(lab, from, `http://${addressIn(guest)}/cgi-bin/run`, script);

/** Serves bytes that both sides can know, in a workload with a namespace. */
const SERVER = `
  const bytes = Buffer.alloc(${MEGABYTES} * 2 ** 20);
  for (let i = 0, x = 1; i < bytes.length; i += 4) bytes.writeUInt32LE(x = (x * 48271) % 2147483647, i);
  require('node:http').createServer((_, answer) => answer.end(bytes)).listen(80, '0.0.0.0');
`;
function served(): string {
  const bytes = Buffer.alloc(MEGABYTES * 2 ** 20);
  for (let i = 0, x = 1; i < bytes.length; i += 4)
    bytes.writeUInt32LE((x = (x * 48271) % 2147483647), i);
  return createHash('sha256').update(bytes).digest('hex');
}

/** A stream by iperf3 from a workload to a guest, or back; Mbit/s, as the receiver counts. */
async function stream(lab: Lab, from: string, guest: string, args: string[] = []) {
  const command = ['iperf3', '-J', '-t', '3', '-c', addressIn(guest), ...args];
  const [program = '', ...rest] = inside(lab.name, from, command);
  const { stdout } = await run(program, rest, { deadlineMs: DEADLINE_MS });
  const { end, error } = JSON.parse(stdout) as {
    readonly end?: { readonly sum_received: { readonly bits_per_second: number } };
    readonly error?: string;
  };
  assert.equal(error, undefined);
  return Math.round((end?.sum_received.bits_per_second ?? 0) / 1e6);
}

/** The longest frame that passed a cable of the underlay while `during` ran. */
async function longest(lab: Lab, host: string, during: () => Promise<unknown>): Promise<number> {
  const socket = inNetns(netnsPath(namespaceOf(lab, UNDERLAY_PART)), () => {
    const { index = 0 } = linkByName(`ul-${host}`) ?? {};
    return new PacketSocket(index, { everything: true });
  });
  let most = 0;
  const timer = setInterval(() => {
    for (let frame = socket.receive(); frame !== undefined; frame = socket.receive())
      most = Math.max(most, frame.length);
  }, 5);
  try {
    await during();
  } finally {
    clearInterval(timer);
    socket[Symbol.dispose]();
  }
  return most;
}

const CLIENTS = ['c1', 'c2', 'far'] as const;
const WHERE = { c1: 'same host', c2: 'other host', far: 'other host, routed' } as const;

describe('guests', { skip }, () => {
  let lab: Lab;
  let lock: Disposable;
  const reaches = async (from: string, to: string, family: 4 | 6 = 4): Promise<void> => {
    await until(`${from} reaches ${to}`, DEADLINE_MS, async () => {
      const { sent, received } = await ping(lab, from, addressIn(to, family), PINGS);
      return received === sent;
    }).catch((error: Error) => {
      throw new Error(`${error.message}${logTails(lab)}`, { cause: error });
    });
  };

  before(async () => {
    await sweepLabs();
    lock = lockLab(NAME);
    lab = await makeLab(announce(NAME, recipe), () => {});
    for (const name of CLIENTS)
      start({
        lab: NAME,
        part: name,
        name: `server-${name}`,
        command: [process.execPath, '-e', SERVER],
      });
  });
  after(async () => {
    await cleanLab(NAME);
    const left = remains(NAME, namespacesOf(NAME, recipe));
    lock[Symbol.dispose]();
    assert.deepEqual(left, []);
  });

  test('are reached from everywhere', async () => {
    for (const from of CLIENTS)
      for (const guest of ['vm1', 'vm2']) {
        await reaches(from, guest, 4);
        await reaches(from, guest, 6);
      }
    for (const [from, to] of [
      ['vm1', 'vm2'],
      ['vm2', 'vm1'],
    ] as const)
      assert.match(
        await inGuest(lab, 'c1', from, `ping -c 3 -W 5 ${addressIn(to)}`),
        /3 packets received/,
      );
  });

  test('serve and fetch megabytes unharmed', async (t) => {
    const make = `dd if=/dev/urandom of=/www/data bs=1M count=${MEGABYTES} 2>/dev/null; sha256sum /www/data`;
    for (const guest of ['vm1', 'vm2']) {
      const [hash = ''] = (await inGuest(lab, 'c1', guest, make)).split(' ');
      for (const from of CLIENTS) {
        const [got, mbits] = (await http(lab, from, `http://${addressIn(guest)}/data`)).split(' ');
        assert.equal(got, hash, `${from} from ${guest}`);
        t.diagnostic(`${guest} → ${from}: ${MEGABYTES} MB whole, ${mbits} Mbit/s`);
        const fetched = await inGuest(
          lab,
          from,
          guest,
          `wget -q -O - http://${addressIn(from)}/ | sha256sum`,
        );
        assert.equal(fetched.split(' ')[0], served(), `${guest} from ${from}`);
      }
    }
    const [hash = ''] = (await inGuest(lab, 'c1', 'vm2', 'sha256sum /www/data')).split(' ');
    const script = `wget -q -O - http://${addressIn('vm2')}/data | sha256sum`;
    assert.equal((await inGuest(lab, 'c1', 'vm1', script)).split(' ')[0], hash, 'guest to guest');
  });

  test('send and get super-packets whole, also through the tunnel', async (t) => {
    for (const from of CLIENTS) {
      let up = 0;
      let down = 0;
      // Each direction by itself: the cable of the sender's host has what leaves it.
      const there = await longest(
        lab,
        'h1',
        async () => (up = await stream(lab, from, 'vm1', ['-R'])),
      );
      const back = await longest(lab, 'h1', async () => (down = await stream(lab, from, 'vm1')));
      const words = `vm1 → ${from} ${up} Mbit/s, back ${down} Mbit/s (${WHERE[from]})`;
      t.diagnostic(from === 'c1' ? words : `${words}; longest frames ${there}, ${back} bytes`);
      if (from === 'c1') continue;
      for (const bytes of [there, back])
        assert.ok(bytes > 3 * UNDERLAY_MTU.ipv4, `cut before the underlay: ${bytes} bytes`);
    }
    const script = `iperf3 -t 3 -c ${addressIn('vm2')} -J | grep bits_per_second | tail -1`;
    const said = await inGuest(lab, 'c1', 'vm1', script);
    const mbits = Math.round(Number(/([\d.e+]+),?$/.exec(said)?.[1]) / 1e6);
    assert.ok(mbits > 0, said);
    t.diagnostic(`vm1 → vm2 ${mbits} Mbit/s (guest to guest, other host)`);
    for (const guest of ['vm1', 'vm2']) {
      const snmp = await inGuest(lab, 'c1', guest, "grep '^Tcp:' /proc/net/snmp");
      const [names = '', values = ''] = snmp.split('\n');
      const at = names.split(' ').indexOf('InCsumErrors');
      assert.equal(values.split(' ')[at], '0', `checksum errors in ${guest}`);
    }
  });

  test('do not find the host behind their tap, nor it them', async () => {
    const host = namespaceOf(lab, 'h1');
    const show = await runOk('ip', ['-n', host, '-6', 'address', 'show', 'dev', 'vm1']);
    assert.equal(show.trim(), '', 'no IPv6 address');
    await runOk('ip', ['-n', host, 'address', 'add', '10.1.0.77/24', 'dev', 'vm1']);
    const asked = await inGuest(lab, 'c1', 'vm1', 'arping -c 2 -w 3 -I eth0 10.1.0.77');
    assert.match(asked, /Received 0/);
    const pinged = await run('ip', [
      ...['netns', 'exec', host, 'ping', '-c', '1', '-W', '1', addressIn('vm1')],
    ]);
    assert.notEqual(pinged.code, 0);
    await runOk('ip', ['-n', host, 'address', 'del', '10.1.0.77/24', 'dev', 'vm1']);
  });

  test('come back on their tap, and on a tap made anew, under the same agent', async () => {
    const agent = agentOf(lab, 'h1');
    const tap = () => inNetns(netnsPath(namespaceOf(lab, 'h1')), () => linkByName('vm1'));
    const before = tap()?.index;
    await killGuest(lab, 'vm1');
    // Its last thread lets go of it a moment after the first has ended.
    await until('the tap stays, without a carrier', DEADLINE_MS, () => tap()?.lowerUp === false);
    const { received } = await ping(lab, 'c2', addressIn('vm1'));
    assert.equal(received, 0);
    await startGuest(lab, 'vm1');
    await waitForGuests(lab);
    assert.equal(tap()?.index, before);
    await reaches('c2', 'vm1');

    await killGuest(lab, 'vm1');
    const host = namespaceOf(lab, 'h1');
    await runOk('ip', ['-n', host, 'link', 'del', 'vm1']);
    await runOk('ip', ['-n', host, 'tuntap', 'add', 'dev', 'vm1', 'mode', 'tap', 'vnet_hdr']);
    await startGuest(lab, 'vm1');
    await waitForGuests(lab);
    assert.notEqual(tap()?.index, before);
    await reaches('c2', 'vm1');
    await reaches('far', 'vm1', 6);
    assert.ok(agent !== undefined && isAlive(agent), 'one agent carried all of it');
  });

  test('are served while their agent is away', async () => {
    await reaches('c2', 'vm1');
    await killAgent(lab, 'h1');
    const { sent, received } = await ping(lab, 'c2', addressIn('vm1'), PINGS);
    assert.equal(received, sent);
    startAgent(lab, 'h1');
    await waitForAgents(lab);
    await reaches('c2', 'vm1');
  });
});

test('a maker that is killed leaves guests, and cleaning takes them away', { skip }, async () => {
  const name = testLabName('killed');
  const args = ['src/mn.ts', 'lab', 'up', 'guests', '--name', name];
  const maker = spawn(process.execPath, args, { stdio: 'ignore' });
  try {
    await until('a guest boots', DEADLINE_MS, () => {
      const guest = find(name, 'vm-vm2');
      return guest !== undefined && isAlive(guest);
    });
  } finally {
    maker.kill('SIGKILL');
  }
  assert.equal(readJournal(name)?.namespaces.length, partsOf(recipe).length);
  await until('its lock is free', DEADLINE_MS, () => {
    try {
      lockLab(name)[Symbol.dispose]();
      return true;
    } catch {
      return false;
    }
  });
  await cleanLab(name);
  assert.deepEqual(remains(name, namespacesOf(name, recipe)), []);
});
