/**
 * The two ways in which a request fails: the API refused it, or the API could not be reached. The
 * text of a refusal is what CLI and web show, word for word.
 */
import type { Problem } from './types.ts';

/** One line for the title, then one for each field: `  path: message`. */
export function problemText({ title, detail, errors = [] }: Problem): string {
  const head = detail === undefined ? title : `${title}: ${detail}`;
  const lines = errors.map(({ path, message }) => `  ${path === '' ? '' : `${path}: `}${message}`);
  return [head, ...lines].join('\n');
}

/** The API refused the request, and changed nothing. */
export class ApiError extends Error {
  override name = 'ApiError';
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problemText(problem));
    this.problem = problem;
  }
  get status(): number {
    return this.problem.status;
  }
}

/**
 * The API could not be asked, or its answer did not arrive: try again. Whether a write happened is
 * unknown.
 */
export class Unavailable extends Error {
  override name = 'Unavailable';
  constructor(what: string, cause?: unknown) {
    super(what, { cause });
  }
}
