/**
 * A program's metrics as Prometheus text, registered from the table. Most are looked up when asked
 * for (`set`); some are counted as they go (`add`, `observe`).
 *
 * Invariant: nothing is told that the table does not have; series of a label that were not set in
 * this reading are gone.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { CountedBuckets } from './buckets.ts';
import { METRICS, type MetricName, rowOf } from './metrics.ts';

export type Labels = Readonly<Record<string, string>>;

export class Meters {
  readonly #registry = new Registry();
  readonly #gauges = new Map<MetricName, Gauge>();
  readonly #counters = new Map<MetricName, Counter>();
  readonly #histograms = new Map<MetricName, Histogram>();
  /** Histograms that were counted elsewhere, as they were last told. */
  readonly #counted = new Map<MetricName, CountedBuckets>();

  constructor(program: 'api' | 'agent') {
    for (const name of Object.keys(METRICS) as MetricName[]) {
      if (!name.startsWith(`mn_${program}_`)) continue;
      const { type, help, labels = [], buckets = [] } = rowOf(name);
      const base = { name, help, labelNames: [...labels], registers: [this.#registry] };
      if (type === 'gauge') this.#gauges.set(name, new Gauge(base));
      else if (type === 'counter') this.#counters.set(name, new Counter(base));
      else this.#histograms.set(name, new Histogram({ ...base, buckets: [...buckets] }));
    }
  }

  /** One more, of a counter. */
  add(name: MetricName, labels: Labels = {}): void {
    this.#found(this.#counters, name).inc(labels);
  }
  observe(name: MetricName, seconds: number, labels: Labels = {}): void {
    this.#found(this.#histograms, name).observe(labels, seconds);
  }
  /** The value now, of a gauge or of a counter that is counted elsewhere. */
  set(name: MetricName, value: number, labels: Labels = {}): void {
    const counter = this.#counters.get(name);
    if (counter === undefined) return this.#found(this.#gauges, name).set(labels, value);
    counter.remove(labels);
    counter.inc(labels, value);
  }
  /** All series of a metric with one label, in place of those there were. */
  setAll(name: MetricName, label: string, values: Iterable<readonly [string, number]>): void {
    (this.#counters.get(name) ?? this.#found(this.#gauges, name)).reset();
    for (const [value, n] of values) this.set(name, n, { [label]: value });
  }
  /** A histogram that is counted elsewhere. */
  setBuckets(name: MetricName, counted: CountedBuckets): void {
    this.#counted.set(name, counted);
  }

  async text(): Promise<{ readonly text: string; readonly type: string }> {
    const parts: string[] = [];
    for (const name of [...this.#gauges.keys(), ...this.#counters.keys()])
      parts.push(await this.#registry.getSingleMetricAsString(name));
    for (const name of this.#histograms.keys()) {
      const counted = this.#counted.get(name);
      parts.push(
        counted === undefined
          ? await this.#registry.getSingleMetricAsString(name)
          : textOf(name, counted),
      );
    }
    return { text: `${parts.join('\n\n')}\n`, type: this.#registry.contentType };
  }

  #found<M>(metrics: ReadonlyMap<MetricName, M>, name: MetricName): M {
    const found = metrics.get(name);
    if (found === undefined) throw new Error(`${name} is no metric of this program and type`);
    return found;
  }
}

/** Prometheus text format: buckets are cumulative, the last is `+Inf`. */
function textOf(name: MetricName, { counts, sumSeconds }: CountedBuckets): string {
  const { help, buckets = [] } = rowOf(name);
  let sum = 0;
  const lines = [...buckets.map(String), '+Inf'].map((end, i) => {
    sum += counts[i] ?? 0;
    return `${name}_bucket{le="${end}"} ${sum}`;
  });
  const head = [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`];
  return [...head, ...lines, `${name}_sum ${sumSeconds}`, `${name}_count ${sum}`].join('\n');
}
