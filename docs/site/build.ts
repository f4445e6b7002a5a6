/**
 * Builds the site into `.cache/docs`, and with `--serve` shows it on loopback. A warning of the
 * build fails it, as a dead link does: who reads the site cannot mend it.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { serve } from './serve.ts';

const SITE = import.meta.dirname;
const VITEPRESS = join(SITE, 'node_modules/vitepress/bin/vitepress.js');
const BUILT = join(SITE, '../../.cache/docs');
const PORT = 4173;
/** What VitePress, Vite and Rollup say when something is wrong and they go on. */
const WARNING = /\bwarn(ing)?\b|\(!\)|is not loaded|falling back/i;

/** Runs VitePress in its folder; its exit code, and what it printed. */
function vitepress(args: readonly string[]): Promise<{ code: number; printed: string }> {
  const child = spawn(process.execPath, [VITEPRESS, ...args], {
    cwd: SITE,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => {
      printed += data.toString();
      process.stderr.write(data);
    });
  const { promise, resolve, reject } = Promise.withResolvers<{ code: number; printed: string }>();
  child.on('error', reject);
  child.on('close', (code) => resolve({ code: code ?? 1, printed }));
  return promise;
}

const { code, printed } = await vitepress(['build', '.']);
if (code === 0 && WARNING.test(printed)) {
  process.stderr.write('docs: the build has warnings\n');
  process.exitCode = 1;
} else process.exitCode = code;

if (process.exitCode === 0 && process.argv.includes('--serve')) {
  await serve(BUILT, PORT);
  process.stdout.write(`http://127.0.0.1:${PORT}/\n`);
}
