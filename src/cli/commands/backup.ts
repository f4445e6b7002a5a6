/** `mn backup`: a copy of the store while it runs, by the API itself and on its machine. */
import type { Command } from 'commander';
import { print } from '../format.ts';
import { UsageError } from '../io.ts';
import { action, formatOf, outputOption, type Session } from '../session.ts';

export function addBackup(session: Session, program: Command): void {
  const backup = program
    .command('backup')
    .description("copy the store to a new file on the API's machine, while it runs")
    .helpGroup('Operating:')
    .argument('<file>', 'an absolute path; there must be no such file yet')
    .addOption(outputOption())
    .action(
      action(session, async ([path = ''], options) => {
        if (!path.startsWith('/'))
          throw new UsageError(
            `'${path}' is no absolute path`,
            'The API writes it: mn backup /DIR/FILE',
          );
        const done = await session.io.client.backup(path);
        print(session.io, formatOf(options), {
          value: done,
          text: () => `wrote ${done.path}, ${done.bytes} bytes\n`,
        });
      }),
    );
  backup.addHelpText(
    'after',
    `
To restore, stop the API, put the file in place of store.db in its --data folder, remove
store.db-wal and store.db-shm there, and start the API.

Examples:
  mn backup /var/backups/midonet.db
`,
  );
}
