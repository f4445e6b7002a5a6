/**
 * Masks: which bytes of a key a set of fields stands for.
 *
 * Invariants: the entry (port, tunnel key, tunnel source) is in every mask, so no flow serves two
 * doors; `mask_id` is in none; and an address is never matched without `eth_type`, because the same
 * sixteen bytes are an IPv4 address under one type and an IPv6 address under another.
 */
import { FIELDS, fieldSet, hasField } from '#virtual/match.ts';
import type { Field, FieldSet } from '#virtual/match.ts';
import { KEY, KEY_SIZE } from './layout.ts';

/** The bytes of the key that a field is in: where, and how many. */
const SPAN: { readonly [F in Field]: readonly [at: number, bytes: number] } = {
  ethSrc: [KEY.eth_src, 6],
  ethDst: [KEY.eth_dst, 6],
  ethType: [KEY.eth_type, 2],
  vlan: [KEY.vlan, 2],
  ipSrc: [KEY.ip_src, 16],
  ipDst: [KEY.ip_dst, 16],
  ipProto: [KEY.ip_proto, 1],
  ipTos: [KEY.ip_tos, 1],
  ipTtl: [KEY.ip_ttl, 1],
  ipFrag: [KEY.ip_frag, 1],
  tpSrc: [KEY.tp_src, 2],
  tpDst: [KEY.tp_dst, 2],
};
/** in_port, tun_key and tun_src open the key. */
const ENTRY_BYTES = 12;

/** Every field: the mask of an exact flow. */
export const EXACT: FieldSet = fieldSet(FIELDS);
const ADDRESSES = fieldSet(['ipSrc', 'ipDst']);
const ETH_TYPE = fieldSet(['ethType']);

/** The set as it is matched: addresses bring the type that says what they are. */
export const matchedFields = (fields: FieldSet): FieldSet =>
  (fields & ADDRESSES) === 0 ? fields : fields | ETH_TYPE;

const masks: (Uint8Array | undefined)[] = Array.from({ length: EXACT + 1 });

function build(fields: FieldSet): Uint8Array {
  const mask = new Uint8Array(KEY_SIZE);
  mask.fill(0xff, 0, ENTRY_BYTES);
  for (const field of FIELDS)
    if (hasField(matchedFields(fields), field)) {
      const [at, bytes] = SPAN[field];
      mask.fill(0xff, at, at + bytes);
    }
  return mask;
}

/** KEY_SIZE bytes: 0xff where a key of these fields is compared. Shared: do not write to it. */
export function maskBytes(fields: FieldSet): Uint8Array {
  if (!Number.isInteger(fields) || fields < 0 || fields > EXACT)
    throw new Error(`mask: ${fields} is not a set of fields`);
  return (masks[fields] ??= build(fields));
}

/** The fields that a mask compares: the inverse of `maskBytes`, for masks found in a datapath. */
export const fieldsOfMask = (mask: Uint8Array): FieldSet =>
  fieldSet(FIELDS.filter((field) => mask[SPAN[field][0]] !== 0));

/** Writes what is left of `key` under a mask to `out`, which may be `key` itself. */
export function maskKey(key: Uint8Array, fields: FieldSet, out: Uint8Array): void {
  const mask = maskBytes(fields);
  for (let i = 0; i < KEY_SIZE; i++) out[i] = key[i]! & mask[i]!;
}
