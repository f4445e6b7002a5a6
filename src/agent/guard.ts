/**
 * `mn agent --guard`: a small process beside the agent, with a supervisor of its own, that isolates
 * interfaces which appear under a bound name while the agent is down (`ebpf/guard.ts`).
 *
 * Level-triggered: every event of the host's links leads to one look, and so does a timer, for what
 * appeared while the agent had the lock and died before it acted.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { guardOnce } from '#datapath/ebpf/guard.ts';
import { onReadable } from '#os/libc.ts';
import { LinkMonitor } from '#os/netlink/monitor.ts';
import type { Log } from './control.ts';
import { LIMITS } from './limits.ts';

/** Runs until told to stop. */
export async function runGuard(runDir: string, log: Log, signal: AbortSignal): Promise<void> {
  using monitor = new LinkMonitor();
  let told = '';
  const look = (): void => {
    try {
      const isolated = guardOnce(runDir);
      if (isolated.length > 0) log.warn({ isolated }, 'bound interfaces without an agent');
      told = '';
    } catch (error) {
      // An interface that went while it was looked at; what stays wrong is said once.
      if (String(error) !== told) log.warn({ error: String(error) }, 'the guard failed to look');
      told = String(error);
    }
  };
  using _ = onReadable(monitor.fd, () => {
    if (monitor.read().length > 0) look();
  });
  log.info({ runDir }, 'guard started');
  while (!signal.aborted) {
    look();
    await sleep(LIMITS.guardLookMs, undefined, { signal }).catch(() => undefined);
  }
}
