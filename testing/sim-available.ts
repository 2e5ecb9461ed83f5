import type { Workload } from './sim-workload.js'

const TRIES = 4

/**
 * Checks that requests succeed at every node, each at its first try, while nothing is wrong. Who has read a row can tell that
 * its own write comes later, however far clocks are apart: so no write has to be made a second time.
 */
export async function checkAvailable(w: Workload): Promise<string[]> {
  const problems: string[] = []
  const { replicationFactor } = w.cluster.options
  for (let i = 0; i < TRIES; i++) {
    const key = Buffer.from(`available/${i}`)
    // A node writes a second after the one before it: a clock that is behind by more than that must have learned from the read.
    for (const node of w.cluster.nodes) {
      const { model, cluster } = node.core!
      if (!cluster.layout.view.mayCoordinate) continue
      try {
        await model.objects.get(w.bucket.id, key)
        // The last copy of the write before may still be on its way.
        await w.cluster.clock.sleep(1000)
        const before = w.coverage.rowsSent
        await model.objects.delete(w.bucket.id, key, '', 'off')
        const sent = w.coverage.rowsSent - before
        if (sent > replicationFactor)
          problems.push(`node${node.index} wrote a row again though all is well: ${sent} calls`)
        await model.objects.get(w.bucket.id, key)
      } catch (error) {
        problems.push(`node${node.index} refuses a request though all is well: ${String(error)}`)
      }
    }
  }
  return problems
}
