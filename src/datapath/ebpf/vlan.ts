/** What actions and outputs say of a tag, as the word that the kernel program reads (VLAN). */
import { VLAN } from '#flow/layout.ts';

export function vlanWord(vlan: number | undefined): number {
  if (vlan === undefined) return 0;
  return vlan === 0 ? VLAN.POP : VLAN.SET | vlan;
}

/** The inverse, as a field to spread. */
export function vlanOf(word: number): { readonly vlan?: number } {
  if (word === 0) return {};
  return { vlan: (word & VLAN.POP) !== 0 ? 0 : word & 0xfff };
}
