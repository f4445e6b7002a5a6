/**
 * The tools of every day through routers on real wires: the lab of the recipe `routed`, agents and
 * kernel as they ship. What they find is held against the recipe; nothing is held against a clock.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { describeMatrix, isAsExpected, matrix } from '#lab/check.ts';
import { cleanLab } from '#lab/clean.ts';
import { stream } from '#lab/demo/iperf.ts';
import { announce, makeLab, waitForAgents, type Lab } from '#lab/lab.ts';
import { lockLab } from '#lab/lock.ts';
import { inside } from '#lab/processes.ts';
import { readRecipe } from '#lab/recipe.ts';
import { run } from '#os/run.ts';
import { sweepLabs, testLabName } from './labs.ts';

const NAME = testLabName('tools');
const DEADLINE_MS = 120_000;
/** How often a question is asked again where its answer may be lost on a busy machine. */
const ATTEMPTS = 3;
/** What the links of the recipe carry: the interfaces' MTU. */
const MTU = 1500;
const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';

/** On h1, on h2 behind the provider's router, and on h3 behind three routers. */
const FROM = 'red1';
const FAR = { name: 'blue3', ip4: '10.2.2.13', ip6: 'fd02:2::13' };
const NEAR = { name: 'red3', ip4: '10.1.2.13', ip6: 'fd01:2::13' };
const OUTSIDE = { name: 'outside', ip4: '192.0.2.254', ip6: '2001:db8::254' };
const HOPS4 = ['10.1.1.1', '10.255.1.1', '10.255.2.2', FAR.ip4];
const HOPS6 = ['fd01:1::1', 'fd00:1::1', 'fd00:2::2', FAR.ip6];

