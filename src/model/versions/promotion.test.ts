import { describe, expect, it } from 'vitest'
import { SimCluster } from '../../../testing/sim-cluster.js'
import { makeBallot } from '../../table/ballot.js'
import { md5 } from '../content/hashing.js'
import { NONCE_BYTES, versionId } from '../content/refs.js'
import type { Model } from '../model.js'
import { placeAfter } from './chain.js'
import { plainVersion, type VersionRecord } from './record.js'

const EMPTY = Buffer.alloc(0)
const KEY = Buffer.from('k')

/** A key with a noncurrent version `old` and a current one `now`, in a versioned bucket on three nodes. */
async function keyWithTwoVersions(run: (s: Setup) => Promise<void>, contents = ['old']): Promise<void> {
  const cluster = new SimCluster({
    ...{ seed: 1, nodes: 3, zones: 3, replicationFactor: 3, blockBytes: 4096, clockSkewMs: 0 },
    path: { latencyMs: 10, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    tables: {},
    graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 },
  })
  const work = async () => {
    await cluster.start()
    const models = cluster.nodes.map(({ core }) => core!.model)
    const [model] = models as [Model]
    const bucket = (await model.buckets.create('photos')).id
    const put = async (text: string) => {
      const body = Buffer.from(text)
      const version = {
        ...{ bucket, key: KEY, etag: md5(body), etagParts: 0, owner: '' },
        ...{ headers: {}, metadata: {}, mutable: {} },
      }
      const stored = { size: body.length, md5: md5(body), body, blocks: [] }
      return model.objects.put(version, stored, 'enabled')
    }
    const olds: VersionRecord[] = []
    for (const text of contents) olds.push(await put(text))
    const now = await put('now')
    await cluster.clock.sleep(1000)
    // What a deletion of `now` has read before anything else happens, and then writes before its node dies.
    const predecessor = plainVersion((await model.objects.noncurrent.predecessor(bucket, KEY, now))!)
    const promote = () =>
      model.tables.object.insert({ ...predecessor, timeUs: now.timeUs, generation: now.generation + 1 })
    await run({ cluster, models, bucket, olds, now, promote })
  }
  await cluster.clock.runUntil(work(), 600_000)
}

interface Setup {
  cluster: SimCluster
  models: Model[]
  bucket: Buffer
  olds: VersionRecord[]
  now: VersionRecord
  promote: () => Promise<number>
}

async function listed(model: Model, bucket: Buffer): Promise<string[]> {
  const request = { bucket, prefix: EMPTY, delimiter: EMPTY, start: EMPTY, limit: 10 }
  const { entries } = await model.listing.page(request)
  return entries.map(({ key }) => String(key))
}

async function listedVersions(model: Model, bucket: Buffer): Promise<[string, boolean][]> {
  const request = { bucket, prefix: EMPTY, delimiter: EMPTY, start: EMPTY, afterVersion: EMPTY, limit: 10 }
  const { entries } = await model.versionListing.page(request)
  return entries.map(({ head, latest }) => [head!.toString('hex', 14, 30), latest])
}

describe('the version that becomes current again', () => {
  const idAt = (timeUs: number, random: number) => versionId(timeUs, Buffer.alloc(NONCE_BYTES, random))

  it.each([
    [1, 2],
    [2, 1],
  ])('is the one that was, of two that were written in the same microsecond: %i, %i', async (...randoms) => {
    await keyWithTwoVersions(async ({ models: [a, b], bucket, now }) => {
      const timeUs = now.timeUs + 1
      for (const random of randoms) {
        const id = idAt(timeUs, random)
        await a!.tables.object.insert({ ...plainVersion(now), id, timeUs, createdUs: timeUs })
      }
      const before = (await b!.objects.get(bucket, KEY))!
      const next = { ...plainVersion(now), ...{ timeUs: timeUs + 1, createdUs: timeUs + 1 } }
      await a!.tables.object.insert({ ...next, id: idAt(timeUs + 1, 0) })
      await b!.objects.deleteVersion(bucket, KEY, idAt(timeUs + 1, 0))
      expect((await a!.objects.get(bucket, KEY))?.id).toEqual(before.id)
    })
  })

  it('is a plain one that overtook one on a condition, whichever was begun first', async () => {
    await keyWithTwoVersions(async ({ models: [a, b], bucket, now }) => {
      const at = (us: number) => ({
        ...plainVersion(now),
        ...{ timeUs: now.timeUs + us, createdUs: now.timeUs + us, id: idAt(now.timeUs + us, us) },
      })
      const ballot = makeBallot(now.timeUs + 20, Buffer.alloc(8))
      // Judged on \`now\`, with an id of later than the plain one that hides it.
      await a!.tables.object.insert({ ...at(20), ...placeAfter(now, ballot) })
      await a!.tables.object.insert(at(10))
      expect((await b!.objects.get(bucket, KEY))?.id).toEqual(at(10).id)
      await a!.tables.object.insert(at(30))
      await b!.objects.deleteVersion(bucket, KEY, at(30).id)
      expect((await b!.objects.get(bucket, KEY))?.id).toEqual(at(10).id)
      await b!.objects.deleteVersion(bucket, KEY, at(10).id)
      expect((await a!.objects.get(bucket, KEY))?.id).toEqual(at(20).id)
    })
  })
})

