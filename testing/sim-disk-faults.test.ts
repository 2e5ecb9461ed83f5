import { describe, expect, it } from 'vitest'
import { SeededRandom } from './seeded-random.js'
import type { SimNode } from './sim-cluster.js'
import { fullDisk, rot, slowDisk } from './sim-disk-faults.js'
import { bucketOn, copyOn, get, onCluster, put } from './sim-histories.js'

const GRACES = { unreferencedMs: 60_000, unclaimedMs: 3600_000 }
const CONTENT = Buffer.alloc(40_000, 'content')

describe('faults of disks', () => {
  it('rot: whatever flips on one node, others answer, and the scrub mends it', async () => {
    await onCluster({ graces: GRACES }, async (c) => {
      const [a, , rotten] = c.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, a)
      for (let i = 0; i < 5; i++) await put(a, bucket, `key-${i}`, CONTENT)
      await c.clock.sleep(10_000)
      const random = new SeededRandom(3)
      for (let i = 0; i < 40; i++) rot(rotten, random)
      const { local } = rotten.core!.model.tables.object
      const { db, disk } = rotten.machine.platform!
      const isIntact = (key: string) => local.getIntact(db, bucket, Buffer.from(key)) !== undefined
      const keys = Array.from({ length: 5 }, (_, i) => `key-${i}`)
      expect(keys.filter(isIntact).length).toBeLessThan(5)
      for (const key of keys) expect(await get(rotten, bucket, key)).toMatch(/^40000 bytes/)
      await rotten.core!.blocks.scrub.begin()
      await c.clock.sleep(30 * 60_000)
      expect(keys.filter(isIntact)).toEqual(keys)
      expect(disk.paths().some((path) => path.endsWith('.corrupted'))).toBe(true)
    })
  })

  it('a full disk takes no row, until there is room; the others do', async () => {
    await onCluster({ graces: GRACES }, async (c) => {
      const [a, , full] = c.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, a)
      const empty = fullDisk(full)
      await put(a, bucket, 'key', 'written')
      await c.clock.sleep(1000)
      expect(copyOn(full, bucket, 'key')).toBe('-')
      empty()
      await c.clock.sleep(120_000)
      expect(copyOn(full, bucket, 'key')).toBe('object')
    })
  })

  it('a slow disk answers late, and a restart ends it', async () => {
    await onCluster({ graces: GRACES, nodes: 1, zones: 1, replicationFactor: 1 }, async (c) => {
      const [node] = c.nodes as [SimNode]
      const bucket = await bucketOn(c, node)
      const timeOf = async () => {
        const startMs = c.clock.monotonicMs()
        await put(node, bucket, 'key', CONTENT)
        return c.clock.monotonicMs() - startMs
      }
      const quickMs = await timeOf()
      slowDisk(node, new SeededRandom(1))
      expect(await timeOf()).toBeGreaterThan(quickMs + 10)
      c.crash(node, 'process')
      await c.boot(node)
      expect(await timeOf()).toBeLessThan(quickMs * 3)
    })
  })
})
