/** The loader reads our object, and refuses what is not one. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { linkProgram, readPrograms } from './elf.ts';

const object = new Uint8Array(
  readFileSync(new URL('../datapath/ebpf/datapath.bpf.o', import.meta.url)),
);

test('programs, and where they want their maps', () => {
  const programs = readPrograms(object);
  const names = programs.map((each) => each.name).sort();
  const all = ['crossing', 'flood', 'inject', 'lost', 'port_in', 'port_out', 'rewrite', 'sink'];
  all.push('tun_in');
  assert.deepEqual(names, all);
  for (const program of programs) {
    assert.equal(program.code.length % 8, 0);
    const fds = Object.fromEntries(program.maps.map(({ map }) => [map, 77]));
    const code = linkProgram(program, fds);
    for (const { at } of program.maps) {
      assert.equal(code[at + 1]! >> 4, 1);
      assert.equal(code[at + 4], 77);
    }
    if (program.maps.length > 0) assert.throws(() => linkProgram(program, {}), /wants map/);
  }
});

test('cut short or overwritten, it is refused or read, but nothing else happens', () => {
  const damage = fc.record({
    cut: fc.nat(object.length),
    at: fc.array(fc.tuple(fc.nat(object.length - 1), fc.nat(255)), { maxLength: 20 }),
    // Most fields that matter are in the head.
    head: fc.array(fc.tuple(fc.nat(63), fc.nat(255)), { maxLength: 2 }),
  });
  fc.assert(
    fc.property(damage, ({ cut, at, head }) => {
      const bytes = object.slice(0, cut);
      for (const [where, value] of [...at, ...head]) if (where < bytes.length) bytes[where] = value;
      try {
        readPrograms(bytes);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 200 },
  );
});
