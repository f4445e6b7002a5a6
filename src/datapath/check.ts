/** What every body of the datapath refuses to carry: it would be cut to something else. */
import type { Actions, Rewrites } from '#flow/flow.ts';
import { DEC_TTL_MAX, DSCP_MAX, MTU_MAX, MTU_MIN, TRANSPORT_PORT_MAX } from '#flow/flow.ts';
import { isIp6 } from '#net/ip.ts';

const VID_MAX = 0xfff;

function checkRange(name: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new RangeError(`datapath: ${name} must be ${min} to ${max}, not ${value}`);
}

/** `of`: where they are said, a prefix of the fields' names. */
function checkRewrites({ ipSrc, ipDst, dscp, tpSrc, tpDst }: Rewrites, of: string): void {
  if (ipSrc !== undefined && ipDst !== undefined && isIp6(ipSrc) !== isIp6(ipDst))
    throw new RangeError(`datapath: ${of}ipSrc and ${of}ipDst must be of one family`);
  checkRange(`${of}dscp`, dscp, 0, DSCP_MAX);
  checkRange(`${of}tpSrc`, tpSrc, 0, TRANSPORT_PORT_MAX);
  checkRange(`${of}tpDst`, tpDst, 0, TRANSPORT_PORT_MAX);
}

/** Throws when actions have no effect, or a number that is out of its range. */
export function checkActions(actions: Actions): void {
  const { drop, outputs, decTtl, mtu, vlan } = actions;
  if (drop === undefined && outputs.length === 0)
    throw new Error('datapath: actions must drop or have an output');
  checkRange('decTtl', decTtl, 1, DEC_TTL_MAX);
  checkRange('mtu', mtu, MTU_MIN, MTU_MAX);
  checkRange('vlan', vlan, 0, VID_MAX);
  checkRewrites(actions, '');
  for (const output of outputs) {
    checkRange('vlan', output.vlan, 0, VID_MAX);
    if (output.rewrite !== undefined) checkRewrites(output.rewrite, 'rewrite.');
  }
}
