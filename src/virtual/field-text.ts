/** Values of header fields as people write them. */
import { formatIp, type Ip } from '#net/ip.ts';
import { formatMac, type Mac } from '#net/mac.ts';
import type { Field, Headers } from './match.ts';

const hex = (value: number): string => `0x${value.toString(16).padStart(4, '0')}`;

const TEXT: { readonly [F in Field]: (value: Headers[F]) => string } = {
  ethSrc: (value: Mac) => formatMac(value),
  ethDst: (value: Mac) => formatMac(value),
  ethType: hex,
  vlan: (value) => (value === 0 ? 'none' : String(value & 0xfff)),
  ipSrc: (value: Ip) => formatIp(value),
  ipDst: (value: Ip) => formatIp(value),
  ipProto: String,
  ipTos: String,
  ipTtl: String,
  ipFrag: (value) => ({ 0: 'no', 1: 'first', 3: 'later' })[value] ?? String(value),
  tpSrc: String,
  tpDst: String,
};

/** One value: `02:00:00:00:00:01`, `10.0.0.1`, `0x0800`, `none`. */
export const fieldText = <F extends Field>(field: F, value: Headers[F]): string =>
  (TEXT[field] as (value: Headers[F]) => string)(value);