describe('real tools through routers', { skip }, () => {
  let lab: Lab;
  let lock: Disposable;
  const started: ChildProcess[] = [];

  before(async () => {
    await sweepLabs();
    lock = lockLab(NAME);
    lab = await makeLab(announce(NAME, readRecipe('routed')), () => {});
  });
  after(async () => {
    for (const child of started) child.kill('SIGKILL');
    await cleanLab(NAME);
    lock[Symbol.dispose]();
  });

  /** Runs a tool inside a workload; what it printed, both streams. It may fail. */
  async function tool(part: string, ...words: readonly string[]): Promise<string> {
    const [program = '', ...args] = inside(NAME, part, words);
    const { stdout, stderr } = await run(program, args, { deadlineMs: DEADLINE_MS });
    return stdout + stderr;
  }
  /** Starts a tool inside a workload; answers its next lines. */
  function begin(part: string, ...words: readonly string[]) {
    const [program = '', ...args] = inside(NAME, part, words);
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    started.push(child);
    return createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }
  /** Asks until the answer is as it should be; fails with the last one. */
  async function eventually(ask: () => Promise<string>, good: RegExp): Promise<void> {
    let last = '';
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      last = await ask();
      if (good.test(last)) return;
    }
    assert.match(last, good);
  }

  test('lab check: who should reach whom does', async () => {
    const cells = await matrix(lab);
    const names = Object.keys(lab.recipe.workloads);
    assert.ok(isAsExpected(cells), describeMatrix(names, cells).join('\n'));
  });

  test('lab check: a way that is closed is seen', async () => {
    const route = { name: 'closed', router: 'provider', destination: '10.2.0.0/16', weight: 1 };
    await lab.client.create('route', { ...route, type: 'reject' });
    await waitForAgents(lab);
    const cells = await matrix(lab);
    await lab.client.remove('route', 'closed');
    await waitForAgents(lab);
    const names = Object.keys(lab.recipe.workloads);
    const cell = (from: string, to: string) => cells[names.indexOf(from)]?.[names.indexOf(to)];
    assert.equal(cell('red1', 'red2'), 'ok');
    assert.equal(cell('red1', 'red3'), 'routed');
    assert.equal(cell('red1', 'blue3'), 'LOST');
    assert.equal(cell('blue3', 'red1'), 'LOST', 'the way back is closed');
    assert.ok(!isAsExpected(cells));
  });

  for (const to of [NEAR, FAR, OUTSIDE])
    test(`ping, from 1 byte to 65000, cut and not: to ${to.name}`, async () => {
      for (const [ip, headers] of [
        [to.ip4, 28],
        [to.ip6, 48],
      ] as const)
        for (const size of [1, 56, 1000, 1400, MTU - headers, MTU - headers + 1, 9000, 65_000]) {
          const ping = (cut: string) => () =>
            tool(
              FROM,
              'ping',
              '-n',
              '-c',
              '2',
              '-i',
              '0.2',
              '-W',
              '5',
              '-M',
              cut,
              '-s',
              `${size}`,
              ip,
            );
          await eventually(ping('dont'), / 0% packet loss/);
          const whole = size + headers <= MTU;
          await eventually(
            ping('do'),
            whole ? / 0% packet loss/ : /message too long, mtu[:=] ?1500/,
          );
        }
    });

  test('ping from the outside in', async () => {
    for (const ip of ['10.1.1.11', 'fd01:1::11', FAR.ip4, FAR.ip6])
      await eventually(
        () => tool(OUTSIDE.name, 'ping', '-n', '-c', '3', '-i', '0.2', '-W', '5', ip),
        / 0% packet loss/,
      );
  });

  for (const [how, option] of [
    ['UDP', '-U'],
    ['ICMP', '-I'],
    ['TCP', '-T'],
  ] as const)
    test(`traceroute by ${how} shows three routers and the target`, async () => {
      for (const [ip, hops] of [
        [FAR.ip4, HOPS4],
        [FAR.ip6, HOPS6],
      ] as const) {
        const shown = hops.map((hop, i) => ` ${i + 1} +${hop.replaceAll('.', '\\.')} [^\\n]*\\n`);
        await eventually(
          () => tool(FROM, 'traceroute', '-n', '-q', '1', '-w', '5', option, ip),
          new RegExp(`^traceroute to[^\\n]*\\n${shown.join('')}$`),
        );
      }
    });

  test('arping: the gateway has the MAC that its port says, on every host', async () => {
    const { mac } = (await lab.client.get('port', 'red-to-a')) as unknown as { mac: string };
    for (const from of ['red1', 'red2'])
      await eventually(
        () => tool(from, 'arping', '-c', '2', '-I', 'eth0', '10.1.1.1'),
        new RegExp(`reply from 10\\.1\\.1\\.1 \\[${mac}\\]`, 'i'),
      );
    await eventually(
      () => tool('red1', 'arping', '-c', '2', '-I', 'eth0', '10.1.2.1'),
      /Received 0 response/,
    );
  });

  test('tracepath finds the MTU of a router port, and its end', async () => {
    await lab.client.update('port', 'blue-to-b', { mtu: 1400 });
    await waitForAgents(lab);
    for (const ip of [FAR.ip4, FAR.ip6]) {
      const path = /pmtu 1400[^]*Resume: pmtu 1400 hops 4 back 4/;
      await eventually(() => tool(FROM, 'tracepath', '-n', ip), path);
    }
    await lab.client.update('port', 'blue-to-b', { mtu: null });
    await waitForAgents(lab);
    for (const family of ['-4', '-6']) await tool(FROM, 'ip', family, 'route', 'flush', 'cache');
    await eventually(() => tool(FROM, 'tracepath', '-n', FAR.ip4), /Resume: pmtu 1500 hops 4/);
  });

  for (const address of [FAR.ip4, FAR.ip6])
    test(`iperf3 by TCP to ${address}`, async () => {
      const { error, intervalBytes } = await stream(lab, {
        from: FROM,
        to: FAR.name,
        address,
        seconds: 3,
      });
      assert.equal(error, undefined);
      assert.ok(intervalBytes.every((bytes) => bytes > 0));
    });

  for (const address of [FAR.ip4, FAR.ip6])
    test(`iperf3 by UDP to ${address} loses nothing at a modest rate`, async () => {
      const rate = ['--udp', '--bitrate', '5M', '--length', '1200', '--time', '3'];
      const ask = async (): Promise<string> => {
        const server = begin(FAR.name, 'iperf3', '--server', '--one-off', '--forceflush');
        for (let line = await server.next(); line.done !== true; line = await server.next())
          if (line.value.includes('listening')) break;
        return tool(FROM, 'iperf3', '--client', address, ...rate);
      };
      await eventually(ask, /\b0\/\d+ \(0%\) +receiver/);
    });

  test('a download of 20 MB arrives as it was', async () => {
    const bytes = 20_000_000;
    const serve = `
      const { createHash, randomBytes } = require('node:crypto');
      const body = randomBytes(${bytes});
      require('node:http').createServer((_, answer) => answer.end(body)).listen(8080, '::', () =>
        console.log(createHash('sha256').update(body).digest('hex')));`;
    const fetch = (url: string): string => `
      fetch('${url}').then((answer) => answer.bytes()).then((body) =>
        console.log(body.length,
          require('node:crypto').createHash('sha256').update(body).digest('hex')));`;
    const server = begin(FAR.name, process.execPath, '-e', serve);
    const { value: sum } = await server.next();
    for (const url of [`http://${FAR.ip4}:8080/`, `http://[${FAR.ip6}]:8080/`]) {
      const got = await tool(FROM, process.execPath, '-e', fetch(url));
      assert.equal(got.trim(), `${bytes} ${sum}`);
    }
  });

  test('two hundred clients at once, over IPv6', async () => {
    const serve = `
      require('node:http').createServer((asked, answer) => answer.end(asked.url))
        .listen(8081, '::', () => console.log('ready'));`;
    const fetchAll = `
      Promise.all(Array.from({ length: 200 }, (_, n) =>
        fetch('http://[${FAR.ip6}]:8081/' + n, { headers: { connection: 'close' } })
          .then((answer) => answer.text()).then((text) => text === '/' + n),
      )).then((right) => console.log(right.filter(Boolean).length));`;
    await begin(FAR.name, process.execPath, '-e', serve).next();
    assert.equal((await tool(FROM, process.execPath, '-e', fetchAll)).trim(), '200');
  });

  test('UDP datagrams of 30 KB go in parts, there and back: over a bridge, and routed', async () => {
    const serve = `
      const socket = require('node:dgram').createSocket('udp6');
      socket.on('message', (data, { port, address }) => socket.send(data, port, address));
      socket.bind(9000, '::', () => console.log('ready'));`;
    const ask = (ip: string): string => `
      const data = require('node:crypto').randomBytes(30000);
      const socket = require('node:dgram').createSocket('udp${ip.includes(':') ? 6 : 4}');
      const send = () => socket.send(data, 9000, '${ip}');
      const again = setInterval(send, 3000);
      const end = (said) => { console.log(said); clearInterval(again); socket.close(); };
      socket.on('message', (got) => end(got.equals(data) ? 'equal' : 'different'));
      setTimeout(() => end('lost'), 20000).unref();
      send();`;
    for (const to of ['red2', FAR.name]) await begin(to, process.execPath, '-e', serve).next();
    for (const ip of ['10.1.1.12', 'fd01:1::12', FAR.ip4, FAR.ip6])
      assert.equal((await tool(FROM, process.execPath, '-e', ask(ip))).trim(), 'equal', ip);
  });

  test('a TCP connection stays whole while the way changes under it', async () => {
    const flap = (async () => {
      for (const name of ['a', 'b', 'c']) {
        const route = { name, router: 'provider', destination: '10.2.2.0/24', weight: 7 };
        await lab.client.create('route', { ...route, port: 'to-blue', gateway: '10.255.2.2' });
        await waitForAgents(lab);
        await lab.client.remove('route', name);
        await waitForAgents(lab);
      }
    })();
    const streaming = stream(lab, { from: FROM, to: FAR.name, address: FAR.ip4, seconds: 4 });
    const [{ error, intervalBytes }] = await Promise.all([streaming, flap]);
    assert.equal(error, undefined);
    assert.ok(intervalBytes.every((bytes) => bytes > 0));
  });
});
