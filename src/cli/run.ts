import { CommanderError } from 'commander'
import { ConfigError } from '../config/config.js'
import { CarportError, messageOf } from '../util/errors.js'
import { CliError, UsageError } from './admin-client.js'
import { printOutput, splitShortFlags } from './command-line.js'
import { findTarget } from './config-source.js'
import { printable } from './format.js'
import type { CliIo } from './io.js'
import { buildProgram } from './program.js'

/** The command failed, or the node refused it. */
const FAILED = 1
/** The command line is wrong: an unknown verb or flag, a value that cannot be read, a confirmation that is missing. */
const WRONG_USAGE = 2

/**
 * Runs the command line.
 * @param argv the arguments alone, without the program
 * @returns the exit status: 0 after success; 1 (failed) or 2 (wrong command line, nothing was changed) after one message
 * on stderr
 */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const program = buildProgram(io, async (world, flags, command) => {
    const admin = await world.connect(findTarget(world, flags))
    try {
      printOutput(world, flags, await command(admin))
    } catch (error) {
      if (error instanceof CliError && error.output) printOutput(world, flags, error.output)
      throw error
    } finally {
      await admin.close()
    }
  })
  const chunked = (write: (text: string) => void) => (text: string) => write(text.replace(/\n$/, ''))
  // Commander prints help itself; errors are printed below, in one place.
  for (const command of [program, ...descendants(program)]) {
    command.configureOutput({ writeOut: chunked(io.out), writeErr: chunked(io.err), outputError: () => {} })
  }
  try {
    await program.parseAsync(splitShortFlags(argv), { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    if (error instanceof CommanderError && error.code === 'commander.help') return WRONG_USAGE
    io.err(`carport: ${linesOf(error)}`)
    return error instanceof CommanderError || error instanceof UsageError ? WRONG_USAGE : FAILED
  }
}

function descendants(command: ReturnType<typeof buildProgram>): ReturnType<typeof buildProgram>[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)])
}

/** The message of an error: one line, except for configurations with several problems. */
function linesOf(error: unknown): string {
  if (error instanceof ConfigError) return error.message
  if (error instanceof CommanderError) return commandLineMessage(error.message)
  if (error instanceof CliError) return printable(error.message)
  if (error instanceof CarportError) return printable(`${HINTS[error.code] ?? ''}${error.message}`)
  return printable(`unexpected error: ${messageOf(error)}`)
}

const HINTS: Partial<Record<CarportError['code'], string>> = {
  Timeout: 'the node did not answer in time: ',
  PeerUnreachable: 'the connection to the node broke: ',
  RemoteError: 'the node failed, see its log: ',
  QuorumUnavailable: 'too few nodes are up, see "carport status": ',
}

/** Commander's "error: unknown command 'x'\n(Did you mean y?)" in one line. */
function commandLineMessage(text: string): string {
  const line = text.replace(/^error: /, '').replace(/\n\s*/g, ' ')
  return /^(unknown|missing|too many|required)/.test(line)
    ? `${printable(line)}; see "carport --help"`
    : printable(line)
}
