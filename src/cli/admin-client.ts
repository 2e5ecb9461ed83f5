import type { OperationArgs, OperationName, OperationResult } from '../api/admin/operations.js'

/** What a command may ask of a node. */
export interface AdminClient {
  /** @throws CarportError with the code of the node's handler, or of the connection. */
  call<N extends OperationName>(operation: N, args: OperationArgs<N>): Promise<OperationResult<N>>
  close(): void | Promise<void>
}

/** What a command has to say: for machines and for people. */
export interface Output {
  json: unknown
  text: string
}

/** A command's failure, told in one line that says what to do. */
export class CliError extends Error {
  override readonly name = 'CliError'

  constructor(
    message: string,
    /** What the command has to say although it failed. */
    readonly output?: Output,
  ) {
    super(message)
  }
}
