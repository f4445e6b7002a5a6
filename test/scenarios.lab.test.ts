/**
 * Every scenario on real wires: namespaces, the operator's own program, real agents, the eBPF
 * datapath. The same files as in `scenarios.test.ts`, and exactly the same output.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { parseScenario, runScenario } from '#lab/scenario.ts';
import { LabStage } from '#lab/scenario-stage.ts';
import { sweepLabs, testLabName } from './labs.ts';

const FOLDER = join(import.meta.dirname, 'scenarios');
const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';

before(async () => (skip === false ? sweepLabs() : undefined));

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.md')))
  test(`scenario ${file} in the lab`, { skip }, async () => {
    const scenario = parseScenario(readFileSync(join(FOLDER, file), 'utf8'));
    assert.ok(scenario.steps.length > 0, 'it has commands');
    await using stage = await LabStage.open(testLabName('scenario'), scenario);
    await runScenario(stage, scenario);
  });
