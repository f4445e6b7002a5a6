/**
 * The requests of one run: all have its id (`x-request-id`), by which the logs of API and agents
 * name them; told one by one to whoever wants to see them.
 */
import { randomBytes } from 'node:crypto';
import type { Fetch } from '#client/request.ts';

export const newRequestId = (): string => randomBytes(8).toString('hex');

/** `fetch` with the id in each request. `tell`: takes a line for each, when it was answered. */
export function named(fetch: Fetch, id: string, tell?: (text: string) => void): Fetch {
  return async (path, init = {}) => {
    const headers = { ...Object.fromEntries(new Headers(init.headers)), 'x-request-id': id };
    const startMs = performance.now();
    const done = (what: string): void =>
      tell?.(
        `${init.method ?? 'GET'} ${path}  ${what}  ${Math.round(performance.now() - startMs)} ms  ${id}\n`,
      );
    try {
      const response = await fetch(path, { ...init, headers });
      done(String(response.status));
      return response;
    } catch (error) {
      done('no answer');
      throw error;
    }
  };
}
