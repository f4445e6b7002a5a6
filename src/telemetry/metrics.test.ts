/** The table of metrics keeps Prometheus's rules, and what is registered is what it says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Meters } from './meters.ts';
import { METRICS, type MetricName, metricsTable, rowOf } from './metrics.ts';
import { parseMetrics } from './testing.ts';

const names = Object.keys(METRICS) as MetricName[];

test('names, units and labels follow the rules', () => {
  for (const name of names) {
    const { type, help, labels = [], buckets } = rowOf(name);
    assert.match(name, /^mn_(api|agent)_[a-z]+(_[a-z]+)*$/);
    assert.equal(name.endsWith('_total'), type === 'counter', `${name}: _total is for counters`);
    assert.equal(buckets !== undefined, type === 'histogram', name);
    if (type === 'histogram') assert.match(name, /_seconds$/);
    assert.deepEqual(
      buckets,
      buckets?.toSorted((a, b) => a - b),
      `${name}: buckets in order`,
    );
    assert.match(help, /^[A-Z].*\.$/, name);
    for (const label of labels) assert.match(label, /^[a-z]+$/);
    for (const label of labels)
      assert.doesNotMatch(label, /tenant|port|bridge|router|address|mac|^id$/, name);
  }
});

test('what is told parses, and is what the table has', async () => {
  for (const program of ['api', 'agent'] as const) {
    const meters = new Meters(program);
    const own = names.filter((name) => name.startsWith(`mn_${program}_`));
    for (const name of own) {
      const { type, labels = [] } = rowOf(name);
      const given = Object.fromEntries(labels.map((label) => [label, 'a "quoted"\nword']));
      if (type === 'histogram') meters.observe(name, 0.01, given);
      else meters.set(name, 3, given);
    }
    const { text, type } = await meters.text();
    assert.match(type, /^text\/plain/);
    const families = parseMetrics(text);
    assert.deepEqual([...families.keys()].toSorted(), own.toSorted());
    for (const [name, family] of families)
      assert.equal(family.type, rowOf(name as MetricName).type);
    assert.equal(metricsTable(program).length, own.length + 2);
  }
});

test('a counter is set, counted on, and its series go', async () => {
  const meters = new Meters('agent');
  meters.set('mn_agent_hits_total', 5);
  meters.set('mn_agent_hits_total', 7);
  meters.setAll('mn_agent_drops_total', 'reason', [
    ['no-port', 1],
    ['too-big', 2],
  ]);
  meters.setAll('mn_agent_drops_total', 'reason', [['too-big', 3]]);
  meters.setBuckets('mn_agent_first_packet_seconds', { counts: [1, 0, 2], sumSeconds: 0.5 });
  const families = parseMetrics((await meters.text()).text);
  assert.deepEqual(families.get('mn_agent_hits_total')?.samples, [['mn_agent_hits_total', 7]]);
  assert.deepEqual(families.get('mn_agent_drops_total')?.samples, [
    ['mn_agent_drops_total{reason="too-big"}', 3],
  ]);
  const buckets = families.get('mn_agent_first_packet_seconds')?.samples ?? [];
  assert.deepEqual(buckets[0], ['mn_agent_first_packet_seconds_bucket{le="0.00005"}', 1]);
  assert.deepEqual(buckets.at(-1), ['mn_agent_first_packet_seconds_count', 3]);
  assert.throws(() => meters.add('mn_api_waits'), /is no metric/);
});
