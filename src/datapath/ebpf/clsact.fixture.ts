/**
 * For tests: what the kernel tells of filters while they are put on interfaces and taken off, as
 * rtnetlink's group for traffic control does (linux/rtnetlink.h).
 *
 * It tells of every change within the call that makes it, in the order of changes. So a place that
 * was empty for microseconds shows here, and needs no frame that happens to come by meanwhile.
 */
import { closeFd, Memory } from '#os/libc.ts';
import { HOOKS, type Hook } from '#os/netlink/filters.ts';
import { openNetlink, receive } from '#os/netlink/socket.ts';

const RTMGRP_TC = 8;
const RTM = { delQdisc: 37, newFilter: 44, delFilter: 45, delChain: 101 } as const;
/** In struct tcmsg. */
const AT = { ifindex: 4, parent: 12, end: 20 } as const;
/** The parents of filters, by the order of HOOKS. */
const FIRST_PARENT = 0xfffffff2;
const RECEIVE_BYTES = 64 * 1024;

/** One change. `taken`: a filter, or all of them with their chain or qdisc. */
export interface FilterNotice {
  readonly what: 'put' | 'taken';
  readonly ifindex: number;
  /** Undefined where a whole qdisc went. */
  readonly hook: Hook | undefined;
}

/** Of the network namespace that the thread is in when it is made. */
export class FilterNotices implements Disposable {
  readonly #fd = openNetlink(RTMGRP_TC, true);
  readonly #buffer = new Memory(RECEIVE_BYTES);

  /** Since the last call. Throws when there were more than the socket holds. */
  read(): FilterNotice[] {
    const notices: FilterNotice[] = [];
    const taken: readonly number[] = [RTM.delFilter, RTM.delChain, RTM.delQdisc];
    for (;;) {
      const messages = receive(this.#fd, this.#buffer);
      if (messages === undefined) return notices;
      for (const { type, body } of messages) {
        if (body.length < AT.end || (type !== RTM.newFilter && !taken.includes(type))) continue;
        const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
        notices.push({
          what: type === RTM.newFilter ? 'put' : 'taken',
          ifindex: view.getInt32(AT.ifindex, true),
          hook: HOOKS[view.getUint32(AT.parent, true) - FIRST_PARENT],
        });
      }
    }
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}
