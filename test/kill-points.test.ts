/**
 * An agent's datapath is killed just before one of the calls that change what outlives it, at each
 * in turn: the installed flow forwards every frame meanwhile, and the next process finds what was
 * there and can do what the killed one did not.
 *
 * The default run tries a sample. `POINTS=all node --test test/kill-points.test.ts` tries every
 * point, under 10,000 frames a second.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { destroyEbpf } from '#datapath/ebpf/open.ts';
import { isRoot, sweep, Testbed } from '#datapath/ebpf/testbed.ts';
import { allArrive, kill, killAll, Load, SET_UP, startPart, told } from './upgrade.fixture.ts';

const skip = !isRoot() && 'needs root: network namespaces and bpf(2)';
const ALL = process.env['POINTS'] === 'all';
const SAMPLE = 1;
/** More than there are: nothing is killed, and the points are counted. */
const NEVER = 1_000_000;

/** What is done while the flow of slot 5 goes on; `more` are the slots of other flows. */
const ACTIVITIES = {
  'a start that adopts': undefined,
  'an install batch': `
    const [b, c] = ['v2', 'v3'].map(port);
    for (let i = 0; i < 40; i++) dp.setKey({ key: 100 + i, port: c, network: 0x800005 });
    put(20, c, { outputs: [{ port: b }] }, PLAIN, 8);
    put(21, b, { outputs: [{ port: c }] }, WIDE, 8);
    dp.commit();
    put(22, c, { outputs: [{ port: b }, { port: port('v1') }] }, WIDE, 8);
    dp.commit();`,
  'an invalidation': `
    const gone = dp.dump().map(({ ref }) => ref).filter(({ slot }) => slot !== 5);
    dp.invalidate(gone);
    dp.remove(gone);
    dp.denySender(dp.addPeer(0xac1f0063), 0x800005);`,
  'ports that come and go': `
    dp.removePort(port('v3'));
    dp.addPort(port('v3'));
    dp.removeKey(77);
    dp.setKey({ key: 77, port: port('v3'), network: 0x800005 });`,
} as const;
/** Everything as it was, whatever was done of an activity. */
const RESTORE = `
  const others = dp.dump().map(({ ref }) => ref).filter(({ slot }) => slot !== 5);
  dp.invalidate(others);
  dp.remove(others);
  for (const { key } of dp.keys()) if (key !== 77) dp.removeKey(key);
  ${SET_UP.replace(/^ *put\(5,.*$/m, '')}
`;

function sampleOf(points: number): number[] {
  if (ALL) return Array.from({ length: points }, (_, i) => i + 1);
  return Array.from({ length: SAMPLE }, (_, i) => 1 + Math.floor((points * (i + 0.5)) / SAMPLE));
}

suite('killed at any point of', { skip }, () => {
  for (const [name, body] of Object.entries(ACTIVITIES))
    test(name, async (t) => {
      sweep();
      const testbed = new Testbed();
      const part = (n: number) => (body === undefined ? { killAt: n } : { body, armed: n });
      try {
        const first = await told(testbed, { body: SET_UP });
        await kill(first);
        const probe = await told(testbed, part(NEVER));
        await kill(probe);
        await kill(await told(testbed, { body: RESTORE }));
        const points = body === undefined ? probe.told.startPoints : probe.told.points;
        assert.ok(points > 1, `${points} points`);
        using load = new Load(testbed, ALL ? 10 : 1);
        for (const n of sampleOf(points)) {
          assert.equal(await startPart(testbed, part(n)), undefined, `killed at point ${n}`);
          const next = await told(testbed, { body: RESTORE });
          const { ports, keys, senders, flows, adopted } = next.told;
          assert.deepEqual(
            { ports, keys, senders, flows, adopted },
            {
              ...{ ports: first.told.ports, keys: first.told.keys, flows: first.told.flows },
              ...{ senders: first.told.senders, adopted: true },
            },
            `after point ${n}`,
          );
          await kill(next);
        }
        await allArrive(load);
        t.diagnostic(`${points} points; ${load.sent} of ${load.sent} frames`);
      } finally {
        await killAll();
        testbed.close();
      }
    });

  test('a first start', async (t) => {
    sweep();
    const testbed = new Testbed();
    try {
      const whole = await told(testbed, { body: SET_UP, killAt: NEVER });
      await kill(whole);
      const points = whole.told.startPoints + whole.told.points;
      for (const n of sampleOf(points)) {
        destroyEbpf(testbed.runDir);
        assert.equal(await startPart(testbed, { body: SET_UP, killAt: n }), undefined);
        const next = await told(testbed, { body: SET_UP.replaceAll(/^ *put\(/gm, ' void (') });
        await kill(next);
        assert.equal(next.told.ports.length, 3, `after point ${n}`);
        assert.equal(next.told.keys.length, 1);
        assert.equal(next.told.senders.length, 2);
      }
      t.diagnostic(`${points} points`);
    } finally {
      await killAll();
      testbed.close();
    }
  });
});
