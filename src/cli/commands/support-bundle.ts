/**
 * `mn support-bundle`: everything that somebody who helps will ask for, in one file: status,
 * doctor, topology, logs, metrics, counters, versions, limits. Without secrets; on request without
 * names and addresses. What could not be had is told, and in the manifest.
 */
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { bundle } from '../bundle/bundle.ts';
import { collect, sourcesOf } from '../bundle/collect.ts';
import { examples } from '../examples.ts';
import { count, print } from '../format.ts';
import { UsageError } from '../io.ts';
import { bytesText } from '../quantities.ts';
import { action, type Session } from '../session.ts';

/** `mn-support-20261126-063107.tar.gz`, in UTC. */
const nameAt = (timeMs: number): string => {
  const text = new Date(timeMs).toISOString().replaceAll(/[-:]|\.\d+Z$/g, '');
  return `mn-support-${text.replace('T', '-')}.tar.gz`;
};

export function addSupportBundle(session: Session, program: Command): void {
  const { io } = session;
  const command = program
    .command('support-bundle')
    .description('status, doctor, topology, logs and counters in one file, without secrets')
    .helpGroup('Operating:')
    .option('-o, --output <file>', 'where to write it: FILE.tar.gz')
    .option('--anonymise', 'replace names, addresses and MACs by others, alike everywhere');
  examples(command, [
    'mn support-bundle',
    'mn support-bundle -o case-17.tar.gz --anonymise',
  ]).action(
    action(session, async (_args, options) => {
      const timeMs = (io.wall ?? Date.now)();
      const file = (options['output'] as string | undefined) ?? nameAt(timeMs);
      const collected = await collect(await sourcesOf(io));
      const { bytes, manifest } = bundle(collected, {
        secrets: io.secrets ?? [],
        anonymise: options['anonymise'] === true,
        version: io.version ?? 'unknown',
        timeMs,
      });
      try {
        // One that is there is not replaced: it may be the only word of an earlier failure.
        writeFileSync(file, bytes, { mode: 0o600, flag: 'wx' });
      } catch (error) {
        throw new UsageError(`${file} cannot be written: ${(error as Error).message}`);
      }
      for (const { name, note } of manifest.files)
        if (note !== undefined) io.err(`${name}: ${note.split('\n')[0]}\n`);
      const size = bytesText(bytes.length);
      print(io, 'table', {
        value: manifest,
        text: () => `wrote ${file}: ${count(manifest.files.length, 'file')}, ${size}\n`,
      });
    }),
  );
}
