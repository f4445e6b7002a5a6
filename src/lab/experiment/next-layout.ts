/**
 * A copy of this tree whose datapath has the next layout: what an upgrade brings, for experiments
 * and tests of upgrades. Structs are re-ordered, widened and longer, and there is a flag more.
 *
 * The layout is derived from the text of `flow/layout.ts`, so it keeps up with it; a field named
 * here that is there no more is an error. Little-endian numbers may be widened under code that
 * writes their low half, as long as the other half stays zero: nothing else of the copy changes.
 *
 * Invariant: a copy is gone when it is disposed of, or when this process ends; what a SIGKILL
 * leaves is removed by the next one that is made.
 */
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, runOk } from '#os/run.ts';

const ROOT = join(import.meta.dirname, '../../..');
const COPIED = ['src', 'package.json'];
const PREFIX = 'midonet-next-';
const BUILD_DEADLINE_MS = 60_000;

type Wider = Readonly<Record<string, string>>;
/** Structs by the constants that hold their rows, and which of their fields are wider. */
const CHANGED: Readonly<Record<string, Wider>> = {
  ACTION_STRUCT: { mtu: 'u32', drop_code: 'u32' },
  FLOW_VALUE: { slot: 'u64' },
  FLOW_STATS: {},
  GROUP: { count: 'u64' },
  MEMBER: { vlan: 'u64' },
  KEY_TARGET: { network: 'u64' },
  SENDER: {},
  PEER: {},
  ENTRY_KEY: {},
  ENTRY_REF: { number: 'u64' },
  CONFIG: {},
};
/** What the copy knows and this tree does not: a flag of actions, a field at the end of structs. */
export const NEXT = { flag: 'NEXT', bit: 2 ** 30, field: 'next_field' } as const;
const LONGER = new Set(['ACTION_STRUCT', 'MEMBER', 'KEY_TARGET']);

const SIZE: Readonly<Record<string, number>> = {
  u8: 1,
  u16: 2,
  u32: 4,
  u64: 8,
  net8: 1,
  net16: 2,
  net32: 4,
};

interface Row {
  readonly name: string;
  readonly type: string;
  /** As it stands there: a number, or the name of one. */
  readonly count?: string;
}
const sizeOf = ({ type }: Row): number => SIZE[type] ?? 1;

/** Modulo 8, which is all that is asked for. */
function bytesOf(row: Row): number {
  const size = sizeOf(row);
  if (size === 8) return 0;
  const count = Number(row.count ?? 1);
  if (!Number.isInteger(count)) throw new Error(`layout.ts: how many ${row.name} is not a number`);
  return size * count;
}

/** The fields the other way round, those of larger types first, filled up to 8 bytes. */
function changed(name: string, rows: readonly Row[], wider: Wider): Row[] {
  const out = rows
    .map((row) => ({ ...row, type: wider[row.name] ?? row.type }))
    .toReversed()
    .toSorted((a, b) => sizeOf(b) - sizeOf(a));
  if (LONGER.has(name)) out.unshift({ name: NEXT.field, type: 'u64' });
  const bytes = out.reduce((sum, row) => sum + bytesOf(row), 0);
  const missing = (8 - (bytes % 8)) % 8;
  return missing === 0 ? out : [...out, { name: 'filler', type: 'u8', count: String(missing) }];
}

/** The text of `flow/layout.ts` with the next layout. */
export function nextLayout(text: string): string {
  let out = text.replace(/(LAYOUT_VERSION = )(\d+)/, (_, words, n) => `${words}${Number(n) + 1}`);
  if (out === text) throw new Error('layout.ts has no LAYOUT_VERSION');
  out = out.replace('export const ACTION = {', `$& ${NEXT.flag}: ${NEXT.bit},`);
  for (const [name, wider] of Object.entries(CHANGED)) {
    const before = out;
    out = out.replace(
      new RegExp(`(export const ${name} = \\[)([^\\]]*)(\\] as const)`),
      (_, open: string, body: string, close: string) => {
        const found = body.matchAll(/\{ name: '(\w+)', type: '(\w+)'(?:, count: ([\w.]+))? \}/g);
        const rows = [...found].map(([, field = '', type = '', count]) => ({
          name: field,
          type,
          ...(count === undefined ? {} : { count }),
        }));
        for (const field of Object.keys(wider))
          if (!rows.some((row) => row.name === field))
            throw new Error(`layout.ts: ${name} has no ${field}`);
        const lines = changed(name, rows, wider).map(
          ({ name: field, type, count }) =>
            `{ name: '${field}', type: '${type}'${count === undefined ? '' : `, count: ${count}`} },`,
        );
        return `${open}\n${lines.join('\n')}\n${close}`;
      },
    );
    if (out === before) throw new Error(`layout.ts has no ${name}`);
  }
  return out;
}

export interface Tree extends Disposable {
  readonly root: string;
}

/** What this machine lacks for a copy, or undefined. */
export async function missingForNext(): Promise<string | undefined> {
  for (const tool of ['clang-14', 'llvm-strip-14']) {
    const found = await run(tool, ['--version'], { deadlineMs: BUILD_DEADLINE_MS }).then(
      ({ code }) => code === 0,
      () => false,
    );
    if (!found) return tool;
  }
  return undefined;
}

/** Makes the copy and compiles its kernel program. Needs clang-14. */
export async function makeNextTree(): Promise<Tree> {
  sweep();
  const root = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  const remove = (): void => rmSync(root, { recursive: true, force: true, maxRetries: 5 });
  process.once('exit', remove);
  for (const entry of COPIED) cpSync(join(ROOT, entry), join(root, entry), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  const layout = join(root, 'src/flow/layout.ts');
  writeFileSync(layout, nextLayout(readFileSync(layout, 'utf8')));
  const build = join(root, 'src/datapath/ebpf/build.ts');
  await runOk(process.execPath, [build], { deadlineMs: BUILD_DEADLINE_MS });
  return {
    root,
    [Symbol.dispose]: () => {
      process.off('exit', remove);
      remove();
    },
  };
}

function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