describe('a version that becomes current again by a deletion whose node dies', () => {
  it.each(['get', 'list', 'list versions'])(
    'stays deleted if it was deleted meanwhile: %s',
    async (first) => {
      await keyWithTwoVersions(async ({ models, bucket, olds: [old], promote }) => {
        const [a, b, c] = models as [Model, Model, Model]
        expect((await a.objects.deleteVersion(bucket, KEY, old!.id))?.id).toEqual(old!.id)
        await promote()
        if (first === 'get') expect(await b.objects.get(bucket, KEY)).toBeUndefined()
        else if (first === 'list') expect(await listed(b, bucket)).toEqual([])
        else expect(await listedVersions(b, bucket)).toEqual([])
        for (const model of [a, b, c]) {
          expect(await model.objects.get(bucket, KEY)).toBeUndefined()
          expect(await model.objects.get(bucket, KEY, old!.id)).toBeUndefined()
          expect(await listed(model, bucket)).toEqual([])
        }
      })
    },
  )

  it('makes way for the one before it, if that one was not deleted', async () => {
    await keyWithTwoVersions(
      async ({ models, bucket, olds: [older, old], promote }) => {
        const [a, b] = models as [Model, Model]
        await a.objects.deleteVersion(bucket, KEY, old!.id)
        await promote()
        const current = await b.objects.get(bucket, KEY)
        expect([current?.id, String(current?.body)]).toEqual([older!.id, 'older'])
        expect(await listedVersions(b, bucket)).toEqual([[older!.id.toString('hex'), true]])
      },
      ['older', 'old'],
    )
  })

  it('keeps the lock that it got meanwhile', async () => {
    await keyWithTwoVersions(async ({ models, bucket, olds: [old], promote }) => {
      const [a, b] = models as [Model, Model]
      await a.objects.updateLock(bucket, KEY, old!.id, () => ({ legalHold: true }))
      await promote()
      const check = ({ mutable: { legalHold } }: VersionRecord) => {
        if (legalHold?.[1]) throw new Error('on hold')
      }
      for (const selector of [old!.id, undefined]) {
        const found = await b.objects.get(bucket, KEY, selector, { body: false })
        expect(found?.mutable.legalHold?.[1]).toBe(true)
      }
      await expect(b.objects.deleteVersion(bucket, KEY, old!.id, { check, announces: true })).rejects.toThrow(
        'on hold',
      )
      expect(String((await a.objects.get(bucket, KEY))?.body)).toBe('old')
    })
  })

  it('is looked at once: then it is read, listed and changed as any current version', async () => {
    await keyWithTwoVersions(async ({ cluster, models, bucket, olds: [old], promote }) => {
      const [a, b] = models as [Model, Model]
      await promote()
      expect(await listed(b, bucket)).toEqual(['k'])
      await cluster.clock.sleep(1000)
      const startMs = cluster.clock.monotonicMs()
      expect(String((await a.objects.get(bucket, KEY))?.body)).toBe('old')
      // One round trip.
      expect(cluster.clock.monotonicMs() - startMs).toBeLessThan(40)
      await b.objects.update(bucket, KEY, old!.id, () => ({ tags: { color: 'red' } }))
      expect((await a.objects.get(bucket, KEY))?.mutable.tags?.[1]).toEqual({ color: 'red' })
      expect((await a.objects.deleteVersion(bucket, KEY, old!.id))?.id).toEqual(old!.id)
      expect(await b.objects.get(bucket, KEY)).toBeUndefined()
    })
  })
})
