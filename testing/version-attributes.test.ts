/**
 * Histories of attributes of versions that are replaced meanwhile. Invariant: each attribute is a register of its own, which stays
 * with its version: a read shows what was acknowledged before it, or later.
 */
import { describe, expect, it } from 'vitest'
import type { SimNode } from './sim-cluster.js'
import { bucketOn, cut, onCluster, put } from './sim-histories.js'

const KEY = Buffer.from('key')

/** Sets a tag of a version at a node. */
async function tag(node: SimNode, bucket: Buffer, version: Buffer, value: string): Promise<void> {
  const { objects } = node.core!.model
  expect(await objects.update(bucket, KEY, version, () => ({ tags: { t: value } }))).toBeDefined()
}

/** The tag of a version, as a node shows it. */
async function tagOf(node: SimNode, bucket: Buffer, version: Buffer): Promise<string | undefined> {
  const found = await node.core!.model.objects.get(bucket, KEY, version, { body: false })
  return found?.mutable.tags?.[1]?.t
}

describe('tags of a version that is replaced', { timeout: 60_000 }, () => {
  it('are shown by replicas of which one missed the tags, and the other one the replacement', async () => {
    await onCluster({}, async (cluster) => {
      const [x, y, z] = cluster.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(cluster, x)
      const { id } = await put(y, bucket, 'key', 'content', 'enabled')
      await cluster.clock.sleep(1000)
      const missed = cut(cluster, [z], [x, y])
      await tag(y, bucket, id, 'first')
      const alone = cut(cluster, [x], [y, z])
      missed()
      while ((await put(y, bucket, 'key', 'later', 'enabled').catch(() => undefined)) === undefined)
        await cluster.clock.sleep(10)
      cut(cluster, [y], [x, z])
      alone()
      let shown: string | undefined | null = null
      while (shown === null) {
        shown = await tagOf(z, bucket, id).catch(() => null)
        await cluster.clock.sleep(10)
      }
      expect(shown).toBe('first')
    })
  })

  it('take effect once, though the version was replaced while they were written', async () => {
    await onCluster({}, async (cluster) => {
      const [x, y, z] = cluster.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(cluster, x)
      const { id } = await put(y, bucket, 'key', 'content', 'enabled')
      await cluster.clock.sleep(1000)
      let tries = 0
      let isOver = false
      const { objects } = y.core!.model
      const tagged = objects.update(bucket, KEY, id, () => {
        // From now on all that this node sends takes long, and the others replace the version.
        if (tries++ === 0) {
          for (const other of [x, z])
            cluster.network.setPath(y.id, other.id, { ...cluster.options.path, latencyMs: 400 })
          void put(z, bucket, 'key', 'later', 'enabled')
        }
        return { tags: { t: 'first' } }
      })
      void tagged.then(() => {
        isOver = true
      })
      while (tries === 0) await cluster.clock.sleep(10)
      // What has arrived of it is seen, and overwritten, before it is through.
      while ((await tagOf(y, bucket, id)) !== 'first') await cluster.clock.sleep(10)
      await tag(x, bucket, id, 'second')
      expect(isOver).toBe(false)
      await tagged
      expect(tries).toBe(2)
      expect(await tagOf(z, bucket, id)).toBe('second')
    })
  })
})
