/** Addresses of interfaces by rtnetlink (linux/if_addr.h). */
import { ERRNO, SystemError } from '../libc.ts';
import { attribute, concat, decodeAttributes, find, NLM } from './codec.ts';
import type { Message } from './codec.ts';
import { Netlink } from './socket.ts';

const RTM = { newAddress: 20, deleteAddress: 21, getAddress: 22 } as const;
const IFADDR_BYTES = 8;
const IFA = { address: 1, local: 2 } as const;
const FAMILY = { 4: 2, 16: 10 } as const;

export interface InterfaceAddress {
  readonly index: number;
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly prefixLength: number;
}

/** linux/if_addr.h: IFA_F_NODAD. */
const NO_DETECTION = 2;

/** What an address message says; undefined when it is not a whole one. */
export function decodeAddress({ body }: Message): InterfaceAddress | undefined {
  if (body.length < IFADDR_BYTES) return undefined;
  const attributes = decodeAttributes(body, IFADDR_BYTES);
  const address = find(attributes, IFA.local) ?? find(attributes, IFA.address);
  if (address === undefined || (address.length !== 4 && address.length !== 16)) return undefined;
  const index = new DataView(body.buffer, body.byteOffset, body.byteLength).getUint32(4, true);
  return { index, address, prefixLength: body[1]! };
}

export function listAddresses(): InterfaceAddress[] {
  using netlink = new Netlink();
  const found: InterfaceAddress[] = [];
  const answers = netlink.request(
    'list addresses',
    RTM.getAddress,
    NLM.dump,
    new Uint8Array(IFADDR_BYTES),
  );
  for (const message of answers) {
    const address = message.type === RTM.newAddress ? decodeAddress(message) : undefined;
    if (address !== undefined) found.push(address);
  }
  return found;
}

/**
 * Nothing happens when the interface has it already. `detect`: false where nobody else can have it,
 * so that it may be used at once (RFC 4862 §5.4).
 */
export function addAddress(
  { index, address, prefixLength }: InterfaceAddress,
  { detect = true }: { readonly detect?: boolean } = {},
): void {
  const family = FAMILY[address.length as 4 | 16];
  if (family === undefined) throw new Error('an address has 4 or 16 bytes');
  const head = new Uint8Array(IFADDR_BYTES);
  head.set([family, prefixLength, detect ? 0 : NO_DETECTION]);
  new DataView(head.buffer).setUint32(4, index, true);
  using netlink = new Netlink();
  const body = concat(head, attribute(IFA.local, address), attribute(IFA.address, address));
  try {
    netlink.request('add an address', RTM.newAddress, NLM.create | NLM.exclusive, body);
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== ERRNO.EEXIST) throw error;
  }
}
