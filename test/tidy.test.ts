/**
 * STYLE.md as a test: lints the repository where compiler, linter and formatter do not look.
 *
 * Every rule is a function from files to complaints and has two tests: it complains about a bad
 * example and not about a good one, and it finds nothing in the repository.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { describe, test } from 'node:test';

const ROOT = dirname(import.meta.dirname);
const FILE_LINES_MAX = 500;
/** The kernel program is one translation unit. */
const C_FILE_LINES_MAX = 800;
const LINE_LENGTH_MAX = 100;
const LAYERS = [
  'net',
  'virtual',
  'flow',
  'store',
  'os',
  'datapath',
  'telemetry',
  'client',
  'api',
  'agent',
  'cli',
  'lab',
] as const;

interface File {
  /** From the root, with slashes. */
  readonly path: string;
  readonly text: string;
}
/** A rule looks at the files it knows and answers `path:line: what is wrong`. */
type Rule = (files: readonly File[]) => string[];

/** Whether each character is code, comment or text of a string, template or regular expression. */
type Part = 'code' | 'comment' | 'string';

const REGEX_AFTER = /(^|[([{,;:=!&|?+\-*%<>~^]|\b(return|case|typeof|of|in|void))\s*$/;

/**
 * The end of the literal that starts at `at`: behind its closing quote. Templates stop at `\${`.
 */
function literalEnd(text: string, at: number, quote: string): number {
  let inClass = false;
  for (let i = at + 1; i < text.length; i++) {
    const c = text[i];
    if (c === '\\') i++;
    else if (c === '[') inClass = true;
    else if (c === ']') inClass = false;
    else if (c === quote && !(quote === '/' && inClass)) return i + 1;
    else if (quote === '`' && c === '$' && text[i + 1] === '{') return i;
    else if (c === '\n' && quote !== '`') return i;
  }
  return text.length;
}

/** Splits TypeScript into parts, well enough for lint rules: a template's expressions are code. */
function partsOf(text: string): readonly Part[] {
  return partsKnown.getOrInsertComputed(text, split);
}
const partsKnown = new Map<string, readonly Part[]>();

function split(text: string): Part[] {
  const parts: Part[] = [];
  /** Depth of braces at which each open template's expression began. */
  const templates: number[] = [];
  let depth = 0;
  const fill = (to: number, part: Part): void => {
    while (parts.length < Math.min(to, text.length)) parts.push(part);
  };
  while (parts.length < text.length) {
    const at = parts.length;
    const c = text[at] ?? '';
    const two = text.slice(at, at + 2);
    if (two === '//')
      fill(text.indexOf('\n', at) < 0 ? text.length : text.indexOf('\n', at), 'comment');
    else if (two === '/*') {
      const end = text.indexOf('*/', at + 2);
      fill(end < 0 ? text.length : end + 2, 'comment');
    } else if (c === "'" || c === '"') fill(literalEnd(text, at, c), 'string');
    else if (c === '/' && REGEX_AFTER.test(text.slice(Math.max(0, at - 80), at)))
      fill(literalEnd(text, at, '/'), 'string');
    else if (c === '`' || (c === '}' && templates.at(-1) === depth)) {
      if (c === '}') templates.pop();
      const end = literalEnd(text, at, '`');
      fill(end, 'string');
      if (text.slice(end, end + 2) === '${') {
        fill(end + 2, 'code');
        templates.push(depth);
      }
    } else {
      if (c === '{') depth++;
      if (c === '}') depth--;
      fill(at + 1, 'code');
    }
  }
  return parts;
}

/** The text with everything else blanked: positions and lines stay. */
function only(text: string, wanted: Part): string {
  const parts = partsOf(text);
  return [...Array(text.length).keys()]
    .map((i) => (parts[i] === wanted || text[i] === '\n' ? text[i] : ' '))
    .join('');
}

const lineOf = (text: string, index: number): number => text.slice(0, index).split('\n').length;
const isTs = (file: File): boolean => file.path.endsWith('.ts');

/** Complains wherever `pattern` occurs in the part of TypeScript files that `part` names. */
const refuse =
  (pattern: RegExp, part: Part | 'all', because: string): Rule =>
  (files) =>
    files
      .filter(isTs)
      .flatMap(({ path, text }) =>
        [...(part === 'all' ? text : only(text, part)).matchAll(pattern)].map(
          (found) => `${path}:${lineOf(text, found.index)}: ${because}`,
        ),
      );

const fileLength: Rule = (files) =>
  files.flatMap((file) => {
    const max = isTs(file)
      ? FILE_LINES_MAX
      : file.path.endsWith('.c')
        ? C_FILE_LINES_MAX
        : Infinity;
    const lines = file.text.trimEnd().split('\n').length;
    return lines > max ? [`${file.path}: has ${lines} lines, more than ${max}`] : [];
  });

/**
 * What a formatter cannot break does not count: strings, templates, regular expressions, addresses.
 */
const lineLength: Rule = (files) =>
  files.filter(isTs).flatMap(({ path, text }) => {
    const lines = text.split('\n');
    if (lines.every((line) => line.length <= LINE_LENGTH_MAX)) return [];
    const broken = only(text, 'string').split('\n');
    return lines.flatMap((line, i) => {
      const literal = broken[i]?.replaceAll(' ', '').length ?? 0;
      const address = /https?:\/\/\S+/.exec(line)?.[0].length ?? 0;
      const counted = line.length - Math.max(literal, address);
      return line.length > LINE_LENGTH_MAX && (literal + address === 0 || counted > LINE_LENGTH_MAX)
        ? [`${path}:${i + 1}: has ${line.length} columns, more than ${LINE_LENGTH_MAX}`]
        : [];
    });
  });

const headComment: Rule = (files) =>
  files
    .filter((file) => isTs(file) && !/^(#!.*\n)?\/\*\*/.test(file.text))
    .map(({ path }) => `${path}:1: must open with /** why it exists, what it keeps true */`);

/** A file that only hands on what others export hides where things are. */
const barrels: Rule = (files) =>
  files.filter(isTs).flatMap(({ path, text }) => {
    const code = only(text, 'code');
    const rest = code.replace(/\bexport\s+(type\s+)?\{[^}]*\}\s*from\s*;?/g, '');
    const isBarrel =
      /\bexport\s+(type\s+)?\*/.test(code) ||
      posix.basename(path) === 'index.ts' ||
      (rest !== code && rest.trim() === '');
    return isBarrel ? [`${path}: import it where it is, not through a barrel`] : [];
  });

/** Absolute paths of somebody's machine. Spelt in pieces: this file is looked at too. */
const MACHINE = new RegExp(
  `(?<![\\w.#*-])/(${['ho' + 'me', 'ro' + 'ot', 'wo' + 'rk', 'Us' + 'ers'].join('|')})/`,
  'g',
);
const machineWords: Rule = (files) =>
  files.flatMap(({ path, text }) =>
    [...text.matchAll(MACHINE)].map(
      (found) => `${path}:${lineOf(text, found.index)}: names a path of one machine (${found[0]})`,
    ),
  );

const pinned: Rule = (files) =>
  files
    .filter(({ path }) => posix.basename(path) === 'package.json')
    .flatMap(({ path, text }) => {
      const json = JSON.parse(text) as Record<string, Record<string, string> | undefined>;
      return ['dependencies', 'devDependencies', 'optionalDependencies']
        .flatMap((group) => Object.entries(json[group] ?? {}))
        .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
        .map(([name, version]) => `${path}: ${name} must be pinned exactly, not '${version}'`);
    });

interface Lock {
  readonly packages?: Readonly<
    Record<string, { readonly optionalDependencies?: Readonly<Record<string, string>> }>
  >;
}
/**
 * `npm ci` refuses a lock file without the builds for other machines; `npm install` leaves out
 * those that its registry does not have.
 */
const lockIsComplete: Rule = (files) =>
  files
    .filter(({ path }) => posix.basename(path) === 'package-lock.json')
    .flatMap(({ path, text }) => {
      const { packages = {} } = JSON.parse(text) as Lock;
      const wanted = Object.values(packages).flatMap((each) =>
        Object.keys(each.optionalDependencies ?? {}),
      );
      return [...new Set(wanted)]
        .filter((name) => packages[`node_modules/${name}`] === undefined)
        .map((name) => `${path}: lacks ${name}, an optional dependency of another package`);
    });

const lockNamesNoHost: Rule = (files) =>
  files
    .filter(({ path }) => posix.basename(path) === 'package-lock.json')
    .flatMap(({ path, text }) =>
      [...text.matchAll(/"resolved":\s*"[^"]*:\/\//g)].map(
        (found) => `${path}:${lineOf(text, found.index)}: names the host of a registry`,
      ),
    );

/** Tests, and the suites that several bodies of one interface share. */
const isTest = (path: string): boolean =>
  /(\.test|\.arbitrary|[./]fixture|\/contract|\/testing)\.ts$|\/contract\//.test(path);
const IMPORT = /(?:\bfrom\s+|\bimport\s+|\bimport\()'([^']+)'/g;

/**
 * What each folder of src imports, by the imports that are there: folders in order, then packages.
 */
function importsByFolder(files: readonly File[]): Map<string, Set<string>> {
  const table = new Map<string, Set<string>>();
  for (const { path, text } of files) {
    const [, folder] = /^src\/([^/]+)\//.exec(path) ?? [];
    if (folder === undefined || !isTs({ path, text }) || isTest(path)) continue;
    const found = table.getOrInsertComputed(folder, () => new Set());
    const parts = partsOf(text);
    for (const match of text.matchAll(IMPORT)) {
      const [, target = ''] = match;
      if (parts[match.index] !== 'code' || target.startsWith('node:')) continue;
      const [, scope = '', name = ''] = /^(@[^/]+\/)?([^/]+)/.exec(target) ?? [];
      if (target.startsWith('.')) {
        const resolved = posix.join(posix.dirname(path), target);
        found.add(/^src\/([^/]+)\//.exec(resolved)?.[1] ?? folder);
      } else if (target.startsWith('#')) found.add(name.slice(1));
      else found.add(`${scope}${name}`);
    }
    found.delete(folder);
  }
  return table;
}

function layerTable(files: readonly File[]): string {
  const rank = (name: string): string => {
    const at = (LAYERS as readonly string[]).indexOf(name);
    return at < 0 ? `z${name}` : `a${String.fromCharCode(97 + at)}`;
  };
  const byRank = (a: string, b: string): number => (rank(a) < rank(b) ? -1 : 1);
  const rows = [...importsByFolder(files)]
    .sort(([a], [b]) => byRank(a, b))
    .map(([folder, imports]) => {
      const cell = imports.size === 0 ? 'nothing' : [...imports].sort(byRank).join(', ');
      return `| ${folder} | ${cell} |`;
    });
  return ['| folder | imports |', '|---|---|', ...rows].join('\n');
}

/** The picture cannot rot: ARCHITECTURE.md shows what the imports are. */
const layersAreDocumented: Rule = (files) => {
  const page = files.find(({ path }) => path === 'ARCHITECTURE.md');
  const shown = /<!-- layers -->\n+([\s\S]*?)\n+<!-- \/layers -->/.exec(page?.text ?? '')?.[1];
  const true_ = layerTable(files);
  // A formatter may pad the cells; only what they say counts.
  const plain = (text: string): string => text.replace(/ +/g, ' ').replace(/-+/g, '---');
  return shown !== undefined && plain(shown) === plain(true_)
    ? []
    : [`ARCHITECTURE.md: paste this:\n<!-- layers -->\n${true_}\n<!-- /layers -->`];
};

const src = (text: string, path = 'src/net/a.ts'): File => ({ path, text });
const HEAD = '/** Head. */\n';
interface Case {
  readonly rule: Rule;
  readonly good: readonly (File | readonly File[])[];
  readonly bad: readonly (File | readonly File[])[];
}

const RULES: Readonly<Record<string, Case>> = {
  'a file has at most 500 lines': {
    rule: fileLength,
    good: [src('x;\n'.repeat(500)), src('x\n'.repeat(900), 'docs/a.md')],
    bad: [src('x;\n'.repeat(501)), src('x;\n'.repeat(801), 'a.c')],
  },
  'a line has at most 100 columns, strings and addresses aside': {
    rule: lineLength,
    good: [
      src(`f('${'x '.repeat(90)}');`),
      src(`// see https://${'x'.repeat(100)}`),
      src(`const a = \`\n${'x'.repeat(120)}\n\`;`),
    ],
    bad: [src(`// ${'word '.repeat(30)}`), src(`a(${'b, '.repeat(50)}'c');`)],
  },
  'a file opens with a comment': {
    rule: headComment,
    good: [src(HEAD), src(`#!/usr/bin/env node\n${HEAD}`)],
    bad: [src('export const a = 1;\n'), src('// a\n')],
  },
  'no any': {
    rule: refuse(/\bas any\b|:\s*any\b|<any>/g, 'code', 'any switches the checker off'),
    good: [src("const a = 'as any';"), src('/* as any */'), src('anything as Many;')],
    bad: [src('a as any;'), src('let a: any;'), src('`${b as any}`;')],
  },
  'the checker is not silenced': {
    rule: refuse(
      /@ts-(ignore|expect-error|nocheck)|oxlint-disable|eslint-disable/g,
      'comment',
      'say it in types',
    ),
    good: [src("const a = '@ts-ignore';")],
    bad: [src('// @ts-ignore'), src('/* oxlint-disable */')],
  },
  'no default exports': {
    rule: refuse(/\bexport\s+default\b|\bas\s+default\b/g, 'code', 'name what is exported'),
    good: [src("z.default(1); const a = 'export default';")],
    bad: [src('export default 1;'), src('export { a as default };')],
  },
  'no enums, no namespaces': {
    rule: refuse(
      /\benum\s+\w+\s*\{|\bnamespace\s+\w+\s*\{/g,
      'code',
      'use a union, or a const object',
    ),
    good: [src('const enumeration = { a: 1 };')],
    bad: [src('enum A { b }'), src('export const enum A { b }'), src('namespace A { }')],
  },
  'nothing is left for later': {
    rule: refuse(
      new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X'].join('|')})\\b`, 'g'),
      'all',
      'do it, or refuse it with an error',
    ),
    good: [src('// todos are a kind of list')],
    bad: [src(`// ${'TO'}DO: later`), src(`throw new Error('${'FIX'}ME');`)],
  },
  'no barrels': {
    rule: barrels,
    good: [src("import { a } from './b.ts';\nexport { a } from './c.ts';\nexport const d = a;")],
    bad: [
      src("export * from './b.ts';\nexport const a = 1;"),
      src("/** Head. */\nexport { a } from './b.ts';"),
      src('export const a = 1;', 'src/net/index.ts'),
    ],
  },
  'no path of one machine': {
    rule: machineWords,
    good: [src('// /proc/self and a/ho' + 'me/b'), src('run /usr/lib', 'docs/a.md')],
    bad: [src(`see ${'/ho'}me/me/x`, 'docs/a.md'), src(`'${'/ro'}ot/x'`)],
  },
  'dependencies are pinned exactly': {
    rule: pinned,
    good: [src('{"dependencies":{"zod":"4.6.7"}}', 'package.json')],
    bad: [
      src('{"dependencies":{"zod":"^4.6.7"}}', 'package.json'),
      src('{"devDependencies":{"zod":"latest"}}', 'web/package.json'),
    ],
  },
  'the lock file has every optional dependency': {
    rule: lockIsComplete,
    good: [
      src(
        '{"packages": {"": {"optionalDependencies": {"a": "1"}}, "node_modules/a": {}}}',
        'package-lock.json',
      ),
    ],
    bad: [src('{"packages": {"": {"optionalDependencies": {"a": "1"}}}}', 'package-lock.json')],
  },
  'the lock file names no host': {
    rule: lockNamesNoHost,
    good: [src('{"integrity": "sha512-x"}', 'package-lock.json')],
    bad: [src('{"resolved": "https://example.org/zod.tgz"}', 'package-lock.json')],
  },
  'ARCHITECTURE.md shows the layers as they are': {
    rule: layersAreDocumented,
    good: [
      [
        src("import { a } from '#net/a.ts';\nimport { z } from 'zod';", 'src/virtual/a.ts'),
        src("import '../virtual/a.ts';\nimport 'node:fs';", 'src/net/a.test.ts'),
        src(
          '<!-- layers -->\n| folder  | imports |\n|---|---|\n| virtual | net, zod |\n<!-- /layers -->',
          'ARCHITECTURE.md',
        ),
      ],
    ],
    bad: [
      src("import { a } from '../flow/a.ts';"),
      [src(HEAD), src('<!-- layers -->\n| net | zod |\n<!-- /layers -->', 'ARCHITECTURE.md')],
    ],
  },
};

const SKIPPED = new Set(['node_modules', '.git', '.cache', 'dist']);
const READ = /\.(ts|tsx|js|json|md|c|h|sh|yml|yaml|toml|service|txt)$|^[^.]+$/;

function filesIn(folder: string): File[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (SKIPPED.has(entry.name)) return [];
    if (entry.isDirectory()) return filesIn(path);
    return entry.isFile() && READ.test(entry.name)
      ? [{ path, text: readFileSync(join(ROOT, path), 'utf8') }]
      : [];
  });
}
const repository = filesIn('.');

for (const [name, { rule, good, bad }] of Object.entries(RULES))
  describe(name, () => {
    test('complains about bad examples only', () => {
      for (const files of good) assert.deepEqual(rule([files].flat()), []);
      for (const files of bad) assert.notDeepEqual(rule([files].flat()), [], JSON.stringify(files));
    });
    test('in the repository', () => {
      const complaints = rule(repository);
      assert.equal(complaints.length, 0, `\n${complaints.join('\n')}`);
    });
  });

test('every part of a file is told apart', () => {
  const text = "a /* b */ 'c' + `d${e + `f`}g` + /h[/]'/.test(i) // j";
  const joined = (part: Part): string => only(text, part).replace(/\s+/g, '');
  assert.equal(joined('code'), 'a+${e++.test(i)');
  assert.equal(joined('comment'), '/*b*///j');
  assert.equal(joined('string'), "'c'`d`f`}g`/h[/]'/");
});

test('the repository is read', () => {
  assert.ok(existsSync(join(ROOT, 'package.json')));
  assert.ok(repository.some(({ path }) => path === 'src/virtual/kinds.ts'));
});
