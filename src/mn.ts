#!/usr/bin/env node
/**
 * The one entry of every program: `mn api`, `mn agent`, `mn lab`, and the command line client for
 * the rest. Programs load on demand, so that a client command does not pay for an agent; what Node
 * made of the sources is kept, which takes a good part off the start of a command.
 */
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

enableCompileCache(fileURLToPath(new URL('../.cache/compile', import.meta.url)));
const [program = '', ...rest] = process.argv.slice(2);
switch (program) {
  case 'api':
    await (await import('#api/main.ts')).main(rest);
    break;
  case 'agent':
    await (await import('#agent/main.ts')).main(rest);
    break;
  case 'lab':
    await (await import('#lab/main.ts')).main(rest);
    break;
  default:
    await (
      await import('#cli/cli.ts')
    ).main(process.argv.slice(2), async () => (await import('#agent/wires.ts')).hostWires);
}
