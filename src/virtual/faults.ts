/**
 * What is wrong with a caller's input, said once for API, CLI and web: the field, then the rule it
 * broke.
 */
import type { z } from 'zod';
import type { Fault } from './kind.ts';

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'must be a text',
  boolean: 'must be true or false',
  number: 'must be a number',
  int: 'must be a whole number',
  array: 'must be a list',
  object: 'must be an object',
};

/** The text of a rule for which the schema itself has none. */
export function ruleOf(issue: z.core.$ZodRawIssue): string {
  if (issue.code === 'invalid_type' && issue.input === undefined) return 'is required';
  if (issue.code === 'invalid_type') return EXPECTED[issue.expected] ?? `must be ${issue.expected}`;
  if (issue.code === 'invalid_value')
    return `must be ${issue.values.map((value) => JSON.stringify(String(value))).join(' or ')}`;
  if (issue.code === 'too_big') return `must be at most ${issue.maximum}`;
  if (issue.code === 'too_small') return `must be at least ${issue.minimum}`;
  return 'is not valid';
}

/** Of the forms that a value may have, the one that it is nearest to. */
const nearest = (forms: readonly (readonly z.core.$ZodIssue[])[]): readonly z.core.$ZodIssue[] =>
  forms.reduce((best, form) => (form.length < best.length ? form : best), forms[0] ?? []);

/**
 * A schema's issues as faults; unknown fields are named one by one. Where several forms are
 * allowed, what is wrong is said of the nearest.
 */
export function faultsOf(issues: readonly z.core.$ZodIssue[]): Fault[] {
  const faults: Fault[] = [];
  for (const issue of issues) {
    const path = issue.path.map(String);
    if (issue.code === 'invalid_union' && issue.errors.length > 0)
      for (const fault of faultsOf(nearest(issue.errors)))
        faults.push({
          ...fault,
          path: [...path, fault.path].filter((part) => part !== '').join('.'),
        });
    else if (issue.code === 'unrecognized_keys')
      for (const key of issue.keys)
        faults.push({ path: [...path, key].join('.'), message: 'is not a known field' });
    else faults.push({ path: path.join('.'), message: issue.message });
  }
  return faults;
}
