/**
 * The laws of documents, over random networks: exported and applied they are the same network,
 * here and elsewhere; and applied to any other network, with pruning, they make it theirs.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { arrange } from './batches.ts';
import type { Document } from './document.ts';
import { documentsFor, Namesakes } from './export.ts';
import { LABEL, randomNetwork } from './network.fixture.ts';
import { faultText, parseDocuments, type PlacedFault } from './read.ts';
import { Stand } from './stand.ts';
import { planSteps, type Prune } from './steps.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? 60);

const exported = (stand: Stand): string =>
  documentsFor({ stand, namesakes: new Namesakes(stand) }, stand.kinds())
    .map((document) => stringify(document))
    .join('---\n');

const told = (faults: readonly PlacedFault[]): string => faults.map(faultText).join('\n');

function read(text: string): Document[] {
  const faults: PlacedFault[] = [];
  const documents = parseDocuments('a.yaml', text, faults);
  assert.equal(told(faults), '');
  return documents;
}

/** The network after applying a text to it, and how many steps that took. */
function applied(stand: Stand, text: string, prune?: Prune): { stand: Stand; steps: number } {
  const steps = planSteps(stand, read(text), prune);
  if (!('aims' in steps)) assert.fail(told(steps));
  const { rehearsal } = arrange(stand, steps);
  assert.equal(told(rehearsal.faults), '');
  return { stand: rehearsal.stand(), steps: steps.steps.length };
}

const seeds = fc.nat(1_000_000);

test('what was exported changes nothing here, and makes the same network elsewhere', () => {
  const property = fc.property(seeds, (seed) => {
    const network = randomNetwork(seed);
    const text = exported(network);
    if (text === '') return;
    assert.equal(applied(network, text).steps, 0);
    assert.equal(exported(applied(new Stand([]), text).stand), text);
  });
  fc.assert(property, { seed: SEED, numRuns: RUNS });
});

test('applied with pruning, any network becomes the one of the documents, at once', () => {
  const property = fc.property(seeds, seeds, (from, to) => {
    const text = exported(randomNetwork(to));
    if (text === '') return;
    const prune = { labels: [LABEL] };
    const first = applied(randomNetwork(from), whole(to), prune);
    assert.equal(exported(first.stand), text);
    assert.equal(applied(first.stand, whole(to), prune).steps, 0);
  });
  fc.assert(property, { seed: SEED, numRuns: RUNS });
});

/**
 * Documents with every field said, that of no value as null: what a document leaves out stays.
 */
function whole(seed: number): string {
  const stand = randomNetwork(seed);
  const documents = documentsFor({ stand, namesakes: new Namesakes(stand) }, stand.kinds());
  const optional: Readonly<Record<string, readonly string[]>> = {
    'tunnel-zone': ['members'],
    bridge: ['adminStateUp'],
    router: ['adminStateUp'],
    route: ['source', 'type', 'port', 'gateway', 'weight'],
    port: ['adminStateUp', 'peer', 'host', 'interface', 'inboundFilter'],
    'address-group': ['addresses'],
    'port-group': ['ports'],
    rule: [
      ...['jump', 'inPorts', 'inPortGroup', 'sourceGroup', 'protocol', 'destinationPorts'],
      ...['source', 'not', 'invert'],
    ],
  };
  const ofPort = { bridge: ['hairpin', 'addresses', 'vlan'], router: ['mac', 'networks', 'mtu'] };
  return documents
    .map((document) => {
      const kind = String(document['kind']);
      const device = document['router'] === undefined ? 'bridge' : 'router';
      const fields = [...(optional[kind] ?? []), ...(kind === 'port' ? ofPort[device] : [])];
      const nulls = Object.fromEntries(fields.map((field) => [field, null]));
      return stringify({ ...nulls, ...document });
    })
    .join('---\n');
}
