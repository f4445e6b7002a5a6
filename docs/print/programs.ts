/** The page of the programs that are no commands of the client: what each prints as help. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { page, type PrintedPage } from './table.ts';

const MN = join(import.meta.dirname, '../../src/mn.ts');
const PROGRAMS = ['api', 'agent', 'agent stats', 'lab'];

const helpOf = async (words: string): Promise<string> =>
  (await promisify(execFile)(process.execPath, [MN, ...words.split(' '), '--help'])).stdout.trim();

export async function programsPage(): Promise<PrintedPage> {
  const helps = await Promise.all(PROGRAMS.map(helpOf));
  return {
    name: 'programs.md',
    text: page('Programs', [
      'What runs for long, and what needs root: the API, the agent of a host, labs. Printed from ' +
        'their own help. The client, `mn`, is on the page of [commands](cli.md).',
      ...PROGRAMS.map((words, i) => `## mn ${words}\n\n\`\`\`text\n${helps[i]}\n\`\`\``),
    ]),
  };
}
