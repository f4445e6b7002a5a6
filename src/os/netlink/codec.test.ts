/** Netlink bytes: what is written is read back, and junk is harmless (law 5). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeAddress } from './addresses.ts';
import {
  attribute,
  concat,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  errorOf,
  nested,
  readText,
  text,
} from './codec.ts';
import { decodeFilter, decodeQdisc } from './filters.ts';
import { decodeLink } from './links.ts';

const options = { seed: Number(process.env['SEED'] ?? 1), numRuns: 1000 };
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const body = fc.uint8Array({ maxLength: 40 });

test('messages: decode(encode(x)) = x', () => {
  const message = fc.record(
    { type: u16, flags: u16, sequence: u32, body },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(message, { maxLength: 5 }), (messages) => {
      const aligned = messages.map((each) => {
        const bytes = encodeMessage(each);
        return concat(bytes, new Uint8Array(-bytes.length & 3));
      });
      assert.deepEqual(decodeMessages(concat(...aligned)), messages);
    }),
    options,
  );
});

test('attributes: decode(encode(x)) = x, nested ones too', () => {
  const type = fc.integer({ min: 0, max: 0x3fff });
  const one = fc.record({ type, value: body }, { noNullPrototype: true });
  fc.assert(
    fc.property(fc.array(one, { maxLength: 6 }), (attributes) => {
      const bytes = concat(...attributes.map(({ type, value }) => attribute(type, value)));
      assert.deepEqual(decodeAttributes(bytes), attributes);
      const [outer] = decodeAttributes(nested(7, bytes));
      assert.equal(outer?.type, 7);
      assert.deepEqual(decodeAttributes(outer?.value ?? new Uint8Array()), attributes);
    }),
    options,
  );
});

test('junk gives less, never an exception', () => {
  const junk = fc.uint8Array({ maxLength: 200 });
  // Lengths that look right more often than random ones do.
  const plausible = fc.array(fc.constantFrom(0, 1, 4, 5, 8, 16, 20, 255), { maxLength: 120 });
  fc.assert(
    fc.property(
      fc.oneof(
        junk,
        plausible.map((bytes) => Uint8Array.from(bytes)),
      ),
      (bytes) => {
        for (const message of decodeMessages(bytes)) errorOf(message);
        const message = { type: 16, flags: 0, sequence: 0, body: bytes };
        decodeLink(message);
        decodeAddress(message);
        decodeFilter(message);
        decodeQdisc(message);
        errorOf({ ...message, type: 2 });
      },
    ),
    { ...options, numRuns: 5000 },
  );
});

test('text ends at its NUL, or where the bytes end', () => {
  assert.equal(readText(text('eth0')), 'eth0');
  assert.equal(readText(Uint8Array.of(0x61, 0x62)), 'ab');
  assert.equal(readText(undefined), undefined);
});
