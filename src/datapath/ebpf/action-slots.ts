/**
 * The bytes of one slot of the action array, whoever it belongs to: a flow, a frame of the agent,
 * or one output's own rewrites.
 *
 * Invariant: while a slot changes hands its flags say STALE and its generation is already the new
 * one, so a program that copies it meanwhile notices by either. After that only STALE is set, once,
 * and REDIRECT_PEER comes and goes: a frame may take either way while the interface's other end is
 * where it was.
 * Stores are made in this order and seen in it on x86; the words that decide are stored atomically.
 */
import type { DpPeer, DpPort, Output, Rewrites, TunnelKey } from '#flow/flow.ts';
import { ACTION, ACTION_STRUCT, offsets, sizeOf } from '#flow/layout.ts';
import { isIp6, readIp4, readIp6, writeIp4, writeIp6, type Ip } from '#net/ip.ts';
import { readMac, writeMac } from '#net/mac.ts';
import type { Maps } from './maps.ts';

const AT = offsets(ACTION_STRUCT);
const SIZE = sizeOf(ACTION_STRUCT);
const WORDS = SIZE / 4;
/** Where addresses of IPv4 start in their 16 bytes, as in a key. */
const IP4_AT = 12;
/** The bits of DSCP in the type of service (RFC 2474 §3). */
const DSCP_MASK = 0xfc;

/** What a slot says beside rewrites and output. */
export interface SlotHead {
  readonly inPort: number;
  readonly inKey: number;
  readonly decTtl: number;
  readonly mtu: number;
  /** As `vlanWord` says. */
  readonly vlan: number;
  readonly dropCode: number;
  readonly group: number;
  /** The slot of its record; 0: none. */
  readonly connection: number;
}
type NumberField = 'in_port' | 'in_key' | 'group' | 'ifindex' | 'tun_key' | 'peer' | 'connection';
type ShortField = 'dec_ttl' | 'mtu' | 'vlan' | 'drop_code';

export class ActionSlots {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #words: Int32Array;

  constructor(maps: Pick<Maps, 'memory'>) {
    this.#bytes = new Uint8Array(maps.memory.actions);
    this.#view = new DataView(maps.memory.actions);
    this.#words = new Int32Array(maps.memory.actions);
  }

  generation(slot: number): number {
    return this.#view.getUint32(slot * SIZE + AT.generation, true);
  }
  /** ACTION bits. */
  flags(slot: number): number {
    return this.#view.getUint32(slot * SIZE + AT.flags, true);
  }
  u32(slot: number, field: NumberField): number {
    return this.#view.getUint32(slot * SIZE + AT[field], true);
  }
  u16(slot: number, field: ShortField): number {
    return this.#view.getUint16(slot * SIZE + AT[field], true);
  }

