/** Faults that are aimed at the replicas of one bucket, so that these come to differ. */
import type { SeededRandom } from './seeded-random.js'
import type { SimCluster, SimNode } from './sim-cluster.js'

/** The nodes as they stand to a bucket, in an order that is drawn. */
export interface Roles {
  /** Those that have its rows: three. */
  replicas: readonly [SimNode, SimNode, SimNode]
  /** The others. */
  without: readonly SimNode[]
}

/** Whether a node, which is up, has the rows of a bucket. */
export function hasCopy({ core, id }: SimNode, bucket: Buffer): boolean {
  const { tables } = core!.model
  return core!.cluster.layout.view.storageSet(tables.object.schema.partition(bucket)).includes(id)
}

/** Undefined unless all nodes are up and the bucket is on three of them. */
export function rolesOf(cluster: SimCluster, bucket: Buffer, random: SeededRandom): Roles | undefined {
  const { nodes } = cluster
  if (!nodes.every(({ ready }) => ready)) return undefined
  const replicas = shuffled(
    nodes.filter((node) => hasCopy(node, bucket)),
    random,
  )
  if (replicas.length !== 3) return undefined
  return {
    replicas: replicas as [SimNode, SimNode, SimNode],
    without: nodes.filter((node) => !replicas.includes(node)),
  }
}

/**
 * Cuts paths so that each node reaches two replicas or more, and not all nodes the same two: what is written by a node without a
 * copy misses one replica, and each of the two that have it lists together with that one. @returns what mends it
 */
export function cutPaths({ network }: SimCluster, { replicas, without }: Roles): () => void {
  const [first, missing, second] = replicas
  const heal = [network.partition([first.id], [second.id]), network.partition([missing.id], idsOf(without))]
  return () => {
    for (const fn of heal) fn()
  }
}

/** Share of the paths to replicas on which messages come late, beside those of one sender. */
const LATE_SHARE = 0.2

/**
 * Keeps messages back that some nodes send to some of the replicas; they arrive once that is over. Of one sender, one replica at the
 * most gets them at once. @returns what mends it
 */
export function delaySome(
  { network, nodes }: SimCluster,
  { replicas }: Roles,
  random: SeededRandom,
): () => void {
  const sender = random.pick(nodes)
  // The order of the replicas is drawn: of three, a node without a copy reaches the last one, and another one itself.
  const heal = nodes.map((from) => {
    const others = replicas.filter((to) => to !== from)
    const late = from === sender ? others.slice(0, 2) : others.filter(() => random.chance(LATE_SHARE))
    return network.block([from.id], idsOf(late))
  })
  return () => {
    for (const fn of heal) fn()
  }
}

/**
 * Cuts paths so that a replica hears of one node only, which has no copy, asks that replica first, and does not reach another one: what
 * others write, it has to be told by the third. @returns what mends it
 */
export function partViews({ network, nodes }: SimCluster, { replicas, without }: Roles): () => void {
  const writer = without[0]!
  const [behind, away] = writer.core!.quorum.nearestFirst(idsOf(replicas)) as [string, string]
  const others = idsOf(nodes).filter((node) => node !== behind && node !== writer.id)
  const heal = [network.partition([behind], others), network.partition([writer.id], [away])]
  // It knows that this one is away, and so asks for the time of what it is about to write.
  writer.machine.platform!.transport.disconnect(away)
  return () => {
    for (const fn of heal) fn()
  }
}

/** Cuts one node off from all others. @returns what mends it */
export function isolate({ network, nodes }: SimCluster, node: SimNode): () => void {
  return network.partition([node.id], idsOf(nodes.filter((other) => other !== node)))
}

/**
 * Parts the replica that has all from one that missed writes and one that lost its database. Nodes without a copy are on either
 * side. @returns what mends it
 */
export function partFromLone(
  { network }: SimCluster,
  { replicas, without }: Roles,
  random: SeededRandom,
): () => void {
  const [lost, behind, lone] = replicas
  const near: SimNode[] = [lost, behind]
  const far: SimNode[] = [lone]
  for (const node of without) (random.chance(0.5) ? near : far).push(node)
  return network.partition(idsOf(near), idsOf(far))
}

function idsOf(nodes: readonly SimNode[]): string[] {
  return nodes.map(({ id }) => id)
}

function shuffled<T>(items: readonly T[], random: SeededRandom): T[] {
  const left = [...items]
  const order: T[] = []
  while (left.length > 0) order.push(left.splice(random.below(left.length), 1)[0]!)
  return order
}
