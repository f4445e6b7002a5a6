/** Which frames a flow does not carry though it matches them: the reference of `expires` in C. */
import type { Actions } from '#flow/flow.ts';
import { KEY } from '#flow/layout.ts';
import { packetSize } from '#flow/size.ts';

/**
 * IPv4 or IPv6 of whose TTL not so much can be subtracted (also a header too broken to have one).
 */
export const expires = (key: Uint8Array, { decTtl }: Actions): boolean => {
  if (decTtl === undefined) return false;
  const ethType = (key[KEY.eth_type]! << 8) | key[KEY.eth_type + 1]!;
  return (ethType === 0x0800 || ethType === 0x86dd) && key[KEY.ip_ttl]! <= decTtl;
};
/** The packet is larger than the MTU of the flow. */
export const tooBig = (frame: Uint8Array, { mtu }: Actions): boolean =>
  mtu !== undefined && packetSize(frame, 0) > mtu;
