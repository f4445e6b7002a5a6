/** The demo's output: one line a check, counted. */

/** Of a failed check; the rest is more of the same. */
const PROBLEMS_SHOWN = 8;

export class Report {
  passed = 0;
  failed = 0;
  #write: (line: string) => void;
  readonly #started = performance.now();

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  /**
   * Nothing more is printed: whoever interrupted does not care for checks of what is being removed.
   */
  mute(): void {
    this.#write = () => {};
  }
  act(title: string): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(0);
    this.#write('');
    this.#write(`${title}  (after ${seconds} s)`);
  }
  /** Something worth knowing that is no check. */
  note(text: string): void {
    this.#write(`        ${text}`);
  }
  /** A failed check shows what was expected and what was found. */
  check(holds: boolean, text: string, found: { expected: unknown; actual: unknown }): void {
    if (holds) {
      this.passed++;
      this.#write(`ok      ${text}`);
      return;
    }
    this.failed++;
    this.#write(`FAILED  ${text}`);
    this.#write(`        expected ${String(found.expected)}`);
    this.#write(`        actual   ${String(found.actual)}`);
  }
  equal(actual: number | string, expected: number | string, text: string): void {
    this.check(actual === expected, text, { expected, actual });
  }
  /** A check that holds when there are no problems. */
  none(problems: readonly string[], text: string): void {
    this.check(problems.length === 0, text, {
      expected: 'no problem',
      actual: problems.slice(0, PROBLEMS_SHOWN).join('\n                 '),
    });
  }
  /** The last line of all, by itself. */
  end(): void {
    this.#write('');
    this.#write(`${this.passed} passed, ${this.failed} failed`);
  }
}
