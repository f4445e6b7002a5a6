/**
 * `mn lab …`: labs on this machine, by name. The lab of a command is the one named with --lab, or
 * the only one there is. Building and removing takes the lab's lock; looking into it does not.
 */
import { spawn } from 'node:child_process';
import { Command } from 'commander';
import { describeMatrix, isAsExpected, matrix } from './check.ts';
import { cleanLab, remains } from './clean.ts';
import { runDemo } from './demo/demo.ts';
import { consolePath } from './guest/guest.ts';
import { relation } from './expected.ts';
import { labNames, readJournal } from './journal.ts';
import { announce, makeLab, openLab, shellEnvironment, shellSettings, type Lab } from './lab.ts';
import { lockLab } from './lock.ts';
import { checkLabName, partsOf } from './names.ts';
import { inside } from './processes.ts';
import { addressOf, readRecipe, recipeNames, workloadsOf } from './recipe.ts';

const print = (line: string): void => console.log(line);

interface Choice {
  readonly lab?: string;
}

function chosenName({ lab }: Choice): string {
  if (lab !== undefined) return checkLabName(lab);
  const names = labNames();
  const [only] = names;
  if (only !== undefined && names.length === 1) return only;
  throw new Error(
    only === undefined
      ? `there is no lab: ./midonet lab up ${recipeNames().join('|')} makes one`
      : `there are several labs, choose with --lab: ${names.join(' ')}`,
  );
}

const chosen = (choice: Choice): Lab => openLab(chosenName(choice));

function partOf(lab: Lab, part: string): string {
  const parts = partsOf(lab.recipe);
  if (parts.includes(part)) return part;
  if (lab.recipe.workloads[part] !== undefined)
    throw new Error(`${part} is a VM; its console: ${consolePath(lab.name, part)}`);
  throw new Error(`lab ${lab.name} has no ${part}; it has: ${parts.join(' ')}`);
}

/** Runs a command on this terminal to its end; answers its exit code. */
function interact(
  words: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<number> {
  const [program = '', ...args] = words;
  const ignore = (): void => {};
  process.on('SIGINT', ignore); // It is the child's: both are in the terminal's foreground.
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: 'inherit',
      env: { ...process.env, ...environment },
    });
    child.on('error', reject);
    child.on('close', (code) => {
      process.off('SIGINT', ignore);
      resolve(code ?? 128);
    });
  });
}

async function up(recipeName: string, { name }: { readonly name?: string }): Promise<void> {
  const recipe = readRecipe(recipeName);
  const lab = checkLabName(name ?? recipeName.replace(/^.*\//, '').replace(/\.ya?ml$/, ''));
  using _ = lockLab(lab);
  const started = performance.now();
  const journal = announce(lab, recipe);
  print(`lab ${lab}: ${recipe.about}`);
  try {
    await makeLab(journal, (line) => print(`  ${line}`));
  } catch (error) {
    await cleanLab(lab);
    throw error;
  }
  print(`  ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  print('look around: ./midonet lab check|sh|ping|run; end: ./midonet lab down');
}

/** Takes labs away; `politely`: their processes are asked first. */
async function down(choice: Choice & { readonly all?: boolean }, politely: boolean): Promise<void> {
  const names = choice.all === true ? labNames() : [chosenName(choice)];
  for (const name of names) {
    using _ = lockLab(name);
    const namespaces = readJournal(name)?.namespaces ?? [];
    await cleanLab(name, politely);
    const left = remains(name, namespaces);
    if (left.length > 0) throw new Error(`lab ${name} left behind: ${left.join(', ')}`);
    print(`lab ${name} is gone`);
  }
}

async function shell(part: string | undefined, choice: Choice): Promise<void> {
  const lab = chosen(choice);
  const bash = ['bash', '--rcfile', shellSettings(lab), '-i'];
  if (part === undefined) print(`mn speaks to lab ${lab.name}; leave with exit`);
  const words = part === undefined ? bash : inside(lab.name, partOf(lab, part), bash);
  const environment = { ...shellEnvironment(lab), MN_LAB_PART: part ?? '' };
  process.exitCode = await interact(words, environment);
}

async function runIn(part: string, words: readonly string[], choice: Choice): Promise<void> {
  const lab = chosen(choice);
  const command = inside(lab.name, partOf(lab, part), words);
  process.exitCode = await interact(command, shellEnvironment(lab));
}

interface PingChoice extends Choice {
  readonly six?: boolean;
  readonly count: string;
}

async function pingTo(from: string, to: string, choice: PingChoice): Promise<void> {
  const lab = chosen(choice);
  const target = lab.recipe.workloads[to];
  const address = target === undefined ? to : addressOf(target, choice.six === true ? 6 : 4);
  if (address === undefined) throw new Error(`${to} has no address of that family`);
  const known = target !== undefined && lab.recipe.workloads[from] !== undefined;
  if (known && relation(lab.recipe, from, to) === 'apart')
    console.error(`nothing leads from ${from} to ${to}: ${address} is whoever has it there`);
  await runIn(from, ['ping', '-n', '-c', choice.count, '-i', '0.2', address], choice);
}

async function check(choice: Choice): Promise<void> {
  const lab = chosen(choice);
  const cells = await matrix(lab);
  const names = workloadsOf(lab.recipe, 'namespace').map(([name]) => name);
  for (const line of describeMatrix(names, cells)) print(line);
  if (isAsExpected(cells)) return;
  print('NOT as the recipe wants it');
  process.exitCode = 1;
}

function list(): void {
  for (const name of labNames()) {
    const journal = readJournal(name);
    const recipe = journal?.recipe;
    const about = recipe === undefined ? 'half made: ./midonet lab clean' : recipe.about;
    print(`${name.padEnd(12)} ${about}`);
  }
}

function program(): Command {
  const lab = new Command('mn lab')
    .description('Hosts and workloads as network namespaces on this machine, with real agents.')
    .enablePositionalOptions();
  const command = (words: string, about: string): Command =>
    lab
      .command(words)
      .description(about)
      .option('--lab <name>', 'which lab, when there are several');
  lab
    .command('up')
    .argument('<recipe>', `one of ${recipeNames().join(', ')}, or a file`)
    .option('--name <name>', "the lab's name: the recipe's when not given")
    .description('make a lab')
    .action(up);
  command(
    'sh [part]',
    'a shell in which mn speaks to the lab, inside a part when one is named',
  ).action(shell);
  command('run <part> <command...>', 'run a command inside a workload or host')
    .passThroughOptions()
    .action(runIn);
  command('ping <from> <to>', 'ping a workload or an address from inside a workload')
    .option('-6, --six', 'over IPv6')
    .option('-c, --count <n>', 'how often', '3')
    .action(pingTo);
  command('check', 'who reaches whom, against who should').action(check);
  command('down', 'take the lab down')
    .option('--all', 'every lab')
    .action((choice: Choice & { readonly all?: boolean }) => down(choice, true));
  command('clean', 'remove what a lab left behind, however it ended')
    .option('--all', 'every lab')
    .action((choice: Choice & { readonly all?: boolean }) => down(choice, false));
  lab.command('list').description('the labs there are').action(list);
  lab
    .command('demo')
    .description('make a lab, show what it does, take it down')
    .option('--keep', 'leave the lab up')
    .action(runDemo);
  return lab;
}

/** `argv`: what follows `mn lab`. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await program().parseAsync([...argv], { from: 'user' });
  } catch (error) {
    console.error(`mn lab: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
