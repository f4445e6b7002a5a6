/**
 * `-o jsonpath=TEMPLATE`: parts of an answer, as text for scripts. A small, exact subset; what is
 * not in it is refused with its place, never taken for something else.
 *
 * A template is text with expressions in braces: a path, a string (`{"\n"}`), or
 * `{range PATH}…{end}`. Without braces the whole of it is one path. A path goes on by `.name`,
 * `['name']`, `[2]`, `[-1]`, `[0:3]`, `[*]`, `.*` and `[?(@.name=="x")]` (also `!=`, `<`, `<=`,
 * `>`, `>=`, and `[?(@.name)]`: there is one). `.items` of a list is the list itself.
 *
 * What a path does not find is nothing: objects lack the fields that they do not have.
 */

export interface Template {
  /** What the template says of a value: whole lines, or nothing. */
  render(value: unknown): string;
}

/** A template that is none: `message` says where and why. */
export class TemplateError extends Error {
  override name = 'TemplateError';
}

/** Nested `{range}`; deeper ones are refused. */
const DEPTH_MAX = 8;

type Step = (value: unknown) => readonly unknown[];
type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'path'; readonly path: Path }
  | { readonly type: 'range'; readonly path: Path; readonly parts: readonly Part[] };
interface Path {
  readonly steps: readonly Step[];
  /** It starts with `.items`. */
  readonly items: boolean;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const field =
  (name: string): Step =>
  (value) =>
    isRecord(value) && Object.hasOwn(value, name) && value[name] !== undefined ? [value[name]] : [];
const children: Step = (value) =>
  Array.isArray(value) ? value : isRecord(value) ? Object.values(value) : [];
const slice =
  (from: number | undefined, to: number | undefined): Step =>
  (value) =>
    Array.isArray(value) ? value.slice(from, to) : [];
const at =
  (index: number): Step =>
  (value) =>
    Array.isArray(value) && index < value.length && -index <= value.length ? [value.at(index)] : [];

function walk({ steps, items }: Path, root: unknown): readonly unknown[] {
  let found: readonly unknown[] = [root];
  for (const [i, step] of steps.entries())
    if (i > 0 || !items || !Array.isArray(root)) found = found.flatMap(step);
  return found;
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

const COMPARE: Readonly<Record<string, (a: unknown, b: unknown) => boolean>> = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => typeof a === 'number' && typeof b === 'number' && a < b,
  '<=': (a, b) => typeof a === 'number' && typeof b === 'number' && a <= b,
  '>': (a, b) => typeof a === 'number' && typeof b === 'number' && a > b,
  '>=': (a, b) => typeof a === 'number' && typeof b === 'number' && a >= b,
};

const NAME = /[A-Za-z_][\w-]*/y;
const QUOTED = /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/y;
const WHOLE = /-?\d{1,9}/y;
const NUMBER = /-?\d+(?:\.\d+)?/y;
const OPERATOR = /==|!=|<=|>=|<|>/y;
const SPACE = /\s*/y;

/** Reads a template from left to right; keeps its place. */
class Reader {
  readonly #text: string;
  #at = 0;
  constructor(text: string) {
    this.#text = text;
  }

