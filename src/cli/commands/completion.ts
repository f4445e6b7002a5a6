/**
 * `mn completion SHELL` prints the script that a shell evaluates; the script calls `mn complete`
 * for every TAB. The scripts know nothing of the commands, so they never grow old.
 */
import { Argument, type Command } from 'commander';
import { complete } from '../complete.ts';
import { action, type Session } from '../session.ts';
import { escapeWord, splitLine } from '../shell/words.ts';

/**
 * Bash gives the line as it stands, quotes and all, and replaces what is behind the last of its
 * word breaks only.
 */
const BASH = `_mn() {
  local line="\${COMP_LINE:0:COMP_POINT}"
  mapfile -t COMPREPLY < <("\${line%%[[:space:]]*}" complete --breaks "$COMP_WORDBREAKS" --line "$line" 2>/dev/null)
  [[ \${#COMPREPLY[@]} == 1 && \${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -F _mn mn
`;

const ZSH = `#compdef mn
_mn() {
  local -a all
  all=("\${(@f)$("\${words[1]}" complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -S '' -- \${(M)all:#*=}
  compadd -- \${all:#*=}
}
compdef _mn mn
`;

const FISH = `function __mn_complete
  set -l before (commandline -opc)
  set -l word (commandline -ct)
  $before[1] complete -- $before[2..-1] "$word" 2>/dev/null
end
complete -c mn -f -a '(__mn_complete)'
`;

const SCRIPTS = { bash: BASH, zsh: ZSH, fish: FISH } as const;
const SHELLS = Object.keys(SCRIPTS) as (keyof typeof SCRIPTS)[];

const HOW = `
Set it up:
  bash  source <(mn completion bash)          in ~/.bashrc
  zsh   source <(mn completion zsh)           in ~/.zshrc, after compinit
  fish  mn completion fish > ~/.config/fish/completions/mn.fish

Examples:
  mn completion bash
`;

export function addCompletion(session: Session, program: Command): void {
  program
    .command('completion')
    .description('print the completion script of a shell')
    .helpGroup('Operating:')
    .addArgument(new Argument('<shell>', 'whose script').choices(SHELLS))
    .addHelpText('after', HOW)
    .action(
      action(session, async ([shell = 'bash']) => {
        session.io.out(SCRIPTS[shell as keyof typeof SCRIPTS]);
      }),
    );
  program
    .command('complete', { hidden: true })
    .description('what can stand in place of the last word; called by the completion scripts')
    .argument('[words...]')
    .option('--line <line>', 'the line up to the cursor, as it stands, in place of words')
    .option('--breaks <characters>', 'of --line: answer what is behind the last of them')
    .action(
      action(session, async (words, options) => {
        const { out } = session.io;
        const line = options['line'] as string | undefined;
        if (line !== undefined) {
          const breaks = (options['breaks'] as string | undefined) ?? '';
          for (const text of await completeLine(session, program, { line, breaks }))
            out(`${text}\n`);
          return;
        }
        for (const { text } of await complete(session, program, words)) out(`${text}\n`);
      }),
    );
}

/** Candidates for the end of a line, quoted as the line is, from behind the last break on. */
async function completeLine(
  session: Session,
  program: Command,
  { line, breaks }: { readonly line: string; readonly breaks: string },
): Promise<string[]> {
  const { words, open, start } = splitLine(line);
  const typed = start === line.length && open === undefined ? [...words, ''] : words;
  const word = typed.at(-1) ?? '';
  // Of spaces and quotes the splitter knows whether they break.
  const inside = breaks.replace(/[\s'"]/g, '').split('');
  const last = Math.max(-1, ...inside.map((c) => word.lastIndexOf(c)));
  const found = await complete(session, program, typed.slice(1));
  return found.map(({ text }) => {
    const rest = text.slice(last + 1);
    return open === undefined ? escapeWord(rest) : rest;
  });
}
