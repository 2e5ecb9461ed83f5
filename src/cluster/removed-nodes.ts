import type { NodeId } from '../net/transport.js'
import type { Log } from '../util/log.js'
import type { LayoutManager } from './layout-manager.js'
import type { Peering } from './peering.js'

/** A node that was removed from the layout, and is silent for so long, is not waited for any more, in ms. */
const GONE_AFTER_MS = 5 * 60_000

/**
 * A layout change need not wait for a node that it removed and that does not come back.
 * @param uptimeMs for how long this node runs: before, it cannot have seen another one
 */
export function skipRemovedNodes(layout: LayoutManager, peering: Peering, uptimeMs: number, log: Log): void {
  if (layout.history.versions.length < 2 || !layout.view.mayCoordinate) return
  const peers = new Map(peering.peers().map((peer) => [peer.id, peer]))
  const isGone = (node: NodeId) => {
    if (peering.isUp(node)) return false
    return Math.min(uptimeMs, peers.get(node)?.lastSeenMsAgo ?? uptimeMs) >= GONE_AFTER_MS
  }
  layout.skipRemovedNodes(isGone).then(
    (nodes) => {
      if (nodes.length > 0)
        log.info({ nodes }, 'the layout change goes on without nodes that it removed and that are gone')
    },
    (error: unknown) =>
      log.error({ error: String(error) }, 'could not store the progress of the layout change'),
  )
}
