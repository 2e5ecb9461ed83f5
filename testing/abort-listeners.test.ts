import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AbortListeners } from './abort-listeners.js'
import { SimCluster, type SimNode } from './sim-cluster.js'

const BLOCK_BYTES = 4096
const HOUR_MS = 3_600_000
/** More than the blocks that are deleted at a time by all workers. */
const OBJECTS = 300

let listeners: AbortListeners | undefined
const warnings: string[] = []
const onWarning = ({ name, message }: Error) => {
  if (name === 'MaxListenersExceededWarning') warnings.push(message)
}

beforeEach(() => {
  process.on('warning', onWarning)
})

afterEach(() => {
  process.off('warning', onWarning)
  listeners?.stop()
})

/** The services of a node live as long as it does, and so do the signals that end them. */
describe('listeners for the end of a service', { timeout: 180_000 }, () => {
  it('go when what they wait for is done: writes, reads, deletions, a new layout, and the moving of blocks', async () => {
    const watch = new AbortListeners().start()
    listeners = watch
    const cluster = new SimCluster({
      seed: 4,
      nodes: 3,
      zones: 3,
      replicationFactor: 3,
      blockBytes: BLOCK_BYTES,
      clockSkewMs: 0,
      path: { latencyMs: 20, jitterMs: 1, lossShare: 0, bytesPerMs: 10_000 },
      tables: {},
      graces: { unreferencedMs: 600_000, unclaimedMs: 24 * HOUR_MS },
    })
    await cluster.clock.runUntil(
      (async () => {
        await cluster.start()
        const [a, b, c] = cluster.nodes as [SimNode, SimNode, SimNode]
        const { model } = a.core!
        const bucket = (await model.buckets.create('bucket')).id
        const put = async (key: string) => {
          const body = Buffer.alloc(2 * BLOCK_BYTES, key)
          const source = {
            length: body.length,
            readAll: async () => body,
            async *stream() {
              yield body
            },
          }
          const stored = await model.blobs.write(source, { inline: false })
          const version = { bucket, key: Buffer.from(key), etag: stored.md5, etagParts: 0, owner: '' }
          await model.objects.put({ ...version, headers: {}, metadata: {}, mutable: {} }, stored, 'off')
        }
        const keys = Array.from({ length: OBJECTS }, (_, i) => `key ${i}`)
        await Promise.all(keys.map(put))
        await Promise.all(
          keys.map(async (key) => {
            const version = await b.core!.model.objects.get(bucket, Buffer.from(key))
            for await (const _ of b.core!.model.blobs.read(version!, 0, version!.size));
          }),
        )
        const fresh = await cluster.grow()
        await cluster.changeLayout(
          [
            { node: fresh.id, role: { zone: c.zone, capacityBytes: 1e12, tags: [] } },
            { node: c.id, role: null },
          ],
          a,
        )
        await cluster.clock.sleep(6 * HOUR_MS)
        await Promise.all(keys.map((key) => model.objects.delete(bucket, Buffer.from(key), '', 'off')))
        await cluster.clock.sleep(30 * HOUR_MS)
        // There were more than Node takes for a leak, so the test would notice one.
        expect(watch.most).toBeGreaterThan(10)
        // An idle service may wait, by one listener.
        expect(watch.counts()[0] ?? 0).toBeLessThanOrEqual(1)
        expect(warnings).toEqual([])
      })(),
      100 * HOUR_MS,
    )
  })
})
