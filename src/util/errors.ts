/**
 * The codes that domain code throws. Each API maps them to its own code, status and body in one table;
 * errors that belong to one API (S3's `NoSuchKey` and the like) are made by that API.
 */
export type ErrorCode =
  | 'QuorumUnavailable' // too few replicas answered; `cause` holds the first failure
  | 'Timeout' // a deadline passed
  | 'PeerUnreachable' // no link to that node, or it broke during the call
  | 'RemoteError' // the peer answered with an unexpected failure
  | 'LayoutOutdated' // the caller writes with a layout that no other node uses any more
  | 'LayoutNotReady' // no layout applied, or this node does not know it yet
  | 'NotCaughtUp' // this node's copy is new, or went back, and was not compared with enough others yet
  | 'ClockSkew' // a row's time is too far ahead, or this node's clock is too far off to give rows one
  | 'StorageFull' // the reserve of free space is reached; writes refused, deletes still served
  | 'BlockMissing' // no replica has the block, or none intact
  | 'Corrupted' // stored bytes do not match their checksum
  | 'InvalidArgument' // the caller's fault, outside of S3's own codes
  | 'NotSupported' // another node runs a release that does not know what is asked for
  | 'NotFound'
  | 'Conflict'
  | 'Closed' // the node is shutting down
  | 'Internal' // a mistake of the program, found by an assertion before it did harm

/** The one error type of the domain layers. Callers decide by `code`, never by message. */
export class CarportError extends Error {
  override readonly name = 'CarportError'

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options)
  }
}

/**
 * An error that is an answer to a client rather than a fault of the program. It has no stack: nobody would read it, and to
 * collect it took a tenth of the time of a 404, of which a client may ask for thousands a second. What is behind it is its `cause`.
 */
export abstract class AnswerError extends Error {
  constructor(message?: string, options?: { cause?: unknown }) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** The code of a CarportError, else undefined. */
export function errorCode(error: unknown): ErrorCode | undefined {
  return error instanceof CarportError ? error.code : undefined
}

/** What a thrown value says, which may be no Error. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
