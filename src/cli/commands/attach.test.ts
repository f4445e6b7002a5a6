/**
 * `mn attach` against the real API and a machine in a Map: which port it makes, what it asks of the
 * machine, and that a run that ended anywhere is finished by the next.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNode, reportAt } from '#api/fixture.ts';
import { Unavailable } from '#client/errors.ts';
import type { Client } from '#client/types.ts';
import { WireError, type Cable, type Wires } from '#client/wires.ts';
import { EXIT } from '../io.ts';
import { mn, type Ran } from '../testing.ts';

const MADE_MAC = '02:00:00:00:99:01';

/** A machine: `host` is whose agent runs there. */
function machine(host: () => string | undefined) {
  const cables = new Map<string, Cable>();
  const interfaces = new Map<string, { addresses: readonly string[]; enslaved: boolean }>();
  const wires: Wires = {
    agent: () => {
      const id = host();
      return id === undefined ? undefined : { host: id, runDir: '/run/a' };
    },
    interface: (name) => {
      const found = interfaces.get(name);
      return found === undefined ? undefined : { name, ...found };
    },
    netns: (of) => {
      const name = 'pid' in of ? `process ${of.pid}` : of.name;
      if (name === 'gone') throw new WireError('there is no namespace gone');
      return name;
    },
    plug: (cable) => {
      const there = cables.get(cable.outside);
      if (there !== undefined && there.netns !== cable.netns)
        throw new WireError('leads elsewhere');
      cables.set(cable.outside, cable);
      return { mac: cable.mac ?? MADE_MAC, made: there === undefined };
    },
    unplug: (outside) => cables.delete(outside),
  };
  return { cables, interfaces, wires };
}

/** The client, whose calls are counted; the `at`-th is lost, before it was sent or after. */
function failing(client: Client, at: number, how: 'unsent' | 'unheard'): Client {
  let calls = 0;
  return new Proxy(client, {
    get: (target, name) => {
      const call = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        calls += 1;
        if (calls === at && how === 'unsent') throw new Unavailable('the API cannot be reached');
        const answer = await call(...args);
        if (calls === at) throw new Unavailable('the answer was cut off');
        return answer;
      };
    },
  });
}

async function withHost(
  play: (place: {
    readonly client: Client;
    readonly at: ReturnType<typeof machine>;
    run(line: string, client?: Client): Promise<Ran>;
    /** The agent says that it carries every port that is bound to it. */
    raise(): Promise<void>;
  }) => Promise<void>,
): Promise<void> {
  await using node = openNode();
  const client = node.operator;
  const { objects } = await client.create('host', { name: 'h1' });
  const host = objects[0]?.id ?? '';
  await client.create('bridge', { name: 'b1' });
  const at = machine(() => host);
  const agent = await node.as({ role: 'host', name: 'h1', host });
  await play({
    client,
    at,
    run: (line, by = client) =>
      mn(by, line, { wires: async () => at.wires, sleep: async () => {} }),
    raise: async () => {
      const ports = await client.listAll('port');
      const portsUp = ports.filter((port) => 'host' in port).map(({ id }) => id);
      await agent.report({ ...reportAt(1), portsUp });
    },
  });
}

test('a container: the port is made and bound, the cable plugged, its address seeded', () =>
  withHost(async ({ client, at, run, raise }) => {
    const line =
      'attach web --bridge b1 --pid 42 --address 10.0.1.5/24 --gateway 10.0.1.1 --mtu 1400 --timeout 0';
    const early = await run(line);
    assert.equal(early.code, EXIT.behind);
    assert.match(early.err, /error: bound, but the agent of h1 has not said within 0 ms/);
    await raise();
    const ran = await run(line);
    assert.deepEqual(
      [ran.code, ran.out],
      [EXIT.ok, 'attached eth0 in process 42 to port web of h1\n'],
    );
    const port = (await client.get('port', 'web')) as unknown as Record<string, unknown>;
    assert.deepEqual(port['addresses'], [{ mac: MADE_MAC, ip: '10.0.1.5' }]);
    const [cable, ...more] = at.cables.values();
    assert.deepEqual(more, []);
    assert.deepEqual(cable, {
      outside: port['interface'],
      netns: 'process 42',
      inside: 'eth0',
      mac: MADE_MAC,
      mtu: 1400,
      addresses: ['10.0.1.5/24'],
      gateways: ['10.0.1.1'],
    });
    const gone = await run('detach web');
    assert.deepEqual([gone.code, gone.out, at.cables.size], [EXIT.ok, 'detached port web\n', 0]);
    assert.equal('host' in (await client.get('port', 'web')), false);
    assert.equal((await run('detach web')).code, EXIT.ok);
  }));

