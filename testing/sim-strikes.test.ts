import { expect, it } from 'vitest'
import { SeededRandom } from './seeded-random.js'
import { cutPaths, hasCopy, isolate, partFromLone, rolesOf } from './sim-aimed-faults.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { bucketOn, onCluster } from './sim-histories.js'
import { Script } from './sim-script.js'
import { type StrikeOptions, Strikes } from './sim-strikes.js'

const FIVE = { nodes: 5, zones: 5 }
/** The longest that a cluster's start takes on a busy machine, in ms. */
const TIMEOUT_MS = 180_000

/** The pairs of nodes, by their indices, of which the first cannot send anything to the second. */
function blocked({ network, nodes }: SimCluster): string[] {
  return nodes.flatMap((a) =>
    nodes.filter((b) => network.isBlocked(a.id, b.id)).map((b) => `${a.index}>${b.index}`),
  )
}

function bothWays(left: readonly SimNode[], right: readonly SimNode[]): string[] {
  return left.flatMap((a) => right.flatMap((b) => [`${a.index}>${b.index}`, `${b.index}>${a.index}`]))
}

it('aimed faults part the three replicas of a bucket, and heal', { timeout: TIMEOUT_MS }, () =>
  onCluster(FIVE, async (cluster) => {
    const bucket = await bucketOn(cluster, cluster.nodes[0]!)
    const random = new SeededRandom(1)
    const roles = rolesOf(cluster, bucket, random)!
    const [first, second, third] = roles.replicas
    expect(roles.replicas.every((node) => hasCopy(node, bucket))).toBe(true)
    expect(roles.without).toHaveLength(2)
    expect(roles.without.some((node) => hasCopy(node, bucket))).toBe(false)

    const healPaths = cutPaths(cluster, roles)
    const cut = [...bothWays([first], [third]), ...bothWays([second], roles.without)]
    expect(blocked(cluster).sort()).toEqual(cut.sort())
    healPaths()

    const healOne = isolate(cluster, second)
    const others = cluster.nodes.filter((node) => node !== second)
    expect(blocked(cluster).sort()).toEqual(bothWays([second], others).sort())
    healOne()

    const healParts = partFromLone(cluster, roles, random)
    const parted = blocked(cluster)
    expect(parted).toEqual(expect.arrayContaining(bothWays([first, second], [third])))
    expect(parted).not.toEqual(expect.arrayContaining(bothWays([first], [second])))
    healParts()
    expect(blocked(cluster)).toEqual([])

    cluster.crash(first, 'process')
    expect(rolesOf(cluster, bucket, random)).toBeUndefined()
  }),
)

it(
  'nodes are struck as a read shows what is not acknowledged, and as one replica hears of a deletion',
  { timeout: TIMEOUT_MS },
  () =>
    onCluster(FIVE, async (cluster) => {
      const bucket = await bucketOn(cluster, cluster.nodes[0]!)
      const roles = rolesOf(cluster, bucket, new SeededRandom(1))!
      const struck: string[] = []
      const strikesWith = (options: Partial<StrikeOptions>) =>
        new Strikes(
          cluster,
          new Script(),
          { strikeShare: 0, promiseStrikeShare: 0, bucket, ...options },
          {
            isOver: false,
            mayStrike: true,
            draw: (name) => new SeededRandom(name),
            strike: (name, nodes) => struck.push(`${name}: ${nodes.map(({ index }) => index).join()}`),
          },
        )
      const always = strikesWith({ earlyReadStrikeShare: 1, deletionStrikeShare: 1, writeStrikeShare: 1 })
      always.onEarlyRead('client0/1')
      expect(struck.splice(0)).toEqual(['blackout at an early read: 0,1,2,3,4'])

      const [by] = roles.without as [SimNode]
      const [replica] = roles.replicas
      const [from, to] = [by.id.slice(0, 8), replica.id.slice(0, 8)]
      always.onDeletion(replica, 'client0/2')
      always.traced(`1.000 table/object/insert ${to} > ${from}`)
      always.onDeletion(by, 'client0/3')
      always.traced(`2.000 answer to table/object/insert ${from} > ${to}`)
      always.traced(`3.000 table/object/get ${from} > ${to}`)
      expect(struck).toEqual([])
      always.traced(`4.000 table/object/insert ${from} > ${to}`)
      always.traced(`5.000 table/object/insert ${from} > ${to}`)
      expect(struck.splice(0)).toEqual([`death after a deletion: ${by.index}`])

      always.onAcknowledged(by, 'client0/4', false)
      expect(struck).toEqual([])
      always.onAcknowledged(by, 'client0/5', true)
      expect(struck.splice(0)).toHaveLength(1)

      const never = strikesWith({})
      never.onEarlyRead('client0/1')
      never.onDeletion(by, 'client0/3')
      never.traced(`4.000 table/object/insert ${from} > ${to}`)
      never.onAcknowledged(by, 'client0/5', true)
      expect(struck).toEqual([])
    }),
)
