/**
 * `mn attach` on a host of a lab: a container by a process in it, and a tap; killed anywhere and
 * run again; and nothing passes before the agent has isolated the interface.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cleanLab } from '#lab/clean.ts';
import {
  announce,
  killAgent,
  makeLab,
  namespaceOf,
  shellEnvironment,
  startAgent,
} from '#lab/lab.ts';
import type { Lab } from '#lab/lab.ts';
import { lockLab } from '#lab/lock.ts';
import { inside, until } from '#lab/processes.ts';
import { readRecipe } from '#lab/recipe.ts';
import { ipBatch } from '#lab/wires.ts';
import { formatMac, parseMac, type Mac } from '#net/mac.ts';
import { parseFrameText } from '#net/text.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { run, runOk, type Ran } from '#os/run.ts';
import { Tap } from '#os/tap.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const NAME = testLabName('attachcli');
const ROOT = join(import.meta.dirname, '..');
const DEADLINE_MS = 60_000;
/** The container's namespace, under a name that is this run's own. */
const WEB = `mnt-${process.pid}-web`;
const ADDRESS = '10.1.0.21';
const OTHER = '10.1.0.2';
const VM_MAC = '02:00:00:00:77:01';
const VM = '10.1.0.31';
/** What `run` answers for a process that a signal ended. */
const KILLED = 128;
/** More than attaching one container takes. */
const KILL_POINTS_MAX = 20;

interface Link {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly address: string;
}

