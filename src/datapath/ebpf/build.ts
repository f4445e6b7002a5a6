/**
 * Compiles the kernel program. `node build.ts` writes layout.h and datapath.bpf.o, which are
 * committed: hosts need no compiler. The object holds no path, date or debug information, so the
 * same compiler gives the same bytes anywhere; a test says so.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { headerText } from '#flow/layout-header.ts';

export const HEADER = join(import.meta.dirname, 'layout.h');
export const OBJECT = join(import.meta.dirname, 'datapath.bpf.o');
const SOURCE = 'datapath.bpf.c';

/** Where Debian keeps asm/ headers for the machine that compiles. */
const ASM = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
const FLAGS = ['-O2', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Werror', '-fno-ident', '-I', ASM];

/** Whether this machine has the compiler that makes the committed bytes. */
export function hasCompiler(): boolean {
  try {
    execFileSync('clang-14', ['--version'], { stdio: 'ignore' });
    execFileSync('llvm-strip-14', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The object's bytes, from the sources beside this file. `defines`: of a test's own variant. */
export function compileObject(defines: readonly string[] = []): Uint8Array {
  const dir = mkdtempSync(join(tmpdir(), 'mn-bpf-'));
  try {
    const out = join(dir, 'out.o');
    // A relative source name: an absolute one would be in the object.
    execFileSync(
      'clang-14',
      [...FLAGS, ...defines.map((name) => `-D${name}`), '-c', SOURCE, '-o', out],
      {
        cwd: import.meta.dirname,
        stdio: 'inherit',
      },
    );
    execFileSync('llvm-strip-14', [
      '--strip-debug',
      '--remove-section=.BTF',
      '--remove-section=.BTF.ext',
      out,
    ]);
    return new Uint8Array(readFileSync(out));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

if (import.meta.main) {
  writeFileSync(HEADER, headerText());
  writeFileSync(OBJECT, compileObject());
}
