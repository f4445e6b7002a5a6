/**
 * Every refusal of the API: RFC 9457 problem details. The text is what CLI and web show, word for
 * word.
 *
 * Invariant: a refusal names the field and the rule where there is one, and has changed nothing.
 */
import type { Problem } from '#client/types.ts';
import { StoreUnavailable, TooLarge } from '#store/store.ts';
import type { Fault } from '#virtual/kind.ts';

const PROBLEMS = {
  400: ['not-valid', 'The request is not valid'],
  401: ['no-token', 'A valid token is required'],
  403: ['not-allowed', 'Not allowed'],
  404: ['not-found', 'Not found'],
  405: ['method-not-allowed', 'Method not allowed'],
  409: ['conflict', 'Conflict with what is there'],
  410: ['over', 'Over: nobody waits for it any more'],
  412: ['changed', 'The object has changed meanwhile'],
  413: ['too-large', 'Too large'],
  415: ['wrong-content-type', 'Wrong content type'],
  500: ['internal', 'The API failed'],
  503: ['unavailable', 'Not available now, try again'],
} as const;
export type ProblemStatus = keyof typeof PROBLEMS;
export const PROBLEM_STATUSES = Object.keys(PROBLEMS).map(Number) as ProblemStatus[];

/** Faults told of one request: a body can break a rule a hundred thousand times. */
export const ERRORS_TOLD_MAX = 1_000;

export interface RefusalOptions {
  readonly detail?: string;
  readonly errors?: readonly Fault[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** Thrown by handlers; the only exception that is an answer. */
export class Refusal extends Error {
  readonly problem: Problem;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: ProblemStatus, { detail, errors, headers = {} }: RefusalOptions = {}) {
    const [slug, title] = PROBLEMS[status];
    super(detail ?? title);
    this.problem = {
      type: `urn:midonet:problem:${slug}`,
      title,
      status,
      ...(detail !== undefined && { detail }),
      ...(errors !== undefined && errors.length > 0 && { errors: told(errors) }),
    };
    this.headers = headers;
  }
}

function told(errors: readonly Fault[]): readonly Fault[] {
  const more = errors.length - ERRORS_TOLD_MAX;
  if (more <= 0) return errors;
  return [...errors.slice(0, ERRORS_TOLD_MAX), { path: '', message: `and ${more} faults more` }];
}

export const refuseField = (path: string, message: string): Refusal =>
  new Refusal(400, { errors: [{ path, message }] });

/** What a thrown value answers; `undefined` when it is our own mistake. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error;
  if (error instanceof TooLarge) return new Refusal(413, { detail: error.message });
  if (error instanceof StoreUnavailable)
    return new Refusal(503, { detail: error.message, headers: { 'retry-after': '1' } });
  return undefined;
}

export const problemResponse = ({ problem, headers }: Refusal): Response =>
  new Response(`${JSON.stringify(problem)}\n`, {
    status: problem.status,
    headers: { ...headers, 'content-type': 'application/problem+json' },
  });
