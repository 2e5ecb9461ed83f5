/**
 * A rolling upgrade: some nodes begin as those of the first release (sim-first-release.ts), and are upgraded one after the other
 * while clients work and things break.
 */
import type { SeededRandom } from './seeded-random.js'
import type { SimCluster } from './sim-cluster.js'
import type { Coverage } from './sim-coverage.js'
import type { Pace } from './sim-pace.js'

/** Upgrades one node after the other, at moments of load, `everyMs` apart on average. Resolves when all are. */
export async function upgradeAll({
  cluster,
  random,
  pace,
  everyMs,
  coverage,
}: {
  cluster: SimCluster
  random: SeededRandom
  pace: Pace
  everyMs: number
  coverage: Coverage
}): Promise<void> {
  const { clock } = cluster
  for (const node of cluster.nodes.filter(({ isEarlier }) => isEarlier)) {
    const over = coverage.fault('a node of the first release')
    await clock.sleep(pace.untilLoad(clock.monotonicMs(), random.exponential(everyMs)))
    // One that is down is started first by whoever took it down.
    while (!node.ready) await clock.sleep(100)
    cluster.crash(node, random.pick(['process', 'machine']))
    node.isEarlier = false
    node.hasEarlierRows = true
    await clock.sleep(500 + random.float() * 5000)
    await cluster.boot(node)
    over()
  }
}
