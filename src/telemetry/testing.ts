/**
 * For tests: reads Prometheus text (exposition format 0.0.4) strictly. Throws at the first line
 * that is not of the format, at a sample without the head of its family, at a series given twice.
 */
export interface Family {
  readonly type: string;
  /** Series with its labels, and value. */
  readonly samples: (readonly [string, number])[];
}

const SAMPLE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)((?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})?) (\S+)$/;

export function parseMetrics(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the text does not end with a line break');
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  let helped = '';
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const [, help] = /^# HELP (\S+) \S.*$/.exec(line) ?? [];
    if (help !== undefined) helped = help;
    const [, named, type] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? [];
    if (named !== undefined && type !== undefined) {
      if (named !== helped || families.has(named)) throw new Error(`out of order: ${line}`);
      families.set(named, { type, samples: [] });
    }
    if (line.startsWith('# ')) {
      if (help === undefined && named === undefined) throw new Error(`no such comment: ${line}`);
      continue;
    }
    const [, name = '', labels = '', value = ''] = SAMPLE.exec(line) ?? [];
    if (name === '' || Number.isNaN(Number(value))) throw new Error(`no sample: ${line}`);
    const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ''));
    if (family === undefined) throw new Error(`no family: ${line}`);
    if (seen.has(name + labels)) throw new Error(`twice: ${line}`);
    seen.add(name + labels);
    family.samples.push([name + labels, Number(value)]);
  }
  return families;
}
