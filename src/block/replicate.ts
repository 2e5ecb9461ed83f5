import type { NodeId } from '../net/transport.js'
import { CarportError, messageOf } from '../util/errors.js'

export interface Replication {
  /** Resolves when each set has its quorum; rejects with QuorumUnavailable as soon as one no longer can. */
  acknowledged: Promise<void>
  /** Resolves when every node has succeeded or failed. */
  finished: Promise<void>
}

/**
 * Sends something to every node of every set, once per node. Unlike QuorumCaller.write it tells when the last node is
 * through, which is when the memory of a block is free again, and lets the caller abort the remaining calls.
 */
export function replicate(
  sets: readonly (readonly NodeId[])[],
  quorum: number,
  send: (node: NodeId) => Promise<unknown>,
  onFailure: (node: NodeId, error: unknown) => void,
): Replication {
  const successes = sets.map(() => 0)
  const failures = sets.map(() => 0)
  const nodes = new Set(sets.flat())
  let open = sets.length
  let pending = nodes.size
  let acknowledge!: () => void
  let refuse!: (error: unknown) => void
  let finish!: () => void
  const acknowledged = new Promise<void>((resolve, reject) => {
    acknowledge = resolve
    refuse = reject
  })
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  if (sets.length === 0 || sets.some((set) => set.length < quorum)) {
    refuse(new CarportError('LayoutNotReady', 'no cluster layout with enough replicas has been applied yet'))
    finish()
    return { acknowledged, finished }
  }
  for (const node of nodes) {
    send(node).then(
      () => {
        sets.forEach((set, i) => {
          if (set.includes(node) && ++successes[i]! === quorum && --open === 0) acknowledge()
        })
        if (--pending === 0) finish()
      },
      (error) => {
        onFailure(node, error)
        sets.forEach((set, i) => {
          if (set.includes(node) && ++failures[i]! > set.length - quorum)
            refuse(unavailable(successes[i]!, quorum, error))
        })
        if (--pending === 0) finish()
      },
    )
  }
  return { acknowledged, finished }
}

/** The error for the writer. Replicas that are all full are not an outage: the last error's code tells that. */
function unavailable(got: number, needed: number, cause: unknown): CarportError {
  if (cause instanceof CarportError && cause.code === 'StorageFull') return cause
  const why = messageOf(cause)
  return new CarportError('QuorumUnavailable', `the block is on ${got} of ${needed} replicas: ${why}`, {
    cause,
  })
}
