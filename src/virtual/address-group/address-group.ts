/**
 * A group of addresses and prefixes, for conditions of rules: its schema, its words, its
 * references. Data only; the web may import it.
 */
import { z } from 'zod';
import { parseIp } from '#net/ip.ts';
import { ip, id, labels, name, objectName, prefix } from '../fields.ts';
import type { Kind } from '../kind.ts';

/** Addresses and prefixes of one group. */
export const ADDRESSES_PER_GROUP_MAX = 10_000;

/** A prefix of one address is that address, so that each member has one text. */
function withoutLength(text: string): string {
  const [address = '', length] = text.split('/');
  return length === (address.includes(':') ? '128' : '32') ? address : text;
}

/** An address, or a prefix: each in its canonical text. */
const member = z.string().transform((text, context) => {
  const of = text.includes('/') ? prefix : ip;
  const parsed = of.safeParse(text);
  if (parsed.success) return withoutLength(parsed.data);
  const looks = text.includes('/') || parseIp(text) !== undefined;
  const message = looks
    ? (parsed.error.issues[0]?.message ?? '')
    : 'must be an address or a prefix such as 10.0.0.1, 10.0.0.0/8 or fd00::/64';
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

export const AddressGroup = z
  .strictObject({
    id: id('address-group'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it.'),
    labels,
    addresses: z
      .array(member)
      .max(ADDRESSES_PER_GROUP_MAX, `must hold at most ${ADDRESSES_PER_GROUP_MAX} addresses`)
      .superRefine((given, context) => {
        const seen = new Set<string>();
        for (const [i, text] of given.entries()) {
          if (seen.has(text))
            context.addIssue({ code: 'custom', path: [i], message: 'is given twice' });
          seen.add(text);
        }
      })
      .default([])
      .describe('IPv4 and IPv6 addresses and prefixes. A group without any matches nothing.'),
  })
  .meta({ id: 'AddressGroup', description: 'A group of addresses that rules match.' });
export type AddressGroup = z.output<typeof AddressGroup>;

export const addressGroupKind = {
  name: 'address-group',
  path: 'address-groups',
  about: 'A group of addresses that rules match.',
  schema: AddressGroup,
  references: {},
  columns: ['name', 'tenant', 'addresses', 'labels', 'id'],
  assigned: [],
  immutable: ['tenant'],
  writer: 'tenant',
  operatorFields: [],
} as const satisfies Kind;
