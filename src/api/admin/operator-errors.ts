import { CarportError, type ErrorCode } from '../../util/errors.js'

/** Advice on what an operator can do about a failure; appended to its message. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  QuorumUnavailable: '"carport status" shows which nodes are down',
  Timeout: 'try again; "carport status" shows which nodes are up',
  PeerUnreachable: '"carport status" shows which nodes are up',
  StorageFull: 'free space on this node\'s disks, or add nodes with "carport layout assign"',
  BlockMissing: '"carport block list-errors" shows what is missing',
  Corrupted: "the node's log says what; its other copies are intact as long as quorums answer",
  Closed: 'it is starting or stopping: try again in a moment',
}

/**
 * The form of a failure for operators: the same code, and a message that says what to do. An error other than
 * a CarportError is a fault of the program: its text stays in the log.
 */
export function forOperator(error: unknown, node: string): CarportError {
  if (!(error instanceof CarportError)) {
    return new CarportError('RemoteError', `unexpected failure, see the log of node ${node.slice(0, 16)}`, {
      cause: error,
    })
  }
  if (error.code === 'LayoutNotReady') {
    const message =
      'this node has no role in a cluster layout, so it cannot reach the data: assign one with ' +
      '"carport layout assign", then "carport layout apply"'
    return new CarportError(error.code, message, { cause: error })
  }
  const advice = ADVICE[error.code]
  if (advice === undefined || error.message.includes(advice)) return error
  return new CarportError(error.code, `${error.message}: ${advice}`, { cause: error })
}