test('what the port says is set inside: MAC, addresses with the length of the network', () =>
  withHost(async ({ at, run, raise }) => {
    for (const line of [
      'router create r0',
      'port create r0-b1 --router r0 --networks 10.0.1.1/25',
      'port create b1-r0 --bridge b1',
      'port link r0-b1 b1-r0',
      'port create web --bridge b1 --addresses mac=02:00:00:00:00:07,ip=10.0.1.7',
    ])
      assert.equal((await run(line)).code, EXIT.ok, line);
    await run('attach web --netns web --timeout 0');
    await raise();
    assert.equal((await run('attach web --netns web --timeout 0')).code, EXIT.ok);
    const [cable] = at.cables.values();
    assert.equal(cable?.mac, '02:00:00:00:00:07');
    assert.deepEqual(cable?.addresses, ['10.0.1.7/25']);
  }));

test('an interface of the host itself is not taken by mistake', () =>
  withHost(async ({ at, run, raise }) => {
    at.interfaces.set('tap0', { addresses: [], enslaved: false });
    at.interfaces.set('eth0', { addresses: ['192.0.2.5/24'], enslaved: false });
    at.interfaces.set('eth1', { addresses: [], enslaved: true });
    const cases: readonly (readonly [string, number, RegExp])[] = [
      ['attach a --bridge b1 --interface eth0', 1, /eth0 carries addresses of this host \(192/],
      ['attach a --bridge b1 --interface eth1', 1, /eth1 belongs to a bridge or bond/],
      ['attach a --bridge b1 --interface tap9', 1, /there is no interface tap9 here/],
      ['attach a --bridge b1 --netns gone', 1, /there is no namespace gone/],
      [
        'attach a --interface tap0',
        1,
        /there is no port a\nhint: To make it: mn attach a --bridge/,
      ],
      ['attach a --bridge b1', 2, /by one of --interface, --pid and --netns/],
      ['attach a --bridge b1 --pid 1 --interface tap0', 2, /by one of/],
      ['attach a --bridge b1 --interface tap0 --mtu 1400', 2, /--mtu is for containers/],
      ['attach a --bridge b1 --interface tap0 --address 10.0.0.1/24', 2, /needs --mac/],
      ['attach a --bridge b1 --pid 1 --address 10.0.0.1', 2, /--address: 10.0.0.1 must be an/],
      ['attach a --bridge b1 --pid 1 --gateway x', 2, /--gateway: x must be an/],
      ['attach a --bridge b1 --pid 1 --mac 1', 2, /--mac: 1 must be a MAC/],
      ['detach a', 1, /there is no port a/],
    ];
    for (const [line, code, expected] of cases) {
      const ran = await run(`${line}${line.startsWith('attach') ? ' --timeout 0' : ''}`);
      assert.equal(ran.code, code, `${line}\n${ran.out}${ran.err}`);
      assert.match(ran.err, expected, line);
    }
    const vm = 'attach vm --bridge b1 --interface tap0 --timeout 0';
    await run(vm);
    await raise();
    assert.match((await run(vm)).out, /^attached tap0 to port vm of h1\n$/);
    const taken = await run('attach vm --netns web --timeout 0');
    assert.match(taken.err, /port vm is bound to tap0 here already\nhint: .*mn detach vm/);
    assert.equal((await run('attach e --bridge b1 --interface eth0 --force --timeout 0')).code, 4);
    const elsewhere = await mn(openNode().operator, 'attach a --interface tap0', {
      wires: async () => machine(() => undefined).wires,
    });
    assert.match(elsewhere.err, /no agent runs in this network namespace/);
  }));

test('whatever call is lost, the same command again finishes it, once', () =>
  withHost(async ({ client, at, run, raise }) => {
    const line = (n: number): string => `attach web${n} --bridge b1 --netns n${n} --timeout 0`;
    let n = 0;
    let lost = 0;
    for (const how of ['unsent', 'unheard'] as const)
      for (let call = 1; call <= 8; call++) {
        n += 1;
        const ended = await run(line(n), failing(client, call, how));
        if (ended.code === EXIT.behind) continue;
        lost += 1;
        assert.equal(ended.code, EXIT.unreachable, `${how} ${call}: ${ended.err}`);
        await run(line(n));
        await raise();
        const again = await run(line(n));
        assert.equal(again.code, EXIT.ok, `${how} ${call}: ${again.err}`);
        const ports = (await client.listAll('port')).filter(({ name }) => name === `web${n}`);
        assert.equal(ports.length, 1);
        const cables = [...at.cables.values()].filter(({ netns }) => netns === `n${n}`);
        assert.equal(cables.length, 1);
      }
    assert.ok(lost > 5, `${lost} calls were lost`);
  }));