  /** From now on frames of the slot are handed up; injections are dropped. */
  invalidate(slot: number): void {
    Atomics.or(this.#words, slot * WORDS + AT.flags / 4, ACTION.STALE);
  }
  /** Sets or clears one flag of a live slot. */
  turn(slot: number, flag: number, to: number): void {
    const at = slot * WORDS + AT.flags / 4;
    if (to === 0) Atomics.and(this.#words, at, ~flag);
    else Atomics.or(this.#words, at, flag);
  }
  /** Begins to write a slot anew; `publish` ends it. */
  claim(slot: number, generation: number): void {
    Atomics.store(this.#words, slot * WORDS + AT.flags / 4, ACTION.STALE);
    Atomics.store(this.#words, slot * WORDS + AT.generation / 4, generation | 0);
  }
  publish(slot: number, flags: number): void {
    Atomics.store(this.#words, slot * WORDS + AT.flags / 4, flags);
  }

  putHead(slot: number, head: SlotHead): void {
    const base = slot * SIZE;
    const view = this.#view;
    view.setUint32(base + AT.in_port, head.inPort, true);
    view.setUint32(base + AT.in_key, head.inKey, true);
    view.setUint16(base + AT.dec_ttl, head.decTtl, true);
    view.setUint16(base + AT.mtu, head.mtu, true);
    view.setUint16(base + AT.vlan, head.vlan, true);
    view.setUint16(base + AT.drop_code, head.dropCode, true);
    view.setUint32(base + AT.group, head.group, true);
    view.setUint32(base + AT.connection, head.connection, true);
  }

  /** The only output, or none; answers its flags. */
  putOutput(slot: number, output: Output | undefined): number {
    const base = slot * SIZE;
    const view = this.#view;
    const tunnel = output !== undefined && 'remote' in output ? output : undefined;
    const port = output !== undefined && 'port' in output ? output.port : 0;
    view.setUint32(base + AT.ifindex, port, true);
    view.setUint32(base + AT.tun_key, tunnel?.key ?? 0, true);
    view.setUint32(base + AT.peer, tunnel?.remote ?? 0, true);
    return tunnel === undefined ? 0 : ACTION.TUNNEL;
  }
  output(slot: number): Output {
    if ((this.flags(slot) & ACTION.TUNNEL) === 0)
      return { port: this.u32(slot, 'ifindex') as DpPort };
    const key = this.u32(slot, 'tun_key') as TunnelKey;
    return { key, remote: this.u32(slot, 'peer') as DpPeer };
  }

  /** Answers the flags that say which there are. */
  putRewrites(slot: number, what: Rewrites): number {
    const base = slot * SIZE;
    let flags = 0;
    if (what.ethDst !== undefined) {
      flags |= ACTION.SET_ETH_DST;
      writeMac(this.#bytes, base + AT.eth_dst, what.ethDst);
    }
    if (what.ethSrc !== undefined) {
      flags |= ACTION.SET_ETH_SRC;
      writeMac(this.#bytes, base + AT.eth_src, what.ethSrc);
    }
    if (what.ipSrc !== undefined)
      flags |= ACTION.SET_IP_SRC | this.#putIp(base + AT.ip_src, what.ipSrc);
    if (what.ipDst !== undefined)
      flags |= ACTION.SET_IP_DST | this.#putIp(base + AT.ip_dst, what.ipDst);
    if (what.tpSrc !== undefined) {
      flags |= ACTION.SET_TP_SRC;
      this.#view.setUint16(base + AT.tp_src, what.tpSrc, false);
    }
    if (what.tpDst !== undefined) {
      flags |= ACTION.SET_TP_DST;
      this.#view.setUint16(base + AT.tp_dst, what.tpDst, false);
    }
    this.#view.setUint8(base + AT.tos, (what.dscp ?? 0) << 2);
    this.#view.setUint8(base + AT.tos_mask, what.dscp === undefined ? 0 : DSCP_MASK);
    return flags;
  }
  /** Answers the flag of the family. */
  #putIp(at: number, ip: Ip): number {
    if (isIp6(ip)) {
      writeIp6(this.#bytes, at, ip);
      return ACTION.IP6;
    }
    this.#bytes.fill(0, at, at + IP4_AT);
    writeIp4(this.#bytes, at + IP4_AT, ip);
    return 0;
  }

  rewrites(slot: number): Rewrites {
    const base = slot * SIZE;
    const flags = this.flags(slot);
    const bytes = this.#bytes;
    const set = (flag: number): boolean => (flags & flag) !== 0;
    const ip = (at: number): Ip =>
      set(ACTION.IP6) ? readIp6(bytes, base + at) : readIp4(bytes, base + at + IP4_AT);
    const port = (at: number): number => this.#view.getUint16(base + at, false);
    const dscp = this.#view.getUint8(base + AT.tos) >> 2;
    return {
      ...(set(ACTION.SET_ETH_SRC) && { ethSrc: readMac(bytes, base + AT.eth_src) }),
      ...(set(ACTION.SET_ETH_DST) && { ethDst: readMac(bytes, base + AT.eth_dst) }),
      ...(set(ACTION.SET_IP_SRC) && { ipSrc: ip(AT.ip_src) }),
      ...(set(ACTION.SET_IP_DST) && { ipDst: ip(AT.ip_dst) }),
      ...(set(ACTION.SET_TP_SRC) && { tpSrc: port(AT.tp_src) }),
      ...(set(ACTION.SET_TP_DST) && { tpDst: port(AT.tp_dst) }),
      ...(this.#view.getUint8(base + AT.tos_mask) !== 0 && { dscp }),
    };
  }
}
