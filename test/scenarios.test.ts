/**
 * Every scenario in the world: the operator's commands and exactly what they print. `UPDATE=1`
 * rewrites the files; a person reads the difference.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseScenario, rewriteScenario, runScenario } from '#lab/scenario.ts';
import { WorldStage } from './world-stage.ts';

const FOLDER = join(import.meta.dirname, 'scenarios');

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.md')))
  test(`scenario ${file}`, async () => {
    const path = join(FOLDER, file);
    const scenario = parseScenario(readFileSync(path, 'utf8'));
    assert.ok(scenario.steps.length > 0, 'it has commands');
    await using stage = await WorldStage.open(scenario);
    if (process.env['UPDATE'] === '1') writeFileSync(path, await rewriteScenario(stage, scenario));
    else await runScenario(stage, scenario);
  });
