/** `--dry-run` and labels on the command line, against the real API in this process. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNode } from '#api/fixture.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import type { Fixture } from '#api/fixture.ts';
import { EXIT } from './io.ts';
import { mn } from './testing.ts';

async function built(node: Fixture, lines: readonly string[]): Promise<void> {
  for (const line of lines) {
    const ran = await mn(node.operator, line);
    assert.equal(ran.code, EXIT.ok, `${line}\n${ran.err}`);
  }
}
const everything = async ({ operator }: Fixture): Promise<string> => {
  const pages = await Promise.all(KIND_NAMES.map((kind) => operator.listAll(kind)));
  return JSON.stringify([pages, (await operator.status()).revision]);
};

test('every write has a dry run: field by field, in names, and nothing written', async () => {
  await using node = openNode();
  await built(node, [
    'host create h1',
    'bridge create b0 --labels app=web',
    'router create r0',
    'port create p1 --bridge b0 --addresses mac=02:00:00:00:00:01,ip=10.0.0.1',
    'port create p2 --bridge b0',
    'port create rp --router r0 --networks 10.0.0.254/24',
  ]);
  const before = await everything(node);
  const dry = async (line: string): Promise<string> => {
    const ran = await mn(node.operator, `${line} --dry-run`);
    assert.equal(ran.code, EXIT.ok, ran.err);
    return ran.out;
  };
  const nothing = 'nothing was written\n';
  assert.equal(
    await dry('port create p3 --bridge b0 --labels b=2,a=1'),
    [
      'would create port p3',
      '  name            p3',
      '  labels          a=1; b=2',
      '  type            bridge',
      '  bridge          b0',
      '  admin-state-up  true',
      '  hairpin         false',
      '  security        off',
      nothing,
    ].join('\n'),
  );
  assert.equal(
    await dry('bridge update b0 --name b9 --admin-state-up false --labels app=db'),
    [
      'would update bridge b9',
      '  name            b0 → b9',
      '  labels          app=web → app=db',
      '  admin-state-up  true → false',
      nothing,
    ].join('\n'),
  );
  assert.equal(
    await dry('bridge update b0 --remove-labels app=web'),
    `would update bridge b0\n  labels  app=web → (none)\n${nothing}`,
  );
  assert.equal(await dry('bridge update b0 --labels app=web'), `nothing would change\n${nothing}`);
  assert.equal(
    await dry('port bind p1 --host h1 --interface vm1'),
    `would update port p1\n  host       (none) → h1\n  interface  (none) → vm1\n${nothing}`,
  );
  assert.equal(
    await dry('port link p2 rp'),
    `would update port p2\n  peer  (none) → rp\nwould update port rp\n  peer  (none) → p2\n${nothing}`,
  );
  const gone = await dry('bridge delete b0');
  assert.deepEqual(gone.split('\n').sort(), [
    '',
    'nothing was written',
    'would delete bridge b0',
    'would delete port p1',
    'would delete port p2',
  ]);
  assert.equal(
    await dry('port delete p1 p2'),
    `would delete port p1\nwould delete port p2\n${nothing}`,
  );
  const asJson = JSON.parse(await dry('bridge create b1 -o json')) as Record<string, unknown>;
  assert.equal(asJson['dryRun'], true);
  assert.deepEqual(Object.keys(asJson), ['revision', 'objects', 'dryRun', 'changes']);
  const wrong = await mn(node.operator, 'port create p4 --bridge none --dry-run');
  assert.equal(wrong.code, EXIT.refused);
  assert.match(wrong.err, /bridge: no bridge is named "none"/);
  const both = await mn(node.operator, 'bridge delete b0 --dry-run --wait');
  assert.equal(both.code, EXIT.usage);
  assert.equal(await everything(node), before);
});

test('labels: given, changed, listed by, and refused by rule', async () => {
  await using node = openNode();
  await built(node, [
    'bridge create b0 --labels app=web,tier=front',
    'bridge create b1',
    'bridge update b1 --add-labels app=web',
    'host create h1 --labels rack=r7',
    'tunnel-zone create z --labels site=a',
    'router create r0 --labels app=web',
    'port create p --bridge b0 --labels app=web',
    'port create rp --router r0 --networks 10.0.0.1/24',
    'route create --router r0 --destination 10.9.0.0/16 --port rp --labels app=web',
  ]);
  const list = await mn(node.operator, 'bridge list --where labels=app=web -o json');
  const named = (JSON.parse(list.out) as { name: string; labels: string[] }[]).map(
    ({ name, labels }) => [name, labels],
  );
  assert.deepEqual(named, [
    ['b0', ['app=web', 'tier=front']],
    ['b1', ['app=web']],
  ]);
  await built(node, ['bridge update b1 --remove-labels app=web']);
  const [, b1] = await node.operator.listAll('bridge');
  assert.equal(b1 !== undefined && 'labels' in b1, false, 'no labels are no field');
  const bad = await mn(node.operator, 'bridge create b2 --labels App=web,app,a=1,a=2');
  assert.equal(bad.code, EXIT.refused);
  assert.match(bad.err, /labels\.0: must be key=value/);
  assert.match(bad.err, /labels\.1: must be key=value/);
  assert.match(
    (await mn(node.operator, 'bridge create b2 --labels a=1,a=2')).err,
    /labels\.1: gives a twice/,
  );
  const many = Array.from({ length: 33 }, (_, i) => `k${i}=v`).join(',');
  const over = await mn(node.operator, `bridge create b2 --labels ${many}`);
  assert.match(over.err, /labels: must hold at most 32 labels/);
});
