/**
 * `mn completion SHELL` prints the script that a shell evaluates; the script calls `mn complete`
 * for every TAB. The scripts know nothing of the commands, so they never grow old.
 */
import { Argument, type Command } from 'commander';
import { complete } from '../complete.ts';
import { action, type Session } from '../session.ts';

/**
 * Readline breaks words at `:` and `=`: the script answers what is behind the last of them only.
 */
const BASH = `_mn() {
  local line="\${COMP_LINE:0:COMP_POINT}" word head i
  local -a words
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  word="\${words[-1]}"
  mapfile -t COMPREPLY < <("\${words[0]}" complete -- "\${words[@]:1}" 2>/dev/null)
  [[ \${#COMPREPLY[@]} == 1 && \${COMPREPLY[0]} == *= ]] && compopt -o nospace
  head=""
  [[ $word == *[:=]* ]] && head="\${word%"\${word##*[:=]}"}"
  for i in "\${!COMPREPLY[@]}"; do
    printf -v "COMPREPLY[$i]" '%q' "\${COMPREPLY[$i]#"$head"}"
  done
}
complete -F _mn mn
`;

const ZSH = `#compdef mn
_mn() {
  local -a all
  all=("\${(@f)$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
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
    .action(
      action(session, async (words) => {
        for (const word of await complete(session, program, words)) session.io.out(`${word}\n`);
      }),
    );
}
