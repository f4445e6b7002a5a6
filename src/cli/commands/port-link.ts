/**
 * `mn port link` and `mn port unlink`: two ports become the ends of a link between their devices,
 * or of none. The API keeps both ends together; to say it at one is enough.
 */
import type { Command } from 'commander';
import { examples } from '../examples.ts';
import { isId } from '../names.ts';
import { action, finishWrite, ifRevisionOption, type Session, writeOptions } from '../session.ts';

export function addPortLink(session: Session, port: Command): void {
  const link = port
    .command('link')
    .description('join two devices by a port of each')
    .argument('<port>', 'name or id of the one')
    .argument('<peer>', 'name or id of the other')
    .addOption(ifRevisionOption());
  examples(link, [
    'mn port create r0-b1-again --router r0',
    'mn port create b1-r0-again --bridge b1',
    'mn port link r0-b1-again b1-r0-again --wait',
  ]);
  writeOptions(link).action(
    action(session, async ([target = '', peer = ''], options) => {
      const ifRevision = options['ifRevision'] as number | undefined;
      const written = await session.io.client.update('port', target, { peer }, ifRevision);
      const other = isId(peer) ? await session.names.one('port', peer) : peer;
      const line = `linked port ${written.objects[0]?.name ?? target} to ${other}`;
      return finishWrite(session, options, { written, line });
    }),
  );
  const unlink = port
    .command('unlink')
    .description('end the link of a port, at both ends')
    .argument('<port>', 'its name or id')
    .addOption(ifRevisionOption());
  examples(unlink, ['mn port unlink r0-b1']);
  writeOptions(unlink).action(
    action(session, async ([target = ''], options) => {
      const ifRevision = options['ifRevision'] as number | undefined;
      const written = await session.io.client.update('port', target, { peer: null }, ifRevision);
      const line = `unlinked port ${written.objects[0]?.name ?? target}`;
      return finishWrite(session, options, { written, line });
    }),
  );
}
