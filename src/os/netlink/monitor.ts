/**
 * Tells when interfaces come, change and go. Level-triggered users list again on `overrun`: the
 * kernel had more events than the socket could hold.
 */
import { closeFd, ERRNO, Memory, SystemError } from '../libc.ts';
import { decodeLink, RTM } from './links.ts';
import type { Link } from './links.ts';
import { openNetlink, receive } from './socket.ts';

export type LinkEvent =
  | { readonly type: 'changed'; readonly link: Link }
  | { readonly type: 'gone'; readonly link: Link }
  | { readonly type: 'overrun' };

const RTMGRP_LINK = 1;
const RECEIVE_BYTES = 64 * 1024;
/** Datagrams read in one go: a storm of events must not hold the caller. */
export const DATAGRAMS_PER_READ_MAX = 256;

export class LinkMonitor implements Disposable {
  /** Polls readable when events wait. */
  readonly fd = openNetlink(RTMGRP_LINK, true);
  readonly #buffer = new Memory(RECEIVE_BYTES);

  /** Events since the last call; never blocks. */
  read(): LinkEvent[] {
    const events: LinkEvent[] = [];
    for (let i = 0; i < DATAGRAMS_PER_READ_MAX; i++) {
      let messages;
      try {
        messages = receive(this.fd, this.#buffer);
      } catch (error) {
        if (!(error instanceof SystemError) || error.code !== ERRNO.ENOBUFS) throw error;
        events.push({ type: 'overrun' });
        continue;
      }
      if (messages === undefined) break;
      for (const message of messages) {
        const link = decodeLink(message);
        if (link === undefined) continue;
        if (message.type === RTM.newLink) events.push({ type: 'changed', link });
        else if (message.type === RTM.delLink) events.push({ type: 'gone', link });
      }
    }
    return events;
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}
