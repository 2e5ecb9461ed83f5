import { describe, expect, it } from 'vitest'
import { setCounts } from '../src/model/buckets/counters.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { SeededRandom } from './seeded-random.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { bucketOn, onCluster, put, remove } from './sim-histories.js'
import { Watch } from './sim-watch.js'
import type { Workload } from './sim-workload.js'

const GRACES = { unreferencedMs: 60_000, unclaimedMs: 3600_000 }

/** A watch over one key of a new bucket, which has a version that was acknowledged. */
async function watched(c: SimCluster, key: string, bytes: number) {
  const [node] = c.nodes as [SimNode]
  const bucket = await bucketOn(c, node)
  const version = await put(node, bucket, key, Buffer.alloc(bytes, 1))
  const problems: string[] = []
  const of = { id: bucket } as Workload['bucket']
  const w = {
    ...{ cluster: c, problems, bucket: of, keys: [key], versionedBucket: of, versionedKeys: [key] },
    versions: new Map<string, { key: string; version: VersionRecord }>([['v', { key, version }]]),
    lookEveryMs: 500,
  } as unknown as Workload
  const watch = new Watch(w, new SeededRandom(1))
  const lookAtAll = () => {
    for (const each of c.readyNodes()) watch.lookAt(each, bucket, key)
    for (let i = 0; i < 200; i++) watch.look()
  }
  const { local } = node.core!.model.tables.object
  const rowKey = local.codec.keyOf(bucket, Buffer.from(key))
  return { node, bucket, problems, lookAtAll, rowKey, tree: local.trees.head, db: node.machine.platform!.db }
}

describe('the watch over replicas', () => {
  it('has nothing to tell of writes, deletions and restarts', async () => {
    await onCluster({ graces: GRACES }, async (c) => {
      const { node, bucket, problems, lookAtAll } = await watched(c, 'key', 20_000)
      for (let i = 0; i < 3; i++) {
        await put(node, bucket, 'key', `content ${i}`)
        lookAtAll()
      }
      c.crash(c.nodes[1]!, 'machine')
      lookAtAll()
      await remove(node, bucket, 'key')
      lookAtAll()
      await c.boot(c.nodes[1]!)
      await c.clock.sleep(10_000)
      lookAtAll()
      expect(problems).toEqual([])
    })
  })

  it('tells of a row that went back or is gone, on one node', async () => {
    await onCluster({ graces: GRACES }, async (c) => {
      const { node, bucket, problems, lookAtAll, rowKey, tree, db } = await watched(c, 'key', 100)
      const earlier = db.get(tree, rowKey)!
      await put(node, bucket, 'key', 'later')
      lookAtAll()
      expect(problems).toEqual([])
      const later = db.get(tree, rowKey)!
      await db.transact((tx) => tx.put(tree, rowKey, earlier))
      lookAtAll()
      expect(problems.join()).toMatch(/node0, key: the row (went back|is gone)/)
      problems.length = 0
      await db.transact((tx) => tx.put(tree, rowKey, later))
      lookAtAll()
      problems.length = 0
      await db.transact((tx) => tx.delete(tree, rowKey))
      lookAtAll()
      expect(problems[0]).toMatch(/node0, key: the row of \d+ is gone/)
    })
  })

  it('tells of a block of an acknowledged version that is on no disk', async () => {
    await onCluster({ graces: GRACES }, async (c) => {
      const { problems, lookAtAll } = await watched(c, 'key', 20_000)
      const paths = c.nodes.map(({ machine }) => machine.platform!.disk.paths())
      const [lost] = paths[0]!
      for (const { machine } of c.nodes.slice(1)) await machine.platform!.disk.remove(lost!)
      lookAtAll()
      expect(problems).toEqual([])
      await c.nodes[0]!.machine.platform!.disk.remove(lost!)
      lookAtAll()
      expect(problems[0]).toMatch(/block \w+ of an acknowledged version of key is on no disk/)
    })
  })

  it('tells of counters that are not what is there', async () => {
    await onCluster({ graces: GRACES }, async (c) => {
      const { bucket, problems, lookAtAll, db } = await watched(c, 'key', 100)
      const wrong = { objects: 2, bytes: 0, noncurrent: 0, uploads: 0, uploadBytes: 0, parts: 0, markers: 0 }
      await db.transact((tx) => setCounts(tx, bucket, wrong))
      lookAtAll()
      expect(problems[0]).toMatch(/^node0, bucket \w+: counters .*"objects":2/)
    })
  })
})
