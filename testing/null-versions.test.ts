/**
 * Histories in which a replica has not heard yet that one null version replaced another, or was deleted. Invariant: a null version
 * that went is no noncurrent one, for nobody, and does not come back as one.
 */
import { describe, expect, it } from 'vitest'
import type { VersionListing } from '../src/model/listing/versions.js'
import { readListed } from '../src/model/versions/codec.js'
import type { Objects } from '../src/model/versions/objects.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { bucketOn, cut, get, onCluster, put, remove, waitUntil } from './sim-histories.js'

const TIMEOUT_MS = 180_000
const MINUTE_MS = 60_000
const KEY = Buffer.from('key')
const NOTHING = Buffer.alloc(0)

/**
 * Puts a null version, and changes it while the third node is away. The one that is to read then hears of that from the writer,
 * and asks the third one for all else.
 */
async function changedUnheard(c: SimCluster, change: (node: SimNode, bucket: Buffer) => Promise<unknown>) {
  const [reader, writer, unaware] = c.nodes as [SimNode, SimNode, SimNode]
  const bucket = await bucketOn(c, reader)
  await put(writer, bucket, 'key', 'first')
  await c.clock.sleep(1000)
  const healWriter = cut(c, [unaware], [writer])
  const healReader = cut(c, [unaware], [reader])
  await change(writer, bucket)
  const { model } = reader.core!
  const { object } = model.tables
  const get = object.get.bind(object)
  let heal = () => {}
  object.get = async (...args) => {
    object.get = get
    const row = await get(...args)
    const healBoth = cut(c, [writer], [reader])
    healReader()
    const { transport } = reader.machine.platform!
    await waitUntil(c, 'the third is there', () => transport.isConnected(unaware.id), MINUTE_MS)
    heal = () => {
      healWriter()
      healBoth()
    }
    return row
  }
  return { reader, objects: model.objects, bucket, heal: () => heal() }
}

/** Noncurrent versions, those deleted included, that any replica has once all have heard of each other. */
async function noncurrentRows(c: SimCluster, bucket: Buffer): Promise<string[]> {
  await c.clock.sleep(10 * MINUTE_MS)
  return c.nodes.flatMap(({ core, machine }) => {
    const rows = [...core!.model.tables.version.local.range(machine.platform!.db, bucket, { limit: 10 })]
    return rows.filter(({ state }) => state !== 'tombstone').map(({ id }) => id.toString('hex'))
  })
}

describe('a null version that went, where a replica has not heard of that', { timeout: TIMEOUT_MS }, () => {
  it('is no noncurrent one beside the one that replaced it', async () => {
    await onCluster({}, async (c) => {
      const overwrite = (node: SimNode, bucket: Buffer) => put(node, bucket, 'key', 'second')
      const { objects, bucket, heal } = await changedUnheard(c, overwrite)
      const current = (await objects.current(bucket, KEY))!
      expect(current.isNull).toBe(true)
      expect((await objects.noncurrent.list(bucket, KEY, current, { limit: 10 })).versions).toEqual([])
      expect(await objects.noncurrent.predecessor(bucket, KEY, current)).toBeUndefined()
      heal()
      expect(await noncurrentRows(c, bucket)).toEqual([])
    })
  })

  it('does not become current again when the one that replaced it is deleted by its id', async () => {
    await onCluster({}, async (c) => {
      const overwrite = (node: SimNode, bucket: Buffer) => put(node, bucket, 'key', 'second')
      const { reader, objects, bucket, heal } = await changedUnheard(c, overwrite)
      await objects.deleteVersion(bucket, KEY, 'null')
      expect(await get(reader, bucket, 'key')).toBe('nothing')
      heal()
      expect(await noncurrentRows(c, bucket)).toEqual([])
      for (const node of c.nodes) expect(await get(node, bucket, 'key')).toBe('nothing')
    })
  })

  it.each<[string, (objects: Objects, bucket: Buffer) => Promise<unknown>]>([
    ['read', (objects, bucket) => objects.get(bucket, KEY, 'null')],
    ['deleted', (objects, bucket) => objects.deleteVersion(bucket, KEY, 'null')],
    [
      'listed',
      async (objects, bucket) => {
        const current = await objects.current(bucket, KEY)
        const { versions } = await objects.noncurrent.list(bucket, KEY, current, { limit: 10 })
        return versions[0]
      },
    ],
  ])('is not %s as the null version after its deletion', async (_, find) => {
    await onCluster({}, async (c) => {
      const { objects, bucket, heal } = await changedUnheard(c, (node, at) => remove(node, at, 'key'))
      expect(await find(objects, bucket)).toBeUndefined()
      heal()
      expect(await noncurrentRows(c, bucket)).toEqual([])
    })
  })

  it('is still found if a version with an id replaced it', async () => {
    await onCluster({}, async (c) => {
      const overwrite = (node: SimNode, bucket: Buffer) => put(node, bucket, 'key', 'second', 'enabled')
      const { objects, bucket } = await changedUnheard(c, overwrite)
      const current = await objects.current(bucket, KEY)
      const { versions } = await objects.noncurrent.list(bucket, KEY, current, { limit: 10 })
      expect(versions.map(({ isNull, size }) => [isNull, size])).toEqual([[true, 5]])
      const old = await objects.get(bucket, KEY, 'null')
      expect(old?.size).toBe(5)
    })
  })
})

describe('a null version, while another one replaces it', { timeout: TIMEOUT_MS }, () => {
  it.each<[string, (objects: Objects, listing: VersionListing, bucket: Buffer) => Promise<unknown>]>([
    ['read', async (objects, _, bucket) => (await objects.get(bucket, KEY, 'null'))?.size],
    [
      'listed',
      async (_, listing, bucket) => {
        const from = { prefix: KEY, delimiter: NOTHING, start: NOTHING, afterVersion: NOTHING, limit: 10 }
        const { entries } = await listing.page({ bucket, ...from })
        return entries.map(({ head }) => readListed(head!)).find(({ isNull }) => isNull)?.size
      },
    ],
  ])('is %s', async (_, find) => {
    await onCluster({}, async (c) => {
      const [reader, writer, third] = c.nodes as [SimNode, SimNode, SimNode]
      const bucket = await bucketOn(c, reader)
      await put(writer, bucket, 'key', 'first')
      await put(writer, bucket, 'key', 'with an id', 'enabled')
      await c.clock.sleep(1000)
      // The listing asks key by key where replicas differ, or where not enough of them answer alike.
      const heal = cut(c, [third], [writer])
      await put(writer, bucket, 'key', 'with another id', 'enabled')
      const { objects, tables, versionListing } = reader.core!.model
      const { object } = tables
      const get = object.get.bind(object)
      object.get = async (...args) => {
        object.get = get
        const row = await get(...args)
        await put(writer, bucket, 'key', 'second', 'suspended')
        return row
      }
      const found = await find(objects, versionListing, bucket)
      heal()
      expect(found).toBe('second'.length)
    })
  })
})
