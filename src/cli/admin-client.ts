import type { OperationArgs, OperationName } from '../api/admin/operation-schemas.js'
import type { OperationResult } from '../api/admin/operations.js'

/** The administrative operations of a node, for commands. */
export interface AdminClient {
  /** @throws CarportError with the code of the node's handler, or of the connection. */
  call<N extends OperationName>(operation: N, args: OperationArgs<N>): Promise<OperationResult<N>>
  close(): void | Promise<void>
}

/** A command's result, for machines and for people. */
export interface Output {
  json: unknown
  text: string
}

/** The result of a command that prints nothing. */
export const SILENT: Output = { json: undefined, text: '' }

/** A command's failure: one line, which says what to do. */
export class CliError extends Error {
  override readonly name = 'CliError'

  constructor(
    message: string,
    /** The result to print although the command failed. */
    readonly output?: Output,
  ) {
    super(message)
  }
}

/** The command line itself is wrong, or lacks a confirmation; nothing was changed. */
export class UsageError extends CliError {}
