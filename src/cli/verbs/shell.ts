import { Argument, type Command } from 'commander'
import { type Context, leaf } from '../command-line.js'
import { completionScript, SHELLS } from '../completions.js'

/** `completions`. */
export function registerShellVerbs(program: Command, context: Context): void {
  leaf(program, 'completions', 'print a script that completes commands in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action(
      context.local<[string, object]>((io, _, shell) => {
        io.out(completionScript(program, shell))
      }),
    )
}
