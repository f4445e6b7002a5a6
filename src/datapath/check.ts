/** What every body of the datapath refuses to carry: it would be cut to something else. */
import type { Actions } from '#flow/flow.ts';
import { DEC_TTL_MAX, MTU_MAX, MTU_MIN } from '#flow/flow.ts';

const VID_MAX = 0xfff;

function checkRange(name: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new RangeError(`datapath: ${name} must be ${min} to ${max}, not ${value}`);
}

/** Throws when actions have no effect, or a number that is out of its range. */
export function checkActions({ drop, outputs, decTtl, mtu, vlan }: Actions): void {
  if (drop === undefined && outputs.length === 0)
    throw new Error('datapath: actions must drop or have an output');
  checkRange('decTtl', decTtl, 1, DEC_TTL_MAX);
  checkRange('mtu', mtu, MTU_MIN, MTU_MAX);
  checkRange('vlan', vlan, 0, VID_MAX);
  for (const output of outputs) checkRange('vlan', output.vlan, 0, VID_MAX);
}
