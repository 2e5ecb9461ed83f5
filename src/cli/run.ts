import { CommanderError } from 'commander'
import { ConfigError } from '../config/config.js'
import { CarportError } from '../util/errors.js'
import { CliError, type Output } from './admin-client.js'
import { findTarget, type GlobalFlags } from './config-source.js'
import { printable } from './format.js'
import type { CliIo } from './io.js'
import { buildProgram } from './program.js'

/**
 * Runs the command line.
 * @param argv the arguments alone, without the program
 * @returns the exit status: 0, or 1 after one message on stderr
 */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const program = buildProgram(io, async (world, flags, command) => {
    const admin = await world.connect(findTarget(world, flags))
    try {
      print(world, flags, await command(admin))
    } catch (error) {
      if (error instanceof CliError && error.output) print(world, flags, error.output)
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
    await program.parseAsync(argv, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    if (error instanceof CommanderError && error.code === 'commander.help') return 1
    io.err(`carport: ${messageOf(error)}`)
    return 1
  }
}

function descendants(command: ReturnType<typeof buildProgram>): ReturnType<typeof buildProgram>[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)])
}

function print(io: CliIo, flags: GlobalFlags, output: Output): void {
  io.out(flags.json ? JSON.stringify(output.json, null, 2) : output.text)
}

/** The message of an error: one line, except for configurations with several problems. */
function messageOf(error: unknown): string {
  if (error instanceof ConfigError) return error.message
  if (error instanceof CommanderError) return commandLineMessage(error.message)
  if (error instanceof CliError) return printable(error.message)
  if (error instanceof CarportError) return printable(`${HINTS[error.code] ?? ''}${error.message}`)
  return printable(`unexpected error: ${error instanceof Error ? error.message : String(error)}`)
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
