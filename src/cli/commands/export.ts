/** `mn export`: the network, or a part of it, as documents that `mn apply` takes back. */
import type { Command } from 'commander';
import { stringify } from 'yaml';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { DOCUMENT_KINDS } from '../documents/document.ts';
import { documentsFor, Namesakes } from '../documents/export.ts';
import { loadStand } from '../documents/stand.ts';
import { count, print, styled } from '../format.ts';
import { UsageError } from '../io.ts';
import { action, formatOf, outputOption, repeated, type Session } from '../session.ts';

const kindNamed = (text: string): KindName => {
  const kind = DOCUMENT_KINDS.find((name) => name === text);
  if (kind !== undefined) return kind;
  throw new UsageError(
    `there is no kind '${text}' of which documents are`,
    `The kinds are: ${DOCUMENT_KINDS.join(', ')}`,
  );
};

const labelsOf = (object: StoredObject): readonly unknown[] => {
  const { labels } = object as { readonly labels?: unknown };
  return Array.isArray(labels) ? labels : [];
};

export function addExport(session: Session, program: Command): void {
  program
    .command('export')
    .description('print objects as documents that mn apply takes back')
    .argument('[kind...]', 'the kinds; all when none is named')
    .option('-l, --label <key=value>', 'only what has the label; repeatable', repeated)
    .option('--tenant <name>', "only this tenant's")
    .addOption(outputOption())
    .helpGroup('The virtual network:')
    .addHelpText(
      'after',
      `
Examples:
  mn export > network.yaml
  mn export bridge port
  mn export -l app=web --tenant acme -o json
`,
    )
    .action(
      action(session, async (words, options) => {
        const { io } = session;
        const kinds = words.length === 0 ? DOCUMENT_KINDS : words.map(kindNamed);
        const labels = (options['label'] ?? []) as readonly string[];
        const tenant = options['tenant'] as string | undefined;
        const stand = await loadStand(io.client, kinds);
        const namesakes = new Namesakes(stand);
        const wanted = kinds.map((kind) => {
          const objects = stand
            .list(kind)
            .filter((object) => tenant === undefined || object.tenant === tenant)
            .filter((object) => labels.every((label) => labelsOf(object).includes(label)));
          return [kind, objects] as const;
        });
        const documents = documentsFor({ stand, namesakes }, wanted);
        const alike = wanted.flatMap(([kind, objects]) =>
          objects.filter((object) => namesakes.has(kind, object)),
        );
        const format = formatOf(options);
        const text = (): string => documents.map((document) => stringify(document)).join('---\n');
        print(io, format === 'yaml' ? 'table' : format, { value: { items: documents }, text });
        if (alike.length > 0)
          io.err(
            `${styled(io, 'yellow', 'note:')} ${count(alike.length, 'object')} of one name ` +
              'in one place: their documents give ids, and are of this network only\n',
          );
      }),
    );
}
