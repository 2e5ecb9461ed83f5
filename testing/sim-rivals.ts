/** Two administrators who do not hear of each other, and so apply two layouts under one number. */
import type { RoleChange } from '../src/cluster/layout-manager.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import type { Coverage } from './sim-coverage.js'

/** How often each of them tries, and the time between two attempts, in ms. */
const ATTEMPTS = 10
const AGAIN_MS = 500

export interface RivalsOptions {
  cluster: SimCluster
  random: SeededRandom
  coverage: Coverage
  /** What each of the two applies. */
  changes: readonly [readonly RoleChange[], readonly RoleChange[]]
  /** Is called before they hear of each other, with the nodes that the layout which loses was the first one to give a role to. */
  onLost(newcomers: readonly SimNode[]): void
}

/**
 * Parts the cluster in two, and has each half apply its change as the next version; or has both done at the same moment, before
 * news of the one reaches the other. Resolves once the paths are healed again; which of the two layouts stays is still open then.
 */
export async function applyAsRivals(options: RivalsOptions): Promise<void> {
  const { cluster, random, coverage, changes } = options
  const { clock, network } = cluster
  const sides = sidesOf(options)
  const [left, right] = sides.map((nodes) => nodes.map(({ id }) => id)) as [string[], string[]]
  const version = 1 + Math.max(...cluster.readyNodes().map(({ core }) => core!.cluster.layout.layoutVersion))
  const cutMs = random.pick([0, 3000, 12_000, 30_000])
  const heal = cutMs > 0 ? network.partition(left, right) : () => {}
  const over = coverage.fault('rivals')
  await Promise.all(
    sides.map((nodes, i) => applyOn(cluster, random.fork(`side ${i}`), nodes, changes[i]!, version)),
  )
  coverage.lookAtLayouts(cluster)
  await clock.sleep(random.float() * cutMs)
  const stamps = sides.map((nodes) => stampOn(nodes, version))
  const lost = stamps[0]! < stamps[1]! ? 0 : 1
  const joined = changes[lost]!.filter(({ role }) => role !== null).map(({ node }) => node)
  options.onLost(sides[lost]!.filter(({ id }) => joined.includes(id)))
  heal()
  over()
}

/** The nodes on each side: newcomers with those who give them a role, and members on either one. */
function sidesOf({ cluster, random, changes }: RivalsOptions): [SimNode[], SimNode[]] {
  const sides: [SimNode[], SimNode[]] = [[], []]
  const left = [...cluster.nodes]
  let members = 0
  while (left.length > 0) {
    const node = left.splice(random.below(left.length), 1)[0]!
    const at = changes.findIndex((roles) => roles.some((each) => each.node === node.id && each.role !== null))
    // Both have one member at least.
    if (at < 0) sides[members < 2 ? members++ : random.below(2)]!.push(node)
    else sides[at]!.push(node)
  }
  return sides
}

/** Has a member on one side apply roles as that version, unless one there has heard of such a version. Tries a few times. */
async function applyOn(
  cluster: SimCluster,
  random: SeededRandom,
  nodes: readonly SimNode[],
  roles: readonly RoleChange[],
  version: number,
): Promise<void> {
  for (let i = 0; i < ATTEMPTS; i++) {
    const ready = nodes.filter(({ ready }) => ready)
    if (ready.some(({ core }) => core!.cluster.layout.layoutVersion >= version)) return
    const able = ready.filter(({ core }) => {
      const { layout } = core!.cluster
      return layout.layoutVersion === version - 1 && layout.view.mayCoordinate
    })
    const by = able.length > 0 ? random.pick(able) : undefined
    if (by) {
      const { layout } = by.core!.cluster
      // Neither waits until the others have heard of what is staged.
      const applied = layout.stage({ roles }).then(() => layout.applyStaged(version))
      const isApplied = await cluster.surviving(by, applied).then(
        () => true,
        () => false,
      )
      if (isApplied) return
    }
    await cluster.clock.sleep(AGAIN_MS)
  }
}

/** The stamp of a version as the nodes that are up know it; 0 if none of them does. */
function stampOn(nodes: readonly SimNode[], version: number): number {
  const live = nodes.flatMap(({ core }) => core?.cluster.layout.history.versions ?? [])
  return Math.max(0, ...live.filter((each) => each.version === version).map(({ stamp }) => stamp))
}
