/** For tests of what is told: the text of metrics, and what must never be told. */

/**
 * The part of a bearer token that nobody may be told: all behind its id. It is base64url, in which
 * there may be further underscores: to split there would find a piece of it, or nothing.
 */
export function secretPart(token: string): string {
  const [, part] = /^mn_[0-9a-f]{16}_([A-Za-z0-9_-]{43})$/.exec(token) ?? [];
  if (part === undefined) throw new Error('this has not the form of a token');
  return part;
}

export interface Family {
  readonly type: string;
  /** Series with its labels, and value. */
  readonly samples: (readonly [string, number])[];
}

const SAMPLE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)((?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})?) (\S+)$/;

/**
 * Reads Prometheus text (exposition format 0.0.4) strictly. Throws at the first line that is not of
 * the format, at a sample without the head of its family, at a series given twice.
 */
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
