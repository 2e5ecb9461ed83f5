import { expect, it } from 'vitest'
import { NONCE_BYTES, versionId } from '../src/model/content/refs.js'
import { plainVersion } from '../src/model/versions/record.js'
import { SeededRandom } from './seeded-random.js'
import type { SimNode } from './sim-cluster.js'
import { bucketOn, onCluster, put } from './sim-histories.js'
import { newVersion, sourceOf } from './sim-objects.js'

it('a plain write that hides a conditional row, and is earlier than its ballot, does not take back what was promised', async () => {
  await onCluster({ nodes: 1, zones: 1, replicationFactor: 1 }, async (c) => {
    const [node] = c.nodes as [SimNode]
    const bucket = await bucketOn(c, node)
    const random = new SeededRandom(1)
    const { model } = node.core!
    const { db } = node.machine.platform!
    const { local } = model.tables.object
    const key = local.codec.keyOf(bucket, Buffer.from('key'))
    const base = await put(node, bucket, 'key', 'base')
    await c.clock.sleep(1000)
    const stored = await model.blobs.write(sourceOf(random.bytes(10), random))
    const place = newVersion({ id: bucket } as Parameters<typeof newVersion>[0], 'key', stored.md5)
    const conditional = await model.objects.put(place, stored, 'off', () => {})
    const { ballot } = conditional.chain!
    const bound = () => local.promises!.bound(db, key, local.getByKey(db, key))!
    expect(bound().compare(ballot)).toBe(0)

    // By a coordinator whose clock is behind.
    const timeUs = base.timeUs + 1000
    const { chain: _, ...plain } = plainVersion(base)
    const id = versionId(timeUs, random.bytes(NONCE_BYTES))
    const hidden = { ...plain, id, timeUs, createdUs: timeUs, generation: 0 }
    await db.transact((tx) => local.update(tx, hidden))
    expect(local.getByKey(db, key)!.timeUs).toBe(timeUs)
    expect(bound().compare(ballot)).toBe(0)

    // One that is later than the ballot stands for it.
    await put(node, bucket, 'key', 'later')
    expect(bound().compare(ballot)).toBeGreaterThan(0)
    expect(local.promises!.get(db, key)).toBeUndefined()
  })
})
