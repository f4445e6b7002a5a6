/** The description is consistent in itself and true to what is served. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { z } from 'zod';
import { parseMac } from '#net/mac.ts';
import { parseFrameText } from '#net/text.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { openNode } from './fixture.ts';

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Record<string, { readonly description: string }>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: {
    readonly schemas: Record<string, { properties?: Record<string, unknown>; required?: string[] }>;
  };
}

function walk(value: unknown, visit: (key: string, value: unknown) => void): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    visit(key, inner);
    walk(inner, visit);
  }
}

async function description(): Promise<Document> {
  await using node = openNode();
  return (await (await node.request('/openapi.json')).json()) as Document;
}

test('every reference resolves, every schema is used, every operation has its own id', async () => {
  const document = await description();
  assert.equal(document.openapi, '3.1.0');
  const schemas = new Set(Object.keys(document.components.schemas));
  const used = new Set<string>();
  walk(document, (key, value) => {
    if (key !== '$ref') return;
    const [, name = ''] = /^#\/components\/schemas\/(\w+)$/.exec(String(value)) ?? [];
    assert.ok(schemas.has(name), `${String(value)} does not resolve`);
    used.add(name);
  });
  assert.deepEqual(
    [...schemas].filter((name) => !used.has(name)),
    [],
  );
  const ids: string[] = [];
  for (const [path, methods] of Object.entries(document.paths)) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    for (const operation of Object.values(methods)) {
      ids.push(operation.operationId);
      assert.ok(operation.summary.length > 5);
      const declared = operation.parameters.filter((p) => p.in === 'path').map(({ name }) => name);
      assert.deepEqual(declared, inPath, path);
      assert.ok('default' in operation.responses);
    }
  }
  assert.deepEqual(ids, [...new Set(ids)]);
});

test('schemas are JSON Schema in which every required property exists', async () => {
  const { components } = await description();
  walk(components, (_key, value) => {
    if (typeof value !== 'object' || value === null || !('required' in value)) return;
    const { properties, required } = value as { properties?: object; required: unknown };
    if (!Array.isArray(required)) return;
    for (const name of required)
      assert.ok(properties !== undefined && name in properties, String(name));
  });
  const text = JSON.stringify(components);
  assert.ok(!text.includes('$defs') && !text.includes('$schema'));
});

test('each kind: what is created has no assigned field, references take names, the stored form is whole', async () => {
  const { components, paths } = await description();
  for (const name of KIND_NAMES) {
    const kind = kindOf(name);
    const component = kind.schema.meta()?.id ?? '';
    const stored = components.schemas[component];
    const fields = Object.keys(kind.schema.shape).sort();
    assert.deepEqual(Object.keys(stored?.properties ?? {}).sort(), [...fields, 'revision'].sort());
    assert.ok(`/v1/${kind.path}` in paths && `/v1/${kind.path}/{id}` in paths);
    if (kind.writer === 'host') continue;
    const created = components.schemas[`New${component}`]?.properties ?? {};
    assert.deepEqual(
      Object.keys(created).sort(),
      fields.filter((f) => f !== 'id' && !kind.assigned.includes(f)),
    );
    const patch = Object.keys(components.schemas[`${component}Patch`]?.properties ?? {});
    assert.ok(!patch.some((field) => kind.immutable.includes(field)));
  }
});

test('what the API answers is what it describes', async () => {
  await using node = openNode();
  const { components } = await description();
  await node.operator.create('host', { name: 'h1' });
  await node.operator.create('bridge', { name: 'b', tenant: 'acme' });
  const seeds = [{ mac: '02:00:00:00:00:01', ip: '10.0.0.1' }];
  const port = {
    name: 'p',
    bridge: 'b',
    tenant: 'acme',
    host: 'h1',
    interface: 'e',
    addresses: seeds,
  };
  await node.operator.create('port', port);
  await node.operator.create('tunnel-zone', {
    name: 'z',
    members: [{ host: 'h1', address: '10.0.0.1' }],
  });
  await node.operator.create('router', { name: 'r' });
  const networks = ['10.0.0.9/24'];
  await node.operator.create('port', { name: 'q', router: 'r', networks, mtu: 1500 });
  await node.operator.create('port', { name: 'p2', bridge: 'b', peer: 'q' });
  const way = { router: 'r', destination: '::/0', type: 'blackhole' };
  await node.operator.create('route', way);
  for (const name of KIND_NAMES) {
    const schema = components.schemas[kindOf(name).schema.meta()?.id ?? ''];
    const validator = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
    for (const object of await node.operator.listAll(name)) validator.parse(object);
  }
  const validator = z.fromJSONSchema(
    components.schemas['TraceResult'] as Parameters<typeof z.fromJSONSchema>[0],
  );
  const frame = parseFrameText('arp who-has 10.0.0.9 tell 10.0.0.1', {
    src: parseMac('02:00:00:00:00:01') ?? assert.fail(),
  }) as Uint8Array;
  const result = validator.parse(await node.operator.trace({ port: 'p', frame: frame.toHex() }));
  assert.equal((result as { sends: unknown[] }).sends.length, 1);
});
