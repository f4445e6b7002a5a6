/**
 * `mn port link` and `mn port unlink`: two ports become the ends of a link between their devices,
 * or of none. The API keeps both ends together; to say it at one is enough.
 */
import type { Command } from 'commander';
import { isId } from '../names.ts';
import { action, finishWrite, ifRevisionOption, type Session, writeOptions } from '../session.ts';

export function addPortLink(session: Session, port: Command): void {
  const { client } = session.io;
  const link = port
    .command('link')
    .description('join two devices by a port of each')
    .argument('<port>', 'name or id of the one')
    .argument('<peer>', 'name or id of the other')
    .addOption(ifRevisionOption());
  writeOptions(link).action(
    action(session, async ([target = '', peer = ''], options) => {
      const ifRevision = options['ifRevision'] as number | undefined;
      const written = await client.update('port', target, { peer }, ifRevision);
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
  writeOptions(unlink).action(
    action(session, async ([target = ''], options) => {
      const ifRevision = options['ifRevision'] as number | undefined;
      const written = await client.update('port', target, { peer: null }, ifRevision);
      const line = `unlinked port ${written.objects[0]?.name ?? target}`;
      return finishWrite(session, options, { written, line });
    }),
  );
}
