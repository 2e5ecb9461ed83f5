import { describe, expect, it } from 'vitest'
import { errorCode } from '../src/util/errors.js'
import type { SimNode } from './sim-cluster.js'
import { cut, get, onCluster, put, waitUntil } from './sim-histories.js'

/** How far the clock of the node is ahead which has all that was acknowledged, in ms. */
const AHEAD_MS = 3000

type Role =
  | 'the replica that lost its database'
  | 'the replica that missed the write'
  | 'a node without a copy'

interface History {
  bucket: Buffer
  /** It has what was acknowledged, from a clock that is ahead. */
  lone: SimNode
  lost: SimNode
  by: SimNode
}

/**
 * A write was acknowledged by two replicas, of which one has lost its database since, and joins the others anew.
 * @param reaches whether those who lost nothing reach the one that still has it
 */
async function afterLoss(
  role: Role,
  reaches: boolean,
  history: (h: History) => Promise<void>,
): Promise<void> {
  await onCluster({ nodes: 4, zones: 4 }, async (c) => {
    const { id: bucket } = await c.nodes[0]!.core!.model.buckets.create('bucket')
    await c.clock.sleep(20_000)
    const ids = c.nodes[0]!.core!.cluster.layout.storageSet(bucket[0]!)
    const [lone, lost, behind] = c.nodes.filter(({ id }) => ids.includes(id)) as [SimNode, SimNode, SimNode]
    const without = c.nodes.find(({ id }) => !ids.includes(id))!
    const roles: Record<Role, SimNode> = {
      'the replica that lost its database': lost,
      'the replica that missed the write': behind,
      'a node without a copy': without,
    }
    lone.machine.platform!.clock.offsetMs = AHEAD_MS
    const others = c.nodes.filter((node) => node !== behind)
    const heal = cut(c, [behind], others)
    await put(lone, bucket, 'key', 'first')
    c.crash(lost, 'machine')
    lost.machine.wipe()
    const healLone = cut(c, [lone], reaches ? [lost] : [lost, behind, without])
    heal()
    await c.boot(lost)
    const isConnected = () => lost.core!.cluster.peering.connected().length === 2
    await waitUntil(c, 'it knows what it lost', () => isConnected() && isBlind(lost, bucket), 60_000)
    await c.clock.sleep(1000)
    await history({ bucket, lone, lost, by: roles[role] })
    healLone()
    await waitUntil(c, 'the copy is whole', () => !isBlind(lost, bucket), 10 * 60_000)
    await put(roles[role], bucket, 'key', 'last')
    for (const node of c.nodes) expect(await get(node, bucket, 'key')).toBe('last')
  })
}

function isBlind({ core }: SimNode, bucket: Buffer): boolean {
  return core!.tables.standing.isBlind(bucket[0]!)
}

const ROLES: Role[] = [
  'the replica that lost its database',
  'the replica that missed the write',
  'a node without a copy',
]

/** Clocks are apart, so only what a replica has tells that a write would be earlier than one that was acknowledged. */
describe('a replica that has lost what it acknowledged', () => {
  it.each(ROLES)('does not vouch for the order of a write by %s', async (role) => {
    await afterLoss(role, false, async ({ bucket, by }) => {
      // It would be hidden by the first one, of which nobody within reach knows.
      await expect(put(by, bucket, 'key', 'second')).rejects.toMatchObject({ code: 'QuorumUnavailable' })
    })
  })

  it.each(ROLES.slice(1))('lets a write by %s wait for those who have it', async (role) => {
    await afterLoss(role, true, async ({ bucket, by, lone, lost }) => {
      const write = () => put(by, bucket, 'key', 'second')
      // Before it is known that the copy is not whole, nobody may be left who could decide.
      await write().catch((error: unknown) => {
        expect(role).toBe('a node without a copy')
        expect(errorCode(error)).toBe('QuorumUnavailable')
        return write()
      })
      expect(isBlind(lost, bucket)).toBe(true)
      expect(await get(lone, bucket, 'key')).toBe('second')
    })
  })
})