describe('attaching', { skip }, () => {
  let lab: Lab;
  let lock: Disposable;
  let container: ChildProcess;
  let host = '';

  before(async () => {
    await sweepLabs();
    lock = lockLab(NAME);
    lab = await makeLab(announce(NAME, readRecipe('pair')), () => {});
    host = namespaceOf(lab, 'h1');
    await runOk('ip', ['netns', 'add', WEB]);
    container = spawn('nsenter', [`--net=${netnsPath(WEB)}`, '--', 'sleep', '600']);
    const own = readlinkSync('/proc/self/ns/net');
    await until('a process is in the container', DEADLINE_MS, async () => {
      try {
        return readlinkSync(`/proc/${container.pid}/ns/net`) !== own;
      } catch {
        return false;
      }
    });
  });
  after(async () => {
    container.kill('SIGKILL');
    await run('ip', ['netns', 'delete', WEB]);
    await cleanLab(NAME);
    lock[Symbol.dispose]();
  });

  const mn = (line: string, env: Record<string, string> = {}): Promise<Ran> => {
    const words = [process.execPath, join(ROOT, 'src/mn.ts'), ...line.split(' ')];
    const [program = '', ...args] = inside(NAME, 'h1', words);
    const options = { env: { ...shellEnvironment(lab), ...env }, deadlineMs: DEADLINE_MS };
    return run(program, args, options);
  };
  const ok = async (line: string): Promise<string> => {
    const { code, stdout, stderr } = await mn(line);
    assert.equal(code, 0, `mn ${line}\n${stdout}${stderr}`);
    return stdout;
  };
  const links = async (namespace: string): Promise<Link[]> =>
    JSON.parse(await runOk('ip', ['-n', namespace, '-j', 'link', 'show'])) as Link[];
  /** The host's ends of cables that were made here. */
  const cables = async (): Promise<Link[]> =>
    (await links(host)).filter(({ ifname }) => /^mn[0-9a-f]{12}$/.test(ifname));
  const ping = async (address: string, count = 1): Promise<boolean> => {
    const words = ['netns', 'exec', WEB, 'ping', '-n', '-c', `${count}`, '-W', '1', address];
    return (await run('ip', words)).code === 0;
  };

  test('a container: nothing passes before the agent has it, then everything', async () => {
    await killAgent(lab, 'h1');
    const line = `attach web --bridge net1 --pid ${container.pid} --address ${ADDRESS}/24`;
    const early = await mn(`${line} --gateway 10.1.0.254 --mtu 1400 --timeout 300`);
    assert.equal(early.code, 4, early.stderr);
    assert.match(early.stderr, /has not said within 300 ms that the port is up/);
    const [cable, ...more] = await cables();
    assert.deepEqual(more, []);
    assert.ok(cable !== undefined && !cable.flags.includes('UP'), 'the end of the host is down');
    // The host answers on every address of its own, also on this one, if it is reached at all.
    await ipBatch([`address add 10.1.0.99/32 dev lo`], host);
    const asking = spawn('ip', ['netns', 'exec', WEB, 'ping', '-n', '-i', '0.02', '10.1.0.99']);
    let heard = '';
    asking.stdout.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    const over = new Promise((resolve) => asking.on('close', resolve));
    startAgent(lab, 'h1');
    await until('the port is up', DEADLINE_MS, async () => (await mn(line)).code === 0);
    await until('the other host is reached', DEADLINE_MS, () => ping(OTHER));
    asking.kill('SIGINT');
    await over;
    assert.match(heard, /\d{2,} packets transmitted, 0 received/, 'the host is never reached');
    const [again, ...others] = await cables();
    assert.deepEqual([again?.ifname, others], [cable.ifname, []], 'no cable is made twice');
    const eth0 = (await links(WEB)).filter(({ ifname }) => ifname === 'eth0');
    assert.equal(eth0.length, 1);
    const route = await runOk('ip', ['-n', WEB, 'route', 'show', 'default']);
    assert.match(route, /^default via 10\.1\.0\.254 dev eth0/);
    const seeds = (await lab.client.get('port', 'web')) as { addresses?: unknown };
    assert.deepEqual(seeds.addresses, [{ mac: eth0[0]?.address, ip: ADDRESS }]);
    assert.match((await mn(`attach web --netns ${WEB} --inside eth1`)).stderr, /leads elsewhere/);
    assert.match((await mn('attach web --interface eth0')).stderr, /no interface eth0 here/);
    assert.equal(await ok('detach web'), 'detached port web\n');
    assert.deepEqual(await cables(), []);
    assert.equal(await ok('detach web --delete'), 'detached and deleted port web\n');
  });

  test('killed anywhere and run again, there is one of everything', async () => {
    const line = `attach again --bridge net1 --netns ${WEB} --address ${ADDRESS}/24`;
    let points = 0;
    for (let at = 1; at <= KILL_POINTS_MAX; at++) {
      const { code } = await mn(line, { MIDONET_KILL_AT: `${at}` });
      if (code === 0) break;
      points += 1;
      assert.ok((await cables()).length <= 1, `killed at ${at}`);
      assert.equal(code, KILLED, `killed at ${at}`);
    }
    assert.ok(points >= 4, `${points} points`);
    assert.equal((await cables()).length, 1);
    assert.equal(
      (await lab.client.listAll('port')).filter(({ name }) => name === 'again').length,
      1,
    );
    await until('the other host is reached', DEADLINE_MS, () => ping(OTHER));
    await ok('detach again --delete');
  });

  test('a tap: the machine behind it is answered by the bridge', async () => {
    using tap = inNetns(netnsPath(host), () => new Tap('tap9'));
    const words = `attach vm --bridge net1 --interface tap9 --mac ${VM_MAC} --address ${VM}/24`;
    assert.match(await ok(words), /^attached tap9 to port vm of h1\n$/);
    await ok(words);
    const frame = parseFrameText(`arp who-has ${OTHER} tell ${VM}`, {
      src: parseMac(VM_MAC) as Mac,
    });
    assert.ok(frame instanceof Uint8Array);
    const answered = (): boolean => {
      for (let got = tap.receive(); got !== undefined; got = tap.receive()) {
        const to = formatMac(parseMac(VM_MAC) as Mac);
        const [dst] = [Buffer.from(got.frame.subarray(0, 6)).toString('hex')];
        if (dst === to.replaceAll(':', '')) return true;
      }
      return false;
    };
    await until('the machine is answered', DEADLINE_MS, async () => {
      tap.send(frame);
      return answered();
    });
    await ipBatch(
      ['link add nic0 type veth peer name nic1', 'address add 192.0.2.9/24 dev nic0'],
      host,
    );
    const own = await mn('attach card --bridge net1 --interface nic0');
    assert.equal(own.code, 1);
    assert.match(own.stderr, /nic0 carries addresses of this host \(192\.0\.2\.9\/24\)[^]*--force/);
    assert.equal(await ok('detach vm --delete'), 'detached and deleted port vm\n');
  });

  test('who may not make interfaces is told so, and nothing is made', async () => {
    const caps = '-net_admin,-sys_admin';
    const words = ['setpriv', `--bounding-set=${caps}`, `--inh-caps=${caps}`, process.execPath];
    const attach = ['attach', 'none', '--bridge', 'net1', '--netns', WEB, '--timeout', '0'];
    const command = [...words, join(ROOT, 'src/mn.ts'), ...attach];
    const [program = '', ...args] = inside(NAME, 'h1', command);
    const env = shellEnvironment(lab);
    const { code, stderr } = await run(program, args, { env, deadlineMs: DEADLINE_MS });
    assert.equal(code, 1, stderr);
    assert.match(stderr, /EPERM \(it needs root\)/);
    assert.deepEqual(await cables(), []);
  });
});
