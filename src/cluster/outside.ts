import type { NodeId, RpcReply } from '../net/transport.js'
import type { Placement, QuorumCaller, QuorumCallOptions } from './placement.js'

/** Whether this node has no role in the layout that it knows: it may ask no quorum, and asks a member to do so. */
export function isOutside(placement: Placement): boolean {
  return placement.layoutVersion > 0 && placement.controlSets().length === 0
}

/**
 * Calls other nodes one after the other, the nearest first, until one answers.
 * @throws the error of the last that was asked, or at once if the signal aborts; `none` if there are no others
 */
export async function callNearest(
  caller: QuorumCaller,
  nodes: readonly NodeId[],
  method: string,
  body: unknown,
  options: QuorumCallOptions & { signal?: AbortSignal },
  none: Error,
): Promise<RpcReply> {
  let failure: unknown = none
  for (const node of caller.nearestFirst(nodes)) {
    if (node === caller.self) continue
    try {
      return await caller.call(node, method, body, options)
    } catch (error) {
      if (options.signal?.aborted) throw error
      failure = error
    }
  }
  throw failure
}
