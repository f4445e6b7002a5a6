/** Records of another layout: carried wholly, by name, or not at all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Description, FieldAt, Meaning } from './description.ts';
import { describeLayout, parseDescription } from './description.ts';
import { ACTION, ACTION_STRUCT, LAYOUT_VERSION, offsets, sizeOf, SIZE } from './layout.ts';
import { reader, translator } from './translate.ts';

const ours = describeLayout({ actions: { value: 'action' } });

interface Made {
  readonly fields: Readonly<Record<string, FieldAt>>;
  readonly size?: number;
  readonly meanings?: Readonly<Record<string, Meaning>>;
  readonly tables?: Description['tables'];
  readonly rule?: number;
}
const made = ({ fields, size = 64, meanings = {}, tables = {}, rule = 1 }: Made): Description => ({
  version: 9,
  structs: { s: { size, fields } },
  tables,
  meanings: { s: meanings },
  maps: {},
  rules: { s: rule },
});

/** What becomes of bytes; undefined: not understood. */
function carried(from: Made, to: Made, bytes: readonly number[]): number[] | undefined {
  const [source, target] = [new DataView(new ArrayBuffer(64)), new DataView(new ArrayBuffer(64))];
  bytes.forEach((byte, i) => source.setUint8(i, byte));
  const translate = translator(made(from), made(to), 's');
  assert.ok(translate);
  return translate(source, 0, target, 0) ? [...new Uint8Array(target.buffer)] : undefined;
}
const first = (bytes: number[] | undefined, n: number): number[] | undefined => bytes?.slice(0, n);

test('fields go by their names, wherever they are and however wide', () => {
  const from = { fields: { a: [0, 'u16', 1], b: [2, 'net8', 3], c: [8, 'u64', 1] } } as const;
  const to = { fields: { c: [0, 'u32', 1], b: [4, 'net8', 3], a: [8, 'u64', 1] } } as const;
  const bytes = [1, 2, 7, 8, 9, 0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0];
  assert.deepEqual(
    first(carried(from, to, bytes), 16),
    [5, 0, 0, 1, 7, 8, 9, 0, 1, 2, 0, 0, 0, 0, 0, 0],
  );
  const large = bytes.with(12, 1);
  assert.equal(carried(from, to, large), undefined, 'a number that does not fit');
});

test('what the reader lacks must be zero; what the writer lacks is', () => {
  const from = { fields: { a: [0, 'u32', 1], extra: [4, 'u32', 2] } } as const;
  const to = { fields: { more: [0, 'u32', 1], a: [4, 'u32', 1] } } as const;
  assert.deepEqual(first(carried(from, to, [3]), 8), [0, 0, 0, 0, 3, 0, 0, 0]);
  for (const at of [4, 7, 11])
    assert.equal(
      carried(
        from,
        to,
        [3].with(0, 3).concat(
          Array.from({ length: at - 1 }, () => 0),
          1,
        ),
      ),
      undefined,
    );
});

test('bytes of a frame are carried only to as many of them', () => {
  const from = { fields: { a: [0, 'net8', 4] } } as const;
  assert.deepEqual(
    first(carried(from, { fields: { a: [0, 'net32', 1] } }, [1, 2, 3, 4]), 4),
    [1, 2, 3, 4],
  );
  for (const field of [
    [0, 'net8', 16],
    [0, 'u32', 1],
    [0, 'net8', 2],
  ] as const) {
    assert.equal(carried(from, { fields: { a: field } }, [1]), undefined);
    assert.ok(carried(from, { fields: { a: field } }, [0]));
  }
});

