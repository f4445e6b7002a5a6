/**
 * The host's network interfaces, as they come and go. Level-triggered: every event, and a timer
 * that no event can starve, leads to one new list; equal lists are told once, unless an interface
 * went in between.
 */
import { MTU_MAX, MTU_MIN } from '#flow/flow.ts';
import { onReadable } from '#os/libc.ts';
import { listLinks } from '#os/netlink/links.ts';
import { LinkMonitor } from '#os/netlink/monitor.ts';
import type { Clock, Links } from './control.ts';
import { LIMITS } from './limits.ts';
import type { LocalInterface } from './messages.ts';

const now = (): LocalInterface[] =>
  listLinks().map(({ name, index, up, lowerUp, linkNetns, mtu }) => ({
    name,
    index,
    carrier: up && lowerUp,
    ...(linkNetns === undefined ? {} : { netns: linkNetns }),
    ...(mtu >= MTU_MIN && { mtu: Math.min(mtu, MTU_MAX) }),
  }));
const textOf = (list: readonly LocalInterface[]): string =>
  list
    .map((each) => `${each.index} ${each.carrier} ${each.netns} ${each.mtu} ${each.name}`)
    .join('\n');

export function openLinks(clock: Clock): Links {
  return {
    async *watch(signal) {
      using monitor = new LinkMonitor();
      let rung = Promise.withResolvers<void>();
      let told = '';
      using _readable = onReadable(monitor.fd, () => {
        const events = monitor.read();
        // Another interface may come under the name and the index of one that went.
        if (events.some(({ type }) => type !== 'changed')) told = '';
        if (events.length > 0) rung.resolve();
      });
      while (!signal.aborted) {
        const { promise } = rung;
        const list = now();
        if (textOf(list) !== told) {
          told = textOf(list);
          yield list;
        }
        const over = new AbortController();
        const stop = () => over.abort();
        signal.addEventListener('abort', stop, { once: true });
        await Promise.race([promise, clock.sleep(LIMITS.linksResyncMs, over.signal)]);
        signal.removeEventListener('abort', stop);
        stop();
        rung = Promise.withResolvers<void>();
      }
    },
  };
}
