import { expect, it } from 'vitest'
import { SimCluster } from '../../../testing/sim-cluster.js'
import { md5 } from '../content/hashing.js'

const EMPTY = Buffer.alloc(0)

it('a listing shows nothing that a crash could still take back', async () => {
  const { clock, nodes } = await smallCluster()
  const [node] = nodes
  const { model } = node!.core!
  const { db, transport } = node!.machine.platform!
  const bucket = await clock.runUntil(model.buckets.create('photos'), 10_000)
  const key = Buffer.from('cat')
  const body = Buffer.from('meow')
  const put = model.objects.put(
    {
      ...{ bucket: bucket.id, key, etag: md5(body), etagParts: 0, owner: '' },
      ...{ headers: {}, metadata: {}, mutable: {} },
    },
    { size: body.length, md5: md5(body), body, blocks: [] },
    'off',
  )
  // Committed and visible here, but not yet on the disk.
  while (!model.tables.object.local.get(db, bucket.id, key)) await clock.run(0.01)
  const answers: string[] = []
  const ask = (method: string, ...after: Buffer[]) =>
    transport
      .call(node!.id, method, [bucket.id, EMPTY, EMPTY, EMPTY, ...after, 10, null], { timeoutMs: 1000 })
      .then(() => answers.push(method))
  const asked = Promise.all([ask('model/list'), ask('model/list-versions', EMPTY)])
  await clock.settle()
  expect(answers).toEqual([])
  await clock.runUntil(Promise.all([asked, put]), 10_000)
  expect(answers.toSorted()).toEqual(['model/list', 'model/list-versions'])
})

async function smallCluster(): Promise<SimCluster> {
  const cluster = new SimCluster({
    ...{ seed: 1, nodes: 3, zones: 3, replicationFactor: 3, blockBytes: 4096, clockSkewMs: 0 },
    path: { latencyMs: 10, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    tables: {},
    graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 },
  })
  await cluster.clock.runUntil(cluster.start(), 60_000)
  return cluster
}
