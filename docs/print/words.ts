/** The pages of drop reasons, metrics and exit codes, from their tables. */
import { EXIT_CODES } from '#cli/io.ts';
import { METRICS, type MetricRow } from '#telemetry/metrics.ts';
import { DROPS } from '#virtual/drop.ts';
import { code, page, table, type PrintedPage } from './table.ts';

export const dropsPage = (): PrintedPage => ({
  name: 'drop-reasons.md',
  text: page('Drop reasons', [
    'Nothing is dropped for an unnamed reason, and nothing is dropped uncounted. `mn status` shows ' +
      'the counters of all hosts, `mn agent stats` those of a host by port, and `mn trace` what ' +
      'becomes of a packet and why. Printed from `src/virtual/drop.ts`; the code is what the ' +
      'kernel counts by.',
    table(
      ['Reason', 'Code', 'What happened', 'What to do'],
      Object.entries(DROPS)
        .toSorted(([, a], [, b]) => a.code - b.code)
        .map(([reason, { code: number, about, remedy }]) => [
          code(reason),
          String(number),
          about,
          remedy,
        ]),
    ),
  ]),
});

/** Rows of the metrics of one program. */
const metricRows = (program: string): string[][] =>
  Object.entries(METRICS as Readonly<Record<string, MetricRow>>)
    .filter(([name]) => name.startsWith(`mn_${program}_`))
    .map(([name, { type, help, labels = [] }]) => [
      code(name),
      type,
      labels.map(code).join(', '),
      help,
    ]);
const METRIC_TITLES = ['Metric', 'Type', 'Labels', 'What it counts'];

export const metricsPage = (): PrintedPage => ({
  name: 'metrics.md',
  text: page('Metrics', [
    'As Prometheus reads them; printed from `src/telemetry/metrics.ts`. How to scrape them, and ' +
      'what to watch, is on the page of [monitoring](../operations/monitoring.md).',
    '## Of the API',
    table(METRIC_TITLES, metricRows('api')),
    '## Of an agent',
    table(METRIC_TITLES, metricRows('agent')),
  ]),
});

export const exitPage = (): PrintedPage => ({
  name: 'exit-codes.md',
  text: page('Exit codes', [
    'What `mn` ends with. A code is never given another meaning, so scripts can rely on them.',
    table(
      ['Code', 'Name', 'When'],
      EXIT_CODES.map(({ name, code: number, about }) => [String(number), code(name), about]),
    ),
    'SIGINT ends a command with 130, as shells expect.',
  ]),
});
