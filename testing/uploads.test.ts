import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { BodySource } from '../src/model/content/blobs.js'
import { roleOf, type SimCluster, type SimNode } from './sim-cluster.js'
import { HOUR_MS, onCluster } from './sim-histories.js'

/** As long as the cluster's blocks are. */
const BLOCK_BYTES = 4096
const KEY = Buffer.from('k')

/**
 * Uploads that last longer than the time for which their blocks are kept, or than the layout in which they began. Invariant:
 * an acknowledged upload can be read, now and later; one that was given up leaves nothing behind.
 */
describe('an upload that takes its time', { timeout: 180_000 }, () => {
  it('is whole after 30 hours of sending', async () => {
    await onCluster({}, async (cluster) => {
      const [a, b] = cluster.nodes as [SimNode, SimNode]
      const bucket = (await a.core!.model.buckets.create('bucket')).id
      const body = bytes(30)
      const source = sourceOf(body, async function* () {
        for (let at = 0; at < body.length; at += BLOCK_BYTES) {
          yield body.subarray(at, at + BLOCK_BYTES)
          await cluster.clock.sleep(HOUR_MS)
        }
      })
      await put(a, bucket, source)
      expect(await get(a, bucket)).toEqual(body)
      await cluster.clock.sleep(30 * HOUR_MS)
      expect(await get(b, bucket)).toEqual(body)
    })
  })

  for (const off of [false, true]) {
    it(`is whole when all replicas are replaced meanwhile${off ? ', and the old ones are off when it ends' : ''}`, {
      timeout: 600_000,
    }, async () => {
      await onCluster({}, async (cluster) => {
        const [a] = cluster.nodes as [SimNode]
        const old = cluster.nodes.slice(0, 3)
        const bucket = (await a.core!.model.buckets.create('bucket')).id
        const gateway = await cluster.grow()
        const fresh = [await cluster.grow(), await cluster.grow(), await cluster.grow()]
        const role = { zone: 'g', capacityBytes: null, tags: [] }
        await cluster.changeLayout([{ node: gateway.id, role }], a)
        await cluster.clock.sleep(120_000)
        let goOn!: () => void
        const rest = new Promise<void>((resolve) => {
          goOn = resolve
        })
        const body = bytes(10)
        const writing = put(
          gateway,
          bucket,
          sourceOf(body, async function* () {
            yield body.subarray(0, 24_000)
            await rest
            yield body.subarray(24_000)
          }),
        )
        await cluster.clock.sleep(5_000)
        await cluster.changeLayout(
          [
            ...fresh.map((node) => ({ node: node.id, role: roleOf(node) })),
            ...old.map((node) => ({ node: node.id, role: null })),
          ],
          a,
        )
        const live = () => gateway.core!.cluster.layout.history.versions.length
        for (let i = 0; i < 100 && live() > 1; i++) await cluster.clock.sleep(60_000)
        expect(live()).toBe(1)
        if (off) for (const node of old) cluster.crash(node, 'machine')
        goOn()
        await writing
        expect(await get(gateway, bucket)).toEqual(body)
        await cluster.clock.sleep(30 * HOUR_MS)
        expect(await get(gateway, bucket)).toEqual(body)
      })
    })
  }

  it('leaves no block for longer than a few minutes when it breaks off', async () => {
    await onCluster({}, async (cluster) => {
      const [a] = cluster.nodes as [SimNode]
      const bucket = (await a.core!.model.buckets.create('bucket')).id
      await cluster.clock.sleep(15 * 60_000)
      const body = bytes(10)
      const source = sourceOf(body, async function* () {
        yield body
        throw new Error('the client went away')
      })
      await expect(put(a, bucket, source)).rejects.toThrow('the client went away')
      expect(blocksKnown(cluster)).toBeGreaterThan(0)
      await cluster.clock.sleep(15 * 60_000)
      expect(blocksKnown(cluster)).toBe(0)
    })
  })

  it('leaves no block for longer than an hour or two when its node crashes', async () => {
    await onCluster({}, async (cluster) => {
      const [a, b] = cluster.nodes as [SimNode, SimNode]
      const bucket = (await a.core!.model.buckets.create('bucket')).id
      await cluster.clock.sleep(15 * 60_000)
      const body = bytes(10)
      const stuck = sourceOf(body, async function* () {
        yield body
        await new Promise(() => {})
      })
      void put(a, bucket, stuck)
      const kept = put(
        b,
        bucket,
        sourceOf(bytes(10, 'other'), async function* () {
          yield bytes(10, 'other').subarray(0, 5.5 * BLOCK_BYTES)
          await cluster.clock.sleep(5 * HOUR_MS)
          yield bytes(10, 'other').subarray(5.5 * BLOCK_BYTES)
        }),
      )
      await cluster.clock.sleep(60_000)
      cluster.crash(a, 'process')
      await cluster.boot(a)
      await cluster.clock.sleep(2 * HOUR_MS)
      // The blocks that the other node's upload has stored so far are still there.
      expect(blocksKnown(cluster)).toBe(3 * 5)
      await kept
      expect(await get(b, bucket)).toEqual(bytes(10, 'other'))
    })
  })
})

function blocksKnown(cluster: SimCluster): number {
  return cluster.nodes.reduce((sum, { core }) => sum + core!.blocks.stats().known, 0)
}

/** Makes blocks that differ from each other. */
function bytes(blocks: number, salt = ''): Buffer {
  return Buffer.concat(Array.from({ length: blocks }, (_, i) => Buffer.alloc(BLOCK_BYTES, `${salt}${i} `)))
}

function sourceOf(body: Buffer, stream: () => AsyncIterable<Buffer>): BodySource {
  return { length: body.length, readAll: async () => body, stream }
}

async function put(node: SimNode, bucket: Buffer, source: BodySource): Promise<void> {
  const { model } = node.core!
  const stored = await model.blobs.write(source)
  const version = { bucket, key: KEY, etag: stored.md5, etagParts: 0, owner: '' }
  await model.objects.put({ ...version, headers: {}, metadata: {}, mutable: {} }, stored, 'off')
}

async function get(node: SimNode, bucket: Buffer): Promise<Buffer> {
  const { model } = node.core!
  const version = await model.objects.get(bucket, KEY)
  if (version?.state !== 'object') throw new Error('no such object')
  const chunks: Buffer[] = []
  for await (const chunk of model.blobs.read(version, 0, version.size)) chunks.push(Buffer.from(chunk))
  const body = Buffer.concat(chunks)
  expect(createHash('md5').update(body).digest()).toEqual(version.etag)
  return body
}
