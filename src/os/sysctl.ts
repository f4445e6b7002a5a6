/**
 * Per-interface kernel settings. /proc/sys/net shows the network namespace of the thread that opens
 * the file, so these calls must be made on the thread whose namespace is meant (all are
 * synchronous).
 */
import { readFileSync, writeFileSync } from 'node:fs';

/** `key` in slashes, such as `net/ipv6/conf/eth0/disable_ipv6` (dots occur in interface names). */
export const readSysctl = (key: string): string => readFileSync(`/proc/sys/${key}`, 'utf8').trim();

export const writeSysctl = (key: string, value: string): void =>
  writeFileSync(`/proc/sys/${key}`, value);

/**
 * No IPv6 address, router solicitation or neighbour discovery. A kernel without IPv6 has nothing to
 * disable.
 */
export function disableIpv6(interfaceName: string): void {
  try {
    writeSysctl(`net/ipv6/conf/${interfaceName}/disable_ipv6`, '1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