  get done(): boolean {
    return this.#at >= this.#text.length;
  }
  #fail(wanted: string): never {
    const rest = this.#text.slice(this.#at);
    const found = rest === '' ? 'the end' : `'${rest.slice(0, 12)}'`;
    throw new TemplateError(`character ${this.#at + 1}: wanted ${wanted}, found ${found}`);
  }
  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? [];
    if (found !== undefined) this.#at += found.length;
    return found;
  }
  #take(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }
  #need(text: string): void {
    if (!this.#take(text)) this.#fail(`'${text}'`);
  }

  #string(): string | undefined {
    const quoted = this.#match(QUOTED);
    if (quoted === undefined) return undefined;
    const inner = quoted
      .slice(1, -1)
      .replaceAll("\\'", "'")
      .replaceAll(/(?<!\\)"/g, '\\"');
    try {
      return JSON.parse(`"${inner}"`) as string;
    } catch {
      this.#at -= quoted.length;
      return this.#fail('a string with the escapes of JSON');
    }
  }

  #literal(): unknown {
    const text = this.#string();
    if (text !== undefined) return text;
    for (const [word, value] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const)
      if (this.#take(word)) return value;
    const number = this.#match(NUMBER);
    return number === undefined ? this.#fail('a string, a number, true, false or null') : +number;
  }

  /** Behind `[?`. */
  #filter(): Step {
    this.#need('(');
    this.#match(SPACE);
    this.#need('@');
    const path = this.path();
    this.#match(SPACE);
    const operator = this.#match(OPERATOR);
    this.#match(SPACE);
    const literal = operator === undefined ? undefined : this.#literal();
    this.#match(SPACE);
    this.#need(')');
    const compare = COMPARE[operator ?? ''];
    const passes = (one: unknown): boolean =>
      compare === undefined
        ? walk(path, one).length > 0
        : operator === '!='
          ? !walk(path, one).some((found) => found === literal)
          : walk(path, one).some((found) => compare(found, literal));
    return (value) => children(value).filter(passes);
  }

  /** Behind `[`. */
  #selector(): Step {
    if (this.#take('*')) return children;
    if (this.#take('?')) return this.#filter();
    const name = this.#string();
    if (name !== undefined) return field(name);
    const from = this.#match(WHOLE);
    if (this.#take(':')) {
      const to = this.#match(WHOLE);
      return slice(from === undefined ? undefined : +from, to === undefined ? undefined : +to);
    }
    return from === undefined
      ? this.#fail("an index, a range, '*', a quoted name or ?(…)")
      : at(+from);
  }

  path(): Path {
    const steps: Step[] = [];
    let items = false;
    for (;;)
      if (this.#take('[')) {
        steps.push(this.#selector());
        this.#need(']');
      } else if (this.#take('.')) {
        if (this.#take('*')) steps.push(children);
        else {
          const name = this.#match(NAME) ?? this.#fail("a field's name");
          items ||= steps.length === 0 && name === 'items';
          steps.push(field(name));
        }
      } else return { steps, items };
  }

  /** A path from the root: the first `.` may be left out. */
  #rooted(): Path {
    if (this.#take('$') || '.['.includes(this.#text[this.#at] ?? '-')) return this.path();
    const name = this.#match(NAME);
    if (name === undefined) return this.#fail('a path, such as .items[*].name');
    const { steps } = this.path();
    return { steps: [field(name), ...steps], items: name === 'items' };
  }

  /** All of the text as one path. */
  only(): Path {
    const path = this.#rooted();
    if (!this.done) this.#fail("'.' or '['");
    return path;
  }

  /** Up to the end, or in a range to `{end}`. */
  parts(depth = 0): Part[] {
    const parts: Part[] = [];
    while (!this.done) {
      const open = this.#text.indexOf('{', this.#at);
      const text = this.#text.slice(this.#at, open < 0 ? undefined : open);
      if (text !== '') parts.push({ type: 'text', text });
      this.#at += text.length;
      if (!this.#take('{')) break;
      this.#match(SPACE);
      if (this.#take('end}')) {
        if (depth === 0) this.#fail('{range} before {end}');
        return parts;
      }
      parts.push(this.#braced(depth));
    }
    return depth > 0 ? this.#fail('{end}') : parts;
  }

  #braced(depth: number): Part {
    if (this.#take('range ')) {
      if (depth >= DEPTH_MAX) this.#fail(`at most ${DEPTH_MAX} ranges in one another`);
      const path = this.#rooted();
      this.#need('}');
      return { type: 'range', path, parts: this.parts(depth + 1) };
    }
    const text = this.#string();
    const part: Part =
      text === undefined ? { type: 'path', path: this.#rooted() } : { type: 'text', text };
    this.#match(SPACE);
    this.#need('}');
    return part;
  }
}

function say(parts: readonly Part[], value: unknown): string {
  return parts
    .map((part) => {
      if (part.type === 'text') return part.text;
      const found = walk(part.path, value);
      return part.type === 'path'
        ? found.map(textOf).join(' ')
        : found.map((one) => say(part.parts, one)).join('');
    })
    .join('');
}

const wholeLines = (text: string): string =>
  text === '' || text.endsWith('\n') ? text : `${text}\n`;

/**
 * Reads a template. One path alone prints each thing found on a line of its own; in a longer
 * template they have spaces between. Throws TemplateError.
 */
export function parseTemplate(text: string): Template {
  const reader = new Reader(text);
  const parts: readonly Part[] = text.includes('{')
    ? reader.parts()
    : [{ type: 'path', path: reader.only() }];
  const [only, ...more] = parts;
  if (only?.type === 'path' && more.length === 0)
    return {
      render: (value) =>
        walk(only.path, value)
          .map((found) => `${textOf(found)}\n`)
          .join(''),
    };
  return { render: (value) => wholeLines(say(parts, value)) };
}
