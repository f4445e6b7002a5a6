/** Which kernel runs: some of its features are named by their first release. */
import { release } from 'node:os';

/**
 * Whether a release such as `6.18.44-cloud` is `major.minor` or newer; false for text of another
 * form.
 */
export function isAtLeast(text: string, major: number, minor: number): boolean {
  const [, first, second] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  if (first === undefined || second === undefined) return false;
  return Number(first) > major || (Number(first) === major && Number(second) >= minor);
}

/** Throws, naming both releases, when the kernel is older. `what`: what needs it. */
export function needKernel(what: string, major: number, minor: number): void {
  if (isAtLeast(release(), major, minor)) return;
  throw new Error(`${what} needs Linux ${major}.${minor} or newer; this is ${release()}`);
}
