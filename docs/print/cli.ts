/** The page of commands: the very objects that parse the command line, walked. */
import type { Command } from 'commander';
import { buildProgram } from '#cli/cli.ts';
import type { CliIo } from '#cli/io.ts';
import { openSession } from '#cli/session.ts';
import { code, page, table, type PrintedPage } from './table.ts';

/** The commands without anything to run them against. */
function commandTree(): Command {
  const never = (): never => {
    throw new Error('this tree of commands is only looked at');
  };
  const client = new Proxy({} as CliIo['client'], { get: never });
  return buildProgram(openSession({ client, out: never, err: never }));
}

/** What a command prints as help besides what the tree says: its examples. */
function afterHelp(command: Command): string {
  let printed = '';
  command.configureOutput({ writeOut: (text) => void (printed += text) });
  command.outputHelp();
  return printed.slice(command.helpInformation().length).trim();
}

const visible = (command: Command): readonly Command[] =>
  command.createHelp().visibleCommands(command);

/** A command as it is typed; words of its parents first. */
const pathOf = (command: Command): string =>
  command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;

function argumentRows(command: Command): string[][] {
  return command.registeredArguments.map((argument) => {
    const choices = argument.argChoices === undefined ? '' : `: ${argument.argChoices.join(', ')}`;
    const name = argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
    return [
      code(argument.variadic ? name.replace(/.$/, '...$&') : name),
      argument.description + choices,
    ];
  });
}

const optionRows = (command: Command): string[][] =>
  command
    .createHelp()
    .visibleOptions(command)
    .filter((option) => option.long !== '--help')
    .map((option) => [code(option.flags), command.createHelp().optionDescription(option)]);

function section(command: Command): string {
  const depth = pathOf(command).split(' ').length;
  const after = afterHelp(command);
  return [
    `${'#'.repeat(Math.min(depth, 4))} ${pathOf(command)}`,
    command.description(),
    visible(command).length > 0 ? '' : `\`\`\`text\n${pathOf(command)} ${command.usage()}\n\`\`\``,
    table(['Argument', 'What it is'], argumentRows(command)),
    table(['Option', 'What it does'], optionRows(command)),
    after === '' ? '' : `\`\`\`text\n${after}\n\`\`\``,
    ...visible(command).map(section),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** Every command that the help names, the way it is typed. */
export function commandWords(): string[] {
  const of = (command: Command): string[] => [pathOf(command), ...visible(command).flatMap(of)];
  return of(commandTree());
}

export function cliPage(): PrintedPage {
  const program = commandTree();
  return {
    name: 'cli.md',
    text: page('Commands', [
      'Printed from the commands themselves: `mn help` and `mn COMMAND --help` say the same. ' +
        'The programs `mn api`, `mn agent` and `mn lab` have help of their own.',
      `\`\`\`text\n${afterHelp(program)}\n\`\`\``,
      table(['Option of every command', 'What it does'], optionRows(program)),
      ...visible(program).map(section),
    ]),
  };
}
