/**
 * `mn port bind` and `mn port unbind`: where a port is carried. Both halves of the binding change
 * together.
 */
import type { Command } from 'commander';
import { examples } from '../examples.ts';
import {
  action,
  finishWrite,
  ifRevisionOption,
  type Options,
  type Session,
  writeOptions,
} from '../session.ts';

async function write(
  session: Session,
  request: { port: string; body: Record<string, unknown>; options: Options; said: string },
): ReturnType<typeof finishWrite> {
  const { port, body, options, said } = request;
  const ifRevision = options['ifRevision'] as number | undefined;
  const written = await session.io.client.update('port', port, body, ifRevision);
  const line = `${said.replace('PORT', `port ${written.objects[0]?.name ?? port}`)}`;
  return finishWrite(session, options, { written, line });
}

export function addPortBinding(session: Session, port: Command): void {
  const bind = port
    .command('bind')
    .description('carry a port on an interface of a host')
    .argument('<port>', 'its name or id')
    .requiredOption('--host <host>', 'the host that carries it')
    .requiredOption('--interface <name>', 'the network interface on that host')
    .addOption(ifRevisionOption());
  examples(bind, ['mn port create vm5 --bridge b1', 'mn port bind vm5 --host h1 --interface tap5']);
  writeOptions(bind).action(
    action(session, ([target = ''], options) => {
      const host = String(options['host']);
      const name = String(options['interface']);
      const body = { host, interface: name };
      const said = `bound PORT to ${name} of ${host}`;
      return write(session, { port: target, body, options, said });
    }),
  );
  const unbind = port
    .command('unbind')
    .description('carry a port nowhere')
    .argument('<port>', 'its name or id')
    .addOption(ifRevisionOption());
  examples(unbind, ['mn port unbind vm1 --wait']);
  writeOptions(unbind).action(
    action(session, ([target = ''], options) => {
      const body = { host: null, interface: null };
      return write(session, { port: target, body, options, said: 'unbound PORT' });
    }),
  );
}
