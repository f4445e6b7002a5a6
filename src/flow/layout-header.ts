/** The C header that is printed from the table of structs: `src/datapath/ebpf/layout.h`. */
import { TCP_FLAG } from './connection-layout.ts';
import {
  ACTION,
  COUNTER,
  COUNTERS_MAX,
  HASH_SECRET_WORDS,
  KEY_FLAG,
  LAYOUT_VERSION,
  LIMITS,
  MARK_SENT,
  MARK_SLOT_BITS,
  NETWORK_NO_PORT,
  NO_SLOT,
  PEER_FAMILY,
  SIGHT_FATE,
  SIGHT_WHERE,
  sizeOf,
  STRUCTS,
  TUNNEL_TOS_COPY,
  UPCALL_CLASS,
  UPCALL_REASON,
  VLAN,
  type FieldRow,
} from './layout.ts';

const C_TYPE = {
  u8: '__u8',
  u16: '__u16',
  u32: '__u32',
  u64: '__u64',
  net8: '__u8',
  net16: '__be16',
  net32: '__be32',
};

const struct = (name: string, rows: readonly FieldRow[]): string => {
  const fields = rows.map(
    (row) => `\t${C_TYPE[row.type]} ${row.name}${'count' in row ? `[${row.count}]` : ''};`,
  );
  return `struct ${name} {\n${fields.join('\n')}\n} __attribute__((aligned(8)));\n_Static_assert(sizeof(struct ${name}) == ${sizeOf(rows)}, "${name}");\n`;
};
const defines = (prefix: string, values: Readonly<Record<string, number>>): string =>
  Object.entries(values)
    .map(([name, value]) => `#define ${prefix}${name} ${value}u\n`)
    .join('');

/** The C header, whole. */
export const headerText = (): string =>
  [
    '/* SPDX-License-Identifier: Apache-2.0 */\n/* Printed by src/flow/layout.ts; do not edit. */\n#pragma once\n',
    `#define LAYOUT_VERSION ${LAYOUT_VERSION}u\n`,
    defines('', LIMITS),
    defines('ACTION_', ACTION),
    defines('KEY_', KEY_FLAG),
    defines('VLAN_', VLAN),
    defines('UPCALL_', UPCALL_REASON),
    defines('TCP_FLAG_', TCP_FLAG),
    defines('CLASS_', UPCALL_CLASS),
    defines('COUNTER_', COUNTER),
    defines('PEER_', PEER_FAMILY),
    defines('WHERE_', SIGHT_WHERE),
    defines('FATE_', SIGHT_FATE),
    `#define NO_SLOT ${NO_SLOT}u\n`,
    `#define COUNTERS_MAX ${COUNTERS_MAX}u\n#define MARK_SENT ${MARK_SENT}u\n#define MARK_SLOT_BITS ${MARK_SLOT_BITS}u\n`,
    `#define NETWORK_NO_PORT ${NETWORK_NO_PORT}u\n#define HASH_SECRET_WORDS ${HASH_SECRET_WORDS}\n#define TUNNEL_TOS_COPY ${TUNNEL_TOS_COPY}u\n`,
    ...Object.entries(STRUCTS).map(([name, rows]) => struct(name, rows)),
  ].join('\n');
