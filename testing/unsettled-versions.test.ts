/**
 * Histories of versions in a bucket with versioning that were written on a condition by a node which did not get its votes.
 * Invariant: what is no version in the end is told by no event, and listed only until the replicas can tell.
 */
import { expect, it } from 'vitest'
import { replicaOrder } from '../src/cluster/partition-leader.js'
import { LINEAGE_MAX } from '../src/model/versions/chain.js'
import { ACCEPT, begin, interpose, KEY, md5, promise, replace } from './conditional-histories.js'
import type { SimNode } from './sim-cluster.js'
import { EVENT_RULE, notingTarget } from './sim-events.js'
import { cut, etagsListed, getWhenServed, onCluster, put } from './sim-histories.js'

const VERSIONED = { versioning: 'enabled' } as const

it('no event tells of a write that one replica took and a plain one covers, while its coordinator does not know yet', async () => {
  const told: string[] = []
  const events = () => ({ targets: [notingTarget(told)], region: 'r', hostId: 'h' })
  await onCluster({ events, tables: { tombstoneDelayMs: 20_000 } }, async (c) => {
    const { nodes, bucket } = await begin(c)
    // The one that delivers first: no other one asks while the coordinator goes on.
    const [first] = replicaOrder(nodes[0].core!.cluster.layout, bucket[0]!)
    const a = nodes.find(({ id }) => id === first)!
    const [b, third] = nodes.filter((node) => node !== a) as [SimNode, SimNode]
    const { buckets } = a.core!.model
    await buckets.setDocument(buckets.byId(bucket)!, 'notification', [EVENT_RULE])
    await c.clock.sleep(5000)
    interpose(a, {
      [ACCEPT]: async (send) => {
        await promise(b, [b, third], bucket)
        await send().finally(async () => {
          await put(b, bucket, KEY, 'plain', 'enabled')
          await c.clock.sleep(8000)
        })
      },
    })
    expect(await replace(c, a, bucket, 'base', 'mine', VERSIONED)).toBe('refused')
    await c.clock.sleep(300_000)
    expect(told).toContain(md5('plain').toString('hex'))
    expect(told).not.toContain(md5('mine').toString('hex'))
    // What took effect is told, also if its version, and then the tombstone of that, is gone before all is certain.
    expect(await replace(c, a, bucket, 'plain', 'more', VERSIONED)).toBe('done')
    const { objects } = b.core!.model
    const more = (await objects.get(bucket, Buffer.from(KEY)))!
    await put(b, bucket, KEY, 'last', 'enabled')
    await objects.deleteVersion(bucket, Buffer.from(KEY), more.id)
    await c.clock.sleep(300_000)
    expect(told).toContain(md5('more').toString('hex'))
  })
})

/** Writes on a condition that one node misses: more than the rows of their chain tell of. */
const MISSED = LINEAGE_MAX + 4

it('a version that one replica took and nobody finished goes soon after its node is back, though it missed many writes', async () => {
  await onCluster({}, async (c) => {
    const { nodes, bucket } = await begin(c)
    const [a, b, third] = nodes
    let heal = () => {}
    interpose(third, {
      [ACCEPT]: async (send) => {
        heal = cut(c, [third], [a, b])
        await send()
      },
    })
    expect(await replace(c, third, bucket, 'base', 'mine', VERSIONED)).toBe('QuorumUnavailable')
    let content = 'base'
    for (let i = 0; i < MISSED; i++) {
      expect(await replace(c, a, bucket, content, `${i}`, VERSIONED)).toBe('done')
      content = `${i}`
    }
    const won = ['base', ...Array.from({ length: MISSED }, (_, i) => `${i}`)].map((each) =>
      md5(each).toString('hex'),
    )
    await c.clock.sleep(10_000)
    heal()
    expect(await getWhenServed(c, third, bucket, KEY)).toBe(content)
    await c.clock.sleep(10_000)
    for (const node of nodes) expect(await etagsListed(node, bucket, KEY)).toEqual(won.sort())
  })
})
