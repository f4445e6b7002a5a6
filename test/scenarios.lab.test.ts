/**
 * Every scenario on real wires: namespaces, the operator's own program, real agents, the eBPF
 * datapath. Files that `scenarios.test.ts` plays too, and exactly the same output.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { parseScenario, runScenario } from '#lab/scenario.ts';
import { LabStage } from '#lab/scenario-stage.ts';
import { sweepLabs, testLabName, withEvidence } from './labs.ts';
import { labPages } from './pages.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';

before(async () => (skip === false ? sweepLabs() : undefined));

for (const { path, text } of labPages())
  test(`scenario ${path.replace('test/scenarios/', '')} in the lab`, { skip }, async () => {
    const scenario = parseScenario(text);
    assert.ok(scenario.steps.length > 0, 'it has commands');
    const name = testLabName('scenario');
    await using stage = await LabStage.open(name, scenario);
    await withEvidence(name, runScenario(stage, scenario));
  });
