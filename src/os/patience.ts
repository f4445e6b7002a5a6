/**
 * How long to wait before something is called stuck, on machines of any speed: an emulated one
 * takes ten times as long for everything, and says so by MIDONET_PATIENCE. Only for deadlines of
 * labs, tools and tests; whatever two hosts agree on is told by its own setting.
 */

/** More would only hide that something is stuck. */
export const PATIENCE_MAX = 100;

/** The factor that `text` gives; 1 unless it is a number from 1 to PATIENCE_MAX. */
export function patienceOf(text: string | undefined): number {
  const factor = Number(text ?? '1');
  return factor >= 1 && factor <= PATIENCE_MAX ? factor : 1;
}

const FACTOR = patienceOf(process.env['MIDONET_PATIENCE']);

/** `ms` on this machine. */
export const patient = (ms: number): number => ms * FACTOR;