test('flags go by their names; one that the reader does not know is not understood', () => {
  const flags = { fields: { f: [0, 'u32', 1] }, meanings: { f: { bits: 'F', low: 4 } } } as const;
  const from = { ...flags, tables: { F: { A: 16, B: 32, NEW: 64 } } };
  const to = { ...flags, tables: { F: { B: 64, A: 128 } } };
  assert.deepEqual(first(carried(from, to, [16 + 32 + 5]), 1), [64 + 128 + 5]);
  assert.equal(carried(from, to, [64]), undefined, 'a new one');
  assert.equal(carried(from, to, [128]), undefined, 'one without a name');
  const narrow = { ...to, meanings: { f: { bits: 'F', low: 2 } } } as const;
  assert.deepEqual(first(carried(from, narrow, [16 + 3]), 1), [128 + 3]);
  assert.equal(carried(from, narrow, [16 + 4]), undefined);
  assert.equal(carried(from, { fields: flags.fields }, [16]), undefined, 'no flags over here');
});

test('codes go by their names, 0 is none', () => {
  const code = { fields: { c: [0, 'u16', 1] }, meanings: { c: { code: 'C' } } } as const;
  const from = { ...code, tables: { C: { one: 1, two: 2 } } };
  const to = { ...code, tables: { C: { one: 7 } } };
  assert.deepEqual(
    [0, 1, 2, 3].map((n) => first(carried(from, to, [n]), 1)),
    [[0], [7], undefined, undefined],
  );
});

test('a struct whose rules are others is not carried at all', () => {
  const fields = { a: [0, 'u32', 1] } as const;
  assert.equal(translator(made({ fields }), made({ fields, rule: 2 }), 's'), undefined);
  assert.equal(translator(made({ fields }), made({ fields }), 'other'), undefined);
});

test('a layout read from its own text carries every action as it is', () => {
  const theirs = parseDescription(JSON.stringify(ours));
  assert.ok(theirs);
  assert.equal(theirs.version, LAYOUT_VERSION);
  const translate = translator(theirs, ours, 'action');
  assert.ok(translate);
  const size = sizeOf(ACTION_STRUCT);
  const at = offsets(ACTION_STRUCT);
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: size, maxLength: size }),
      fc.nat(127),
      (bytes, flags) => {
        const from = new DataView(bytes.buffer);
        from.setUint32(at.flags, flags & Object.values(ACTION).reduce((a, b) => a | b, 0), true);
        from.setUint16(at.vlan, flags, true);
        from.setUint16(at.drop_code, 9, true);
        const to = new DataView(new ArrayBuffer(size));
        assert.ok(translate(from, 0, to, 0));
        assert.deepEqual(new Uint8Array(to.buffer), bytes);
      },
    ),
  );
});

test('text that is no description is refused, whatever it is', () => {
  const good = JSON.parse(JSON.stringify(ours)) as Record<string, unknown>;
  for (const bad of [
    '',
    '{',
    'null',
    '[]',
    '{"version":5}',
    JSON.stringify({ ...good, structs: { s: { size: 4, fields: { a: [2, 'u32', 1] } } } }),
    JSON.stringify({ ...good, structs: { s: { size: 4, fields: { a: [0, 'toString', 1] } } } }),
    JSON.stringify({ ...good, structs: { s: { size: 4, fields: { a: [-1, 'u8', 1] } } } }),
    JSON.stringify({ ...good, structs: { s: null } }),
    JSON.stringify({ ...good, maps: { actions: 'action' } }),
    JSON.stringify({ ...good, version: 'four' }),
  ])
    assert.equal(parseDescription(bad), undefined, bad.slice(0, 80));
  assert.ok(parseDescription(JSON.stringify({ ...good, later: true })), 'more is no harm');
});

test('a number is read at its width; bytes and lists are none', () => {
  const struct = { size: 16, fields: { a: [0, 'u8', 1], b: [8, 'u64', 1], c: [1, 'net8', 6] } };
  const view = new DataView(new ArrayBuffer(16));
  view.setUint8(0, 200);
  view.setUint32(8, 1, true);
  view.setUint32(12, 1, true);
  const text = struct as unknown as Description['structs'][string];
  assert.equal(reader(text, 'a')?.(view, 0), 200);
  assert.equal(reader(text, 'b')?.(view, 0), 2 ** 32 + 1);
  assert.equal(reader(text, 'c'), undefined);
  assert.equal(reader(text, 'd'), undefined);
  assert.equal(SIZE.u64, 8);
});
