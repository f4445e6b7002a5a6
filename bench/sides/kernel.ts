/** The kernel's own: a Linux bridge in each host, joined by a VXLAN device over the underlay. */
import { namespaceOf, openLab, type Lab } from '#lab/lab.ts';
import type { Journal } from '#lab/journal.ts';
import { machineOf, UNDERLAY_INTERFACE } from '#lab/names.ts';
import { ipBatch, makeWires, WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { answersForAll } from './ours.ts';
import { IP, MAC, NEAR } from './recipes.ts';

/** The IANA port of VXLAN (RFC 7348 §8.1). */
const PORT = 4789;
const KEY = 42;

export async function makeKernel(journal: Journal): Promise<Lab> {
  const { recipe } = journal;
  await makeWires(journal);
  const lab = openLab(journal.lab);
  for (const [i, host] of recipe.hosts.entries()) {
    const { address: local } = machineOf(recipe, host);
    const { address: remote } = machineOf(recipe, recipe.hosts[1 - i] ?? '');
    const cables = Object.entries(recipe.workloads).filter(([, each]) => each.host === host);
    await ipBatch(
      [
        'link add name ref type bridge',
        `link add name refvx type vxlan id ${KEY} dstport ${PORT} local ${local}` +
          ` remote ${remote} dev ${UNDERLAY_INTERFACE}`,
        ...[...cables.map(([name]) => name), 'refvx'].map(
          (port) => `link set dev ${port} up master ref`,
        ),
        'link set dev ref up',
      ],
      namespaceOf(lab, host),
    );
  }
  await answersForAll(lab, 'c', { ip: IP.a, mac: MAC.a });
  await ipBatch([`route add ${NEAR} via ${IP.a} dev ${WORKLOAD_INTERFACE}`], namespaceOf(lab, 'c'));
  return lab;
}

/** A Linux bridge on the only host. */
export async function makeBridge(journal: Journal): Promise<Lab> {
  await makeWires(journal);
  const lab = openLab(journal.lab);
  await ipBatch(
    [
      'link add name ref type bridge',
      ...Object.keys(journal.recipe.workloads).map((name) => `link set dev ${name} up master ref`),
      'link set dev ref up',
    ],
    namespaceOf(lab, 'h1'),
  );
  return lab;
}
