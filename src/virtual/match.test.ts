/** Law 1 at its source: what is matched, and what is rewritten, after any reads and writes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Mac } from '#net/mac.ts';
import { fieldsOf, Match } from './match.ts';
import { packets } from './packet.arbitrary.ts';

const options = { seed: Number(process.env['SEED'] ?? 1), numRuns: 1000 };

test('a field is seen when it was read before it was written, and rewritten as it was last', () => {
  const step = fc.record({
    field: fc.constantFrom('ethSrc', 'ethDst', 'vlan'),
    write: fc.option(fc.nat(255), { nil: undefined }),
  });
  fc.assert(
    fc.property(packets, fc.array(step, { maxLength: 12 }), ({ headers, bytes }, steps) => {
      const match = new Match(headers, bytes, 0);
      const seen = new Set<string>();
      const written = new Map<string, number>();
      for (const { field, write } of steps)
        if (write !== undefined) {
          match.set(field, write as Mac);
          written.set(field, write);
        } else {
          assert.equal(match.get(field), written.get(field) ?? headers[field]);
          if (!written.has(field)) seen.add(field);
        }
      assert.deepEqual(fieldsOf(match.seen).toSorted(), [...seen].toSorted());
      const { vlan, ...rewrites } = Object.fromEntries(written);
      assert.deepEqual(match.rewrites(), rewrites);
      assert.equal(match.vlanOut, vlan);
    }),
    options,
  );
});
