import { expect, it } from 'vitest'
import { roleOf, type SimNode } from './sim-cluster.js'
import { liveLayouts, onCluster, waitUntil } from './sim-histories.js'

/** Of two copies that join at the same time, the first comparison often finds one that is not whole yet. */
it('copies that were not ready are compared again when that is due, not at a later look', {
  timeout: 60_000,
}, async () => {
  await onCluster({ nodes: 5, zones: 5, tables: { syncSoonMs: 100 } }, async (cluster) => {
    const newcomers = [await cluster.grow(), await cluster.grow()]
    const [first, ...leavers] = cluster.nodes.slice(0, 3) as [SimNode, SimNode, SimNode]
    await cluster.changeLayout(
      [
        ...newcomers.map((node) => ({ node: node.id, role: roleOf(node) })),
        ...leavers.map((node) => ({ node: node.id, role: null })),
      ],
      first,
    )
    const beganMs = cluster.clock.monotonicMs()
    const isThrough = () => cluster.nodes.every((node) => liveLayouts(node).join() === '2')
    await waitUntil(cluster, 'only the new layout is live', isThrough, 60_000)
    expect(cluster.clock.monotonicMs() - beganMs).toBeLessThan(4000)
  })
})
