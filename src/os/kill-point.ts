/**
 * For tests of restarts: ends this process, as SIGKILL does, just before one of the calls that
 * change what outlives it.
 *
 * With MIDONET_KILL_AT unset there are no such points, and they cost one empty call; that is
 * decided once, when this module is loaded. Set to N, the N-th point ends the process; to 0, none
 * does until `killAt` says which.
 */
const setting = process.env['MIDONET_KILL_AT'];
let left = Number(setting ?? 0);
let passed = 0;

/** Whether there are any. */
export const hasKillPoints = setting !== undefined;

/** One of the points. */
export const killPoint: () => void = hasKillPoints
  ? () => {
      passed += 1;
      if (left > 0 && --left === 0) process.kill(process.pid, 'SIGKILL');
    }
  : () => {};

/** The n-th point from now on ends the process; 0: none. */
export function killAt(n: number): void {
  left = n;
}
/** How many there were. */
export const killPointsPassed = (): number => passed;
