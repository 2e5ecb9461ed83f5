import { type Command, InvalidArgumentError, Option } from 'commander'
import { parseDuration } from '../config/values.js'
import { type AdminClient, type Output, SILENT, UsageError } from './admin-client.js'
import { type GlobalFlags, withFlags } from './config-source.js'
import type { CliIo } from './io.js'

/** Runs a command that talks to a node, and prints its result. */
export type RunOnNode = (
  io: CliIo,
  flags: GlobalFlags,
  command: (admin: AdminClient) => Promise<Output>,
) => Promise<void>

/** Options that stand before the command, and after it too unless the command has one of that name. */
export const SHARED_OPTIONS: [flags: string, description: string][] = [
  ['-c, --config <file>', 'configuration file (default: /etc/carport.toml, then /etc/garage.toml)'],
  [
    '-h, --rpc-host [host]',
    'node to talk to, <node id>@<host>:<port> (default: the one of the configuration)',
  ],
  ['-s, --rpc-secret <secret>', 'RPC secret, instead of rpc_secret in the configuration'],
  ['--json', 'print the result as JSON'],
]
export const SECRET_OPTIONS: [flags: string, description: string][] = [
  ['--rpc-secret-file <file>', 'file with the RPC secret'],
  ['--admin-token <token>', 'token of the admin API, for the server'],
  ['--admin-token-file <file>', 'file with it'],
  ['--metrics-token <token>', 'token of the metrics, for the server'],
  ['--metrics-token-file <file>', 'file with it'],
  ['--allow-world-readable-secrets [bool]', 'take secret files that others may read'],
]

/** Prints a command's result as text, or as JSON where that was asked for. */
export function printOutput(io: CliIo, flags: GlobalFlags, output: Output): void {
  if (output !== SILENT) io.out(flags.json ? JSON.stringify(output.json, null, 2) : output.text)
}

/** Ties the commands to the world. */
export class Context {
  constructor(
    private readonly io: CliIo,
    private readonly runOnNode: RunOnNode,
  ) {}

  /** Adds a command; `run` gets the world with the flags in its environment. */
  local<A extends unknown[]>(
    run: (io: CliIo, flags: GlobalFlags, ...args: A) => Promise<void> | void,
  ): (...args: [...A, Command]) => Promise<void> {
    return async (...all) => {
      const command = all.at(-1) as Command
      const flags = command.optsWithGlobals<GlobalFlags>()
      await run({ ...this.io, env: withFlags(this.io.env, flags) }, flags, ...(all.slice(0, -1) as A))
    }
  }

  /** Arguments and options of the command, in Commander's order. */
  remote<A extends unknown[]>(
    run: (admin: AdminClient, ...args: A) => Promise<Output>,
  ): (...args: [...A, Command]) => Promise<void> {
    return this.local<A>((io, flags, ...args) => this.runOnNode(io, flags, (admin) => run(admin, ...args)))
  }

  /** Like `remote`, for commands that print while they run: `run` gets the world too. */
  live<A extends unknown[]>(
    run: (admin: AdminClient, io: CliIo, flags: GlobalFlags, ...args: A) => Promise<Output>,
  ): (...args: [...A, Command]) => Promise<void> {
    return this.local<A>((io, flags, ...args) =>
      this.runOnNode(io, flags, (admin) => run(admin, io, flags, ...args)),
    )
  }

  nowMs(): number {
    return this.io.nowMs()
  }
}

export function group(parent: Command, name: string, description: string): Command {
  return parent.command(name).description(description)
}

/** Makes a command; its own options shadow the shared ones. */
export function leaf(
  parent: Command,
  spec: string,
  description: string,
  own: (Option | [flags: string, text: string])[] = [],
): Command {
  const command = parent.command(spec).description(description)
  for (const option of own) command.addOption(option instanceof Option ? option : new Option(...option))
  for (const [flags, text] of [...SHARED_OPTIONS, ...SECRET_OPTIONS]) {
    const option = new Option(flags, text).hideHelp(!flags.startsWith('--json'))
    const taken = option.short !== undefined && command.options.some((o) => o.short === option.short)
    if (!taken) command.addOption(option)
  }
  return command
}

/** Wraps a parser, so that its error becomes Commander's. */
export function argument<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text)
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message)
    }
  }
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new Error('expected a whole number')
  return Number(text)
}

/**
 * Gives all commands what Garage's have: `-h` alone and `-V` work after every verb. Call this when all are registered.
 */
export function completeCommands(command: Command, version: string): void {
  for (const child of command.commands) {
    const ownVersion = child.options.some((option) => option.long === '--version')
    child.version(version, ownVersion ? '-V' : '-V, --version')
    child.options.at(-1)!.hideHelp()
    if (child.commands.length > 0) child.helpOption('-h, --help', 'show this help')
    else helpByHostOption(child)
    completeCommands(child, version)
  }
}

/** After a verb `-h` names a host as before it, and without one it asks for help. */
export function helpByHostOption(command: Command): void {
  command.on('option:rpc-host', (host: string | null) => {
    if (host === null) command.help()
  })
}

/** A duration in ms. @throws UsageError that names the flag */
export function durationFlag(name: string, text: string): number {
  return flagValue(name, parseDuration, text)
}

/** A flag's value. @throws UsageError that names the flag */
export function flagValue<T>(name: string, parse: (value: unknown) => T, text: string): T {
  try {
    return parse(text)
  } catch (error) {
    throw new UsageError(`${name} ${(error as Error).message}`)
  }
}

/** "-z=dc1" as Garage takes it: "-z", "dc1". Words after "--" stay as they are. */
export function splitShortFlags(argv: readonly string[]): string[] {
  const end = argv.indexOf('--')
  return argv.flatMap((word, i) => {
    const match = end >= 0 && i > end ? null : /^(-[A-Za-z])=(.*)$/s.exec(word)
    return match ? [match[1]!, match[2]!] : [word]
  })
}

export function collect(value: string, previous: string[]): string[] {
  return [...previous, value]
}
