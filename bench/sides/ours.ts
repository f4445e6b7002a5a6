/** This network: a lab as anybody would make it, with real agents and the kernel datapath. */
import type { Journal } from '#lab/journal.ts';
import { makeLab, namespaceOf, type Lab } from '#lab/lab.ts';
import { ipBatch, WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { FAR, MAC } from './recipes.ts';

/** With a workload whose kernel answers for every address of FAR. */
export async function makeOurs(journal: Journal): Promise<Lab> {
  const lab = await makeLab(journal, () => {});
  await answersForAll(lab, 'b', { ip: '10.2.0.1', mac: MAC.routerB });
  return lab;
}

/**
 * `part` takes every address of FAR for its own, and knows the way back for good: it would ask for
 * it in the name of such an address.
 */
export const answersForAll = (
  lab: Lab,
  part: string,
  back: { readonly ip: string; readonly mac: string },
): Promise<void> =>
  ipBatch(
    [
      `route add local ${FAR} dev lo`,
      `neighbour replace ${back.ip} lladdr ${back.mac} dev ${WORKLOAD_INTERFACE} nud permanent`,
    ],
    namespaceOf(lab, part),
  );

/** Just as its recipe says. */
export const makePlain = (journal: Journal): Promise<Lab> => makeLab(journal, () => {});
