import { describe, expect, it } from 'vitest'
import type { Bucket } from '../src/model/buckets/buckets.js'
import { NONCE_BYTES, versionId } from '../src/model/content/refs.js'
import type { Model } from '../src/model/model.js'
import { headId } from '../src/model/versions/codec.js'
import { CONTEST_TREES } from '../src/model/versions/contests.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { noncurrentOf } from '../src/model/versions/tables.js'
import { ballotTimeUs, lastBallotOf } from '../src/table/ballot.js'
import { CarportError } from '../src/util/errors.js'
import { SeededRandom } from './seeded-random.js'
import { SimCluster, type SimNode } from './sim-cluster.js'
import { bucketOn } from './sim-histories.js'
import { newVersion, sourceOf } from './sim-objects.js'

const KEY = 'k'
const OLD_MS = 600_000
const UNREFERENCED_MS = 60_000
const EMPTY = Buffer.alloc(0)

interface Contestants {
  cluster: SimCluster
  model: Model
  bucket: Bucket
  /** A version that was written on a condition, in blocks. */
  first: VersionRecord
  /** Another one that was judged on the same base under a later ballot, without content. */
  second: VersionRecord
  put(): Promise<VersionRecord>
  /** The ids of the versions that a listing shows, the newest first. */
  listed(): Promise<string[]>
  blocks(): Promise<number>
}

/** One node with a versioned bucket, in which two writes were judged on one base. */
async function withContestants(run: (made: Contestants) => Promise<void>): Promise<void> {
  const cluster = new SimCluster({
    ...{ seed: 1, nodes: 1, zones: 1, replicationFactor: 1, blockBytes: 4096, clockSkewMs: 0 },
    path: { latencyMs: 1, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    ...{ tables: {}, graces: { unreferencedMs: UNREFERENCED_MS, unclaimedMs: 60_000 }, contestsMs: OLD_MS },
  })
  const work = async () => {
    await cluster.start()
    const random = new SeededRandom('contests')
    const { model, blocks } = cluster.nodes[0]!.core!
    const bucket = await model.buckets.create('contested')
    await model.buckets.setDocument(bucket, 'versioning', 'enabled')
    const write = async (bytes: number, precondition?: () => void) => {
      const stored = await model.blobs.write(sourceOf(random.bytes(bytes), random))
      return model.objects.put(newVersion(bucket, KEY, stored.md5), stored, 'enabled', precondition)
    }
    const put = () => write(10)
    await put()
    const first = await write(100_000, () => {})
    const chain = { ...first.chain!, ballot: lastBallotOf(ballotTimeUs(first.chain!.ballot)) }
    const id = versionId(first.createdUs, random.bytes(NONCE_BYTES))
    const second: VersionRecord = { ...first, id, chain, size: 0, content: { kind: 'none' } }
    await run({
      ...{ cluster, model, bucket, first, second, put },
      async listed() {
        const range = { prefix: EMPTY, delimiter: EMPTY, start: EMPTY, afterVersion: EMPTY, limit: 10 }
        const { entries } = await model.versionListing.page({ bucket: bucket.id, ...range })
        return entries.map(({ head }) => headId(head!).toString('hex'))
      },
      blocks: async () => blocks.stats().known,
    })
  }
  await cluster.clock.runUntil(work(), 3_600_000)
}

const hex = ({ id }: VersionRecord) => id.toString('hex')

describe('two writes that were judged on one base', () => {
  it('the one that was replaced is withdrawn a minute later, and its content goes', () =>
    withContestants(async ({ cluster, model, first, second, listed, blocks }) => {
      const before = await blocks()
      await model.tables.object.insert(second)
      await cluster.clock.sleep(30_000)
      expect(model.contests.withdrawn).toBe(0)
      expect(await blocks()).toBe(before)
      await cluster.clock.sleep(60_000)
      expect(model.contests.withdrawn).toBe(1)
      expect(model.contests.backlog).toBe(0)
      expect(await listed()).toEqual([hex(second), expect.any(String)])
      expect(await listed()).not.toContain(hex(first))
      await cluster.clock.sleep(UNREFERENCED_MS * 3)
      expect(await blocks()).toBe(0)
    }))

  it.each(['first', 'second'] as const)(
    'that are noncurrent versions both, the %s one before: that of the lesser ballot is withdrawn when it is old',
    (earlier) =>
      withContestants(async ({ cluster, model, first, second, put, listed, blocks }) => {
        if (earlier === 'second') {
          // The first one comes to this replica as a row of the past.
          await model.tables.object.insert(second)
          await put()
          await model.tables.version.insert(noncurrentOf(first))
        } else {
          await put()
          await model.tables.version.insert(noncurrentOf(second))
        }
        expect(await listed()).toEqual(expect.arrayContaining([hex(first), hex(second)]))
        await cluster.clock.sleep(OLD_MS * 2.5)
        expect(await listed()).toHaveLength(3)
        expect(await listed()).toContain(hex(second))
        expect(await listed()).not.toContain(hex(first))
        expect(model.contests.backlog).toBe(0)
        expect(await blocks()).toBe(0)
      }),
  )

  it('one whose rival never became a version stays', () =>
    withContestants(async ({ cluster, model, first, put, listed, blocks }) => {
      const before = await blocks()
      await put()
      await cluster.clock.sleep(OLD_MS * 2.5)
      expect(model.contests.withdrawn).toBe(0)
      expect(await listed()).toContain(hex(first))
      expect(await blocks()).toBe(before)
    }))

  it.each(['that no quorum can be asked about', 'whose entry is damaged'])(
    'one %s does not hold up others',
    (what) =>
      withContestants(async ({ cluster, model, first, second, listed }) => {
        const { db } = cluster.nodes[0]!.machine.platform!
        const stuck = { ...first, key: Buffer.from('stuck') }
        const get = model.tables.object.get.bind(model.tables.object)
        let isAway = true
        model.tables.object.get = async (bucket, key, ...rest) => {
          if (isAway && key.equals(stuck.key))
            throw new CarportError('QuorumUnavailable', 'its replicas are away')
          return get(bucket, key, ...rest)
        }
        await db.transact((tx) => model.contests.replaced(tx, stuck))
        if (what === 'whose entry is damaged') {
          const [key] = [...db.keys(CONTEST_TREES[0])].map((key) => Buffer.from(key))
          await db.transact((tx) => tx.put(CONTEST_TREES[0], key!, Buffer.of(0, 1, 2)))
        }
        await cluster.clock.sleep(10)
        await model.tables.object.insert(second)
        await cluster.clock.sleep(100_000)
        expect(model.contests.withdrawn).toBe(1)
        expect(await listed()).not.toContain(hex(first))
        expect(model.contests.backlog).toBe(1)
        expect(model.contests.workerStats()).toMatchObject({ consecutiveErrors: 0 })
        isAway = false
        await cluster.clock.sleep(OLD_MS * 2.5)
        expect(model.contests.backlog).toBe(what === 'whose entry is damaged' ? 1 : 0)
      }),
  )

  it('one that is not a version by the time that it is old never was', () =>
    withContestants(async ({ cluster, model, first, second, put, listed, blocks }) => {
      await model.tables.object.insert(second)
      await put()
      await cluster.clock.sleep(OLD_MS * 2.5)
      expect(model.contests.withdrawn).toBe(1)
      expect(await listed()).toContain(hex(second))
      expect(await listed()).not.toContain(hex(first))
      expect(await blocks()).toBe(0)
    }))
})

describe('a contest on a node that leaves the layout', () => {
  it.each([1, 2])(
    'is decided by a node that stays, though the nearest leaves as well (%i)',
    async (leaving) => {
      const cluster = new SimCluster({
        ...{ seed: 1, nodes: 3 + leaving, zones: 3 + leaving, replicationFactor: 3, blockBytes: 4096 },
        path: { latencyMs: 1, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
        graces: { unreferencedMs: UNREFERENCED_MS, unclaimedMs: 60_000 },
        ...{ tables: {}, clockSkewMs: 0, contestsMs: OLD_MS },
      })
      const work = async () => {
        await cluster.start()
        const random = new SeededRandom('leaver')
        const leavers = cluster.nodes.slice(0, leaving)
        const others = cluster.nodes.slice(leaving)
        for (const { id, core } of leavers) {
          const nearestFirst = core!.quorum.nearestFirst.bind(core!.quorum)
          const isLeaver = (node: string) => leavers.some((each) => each.id === node && node !== id)
          core!.quorum.nearestFirst = (nodes) => {
            const sorted = nearestFirst(nodes)
            return [...sorted.filter(isLeaver), ...sorted.filter((node) => !isLeaver(node))]
          }
        }
        const { model } = others[0]!.core!
        const bucket = { id: await bucketOn(cluster, ...leavers) } as Bucket
        const write = async (precondition?: () => void) => {
          const stored = await model.blobs.write(sourceOf(random.bytes(10), random))
          return model.objects.put(newVersion(bucket, KEY, stored.md5), stored, 'off', precondition)
        }
        await write()
        const won = await write(() => {})
        await write()
        const chain = { ...won.chain!, ballot: lastBallotOf(ballotTimeUs(won.chain!.ballot)) }
        const lost = { ...won, id: versionId(won.createdUs, random.bytes(NONCE_BYTES)), chain }
        const [leaver] = leavers as [SimNode]
        const { db } = leaver.machine.platform!
        await db.transact((tx) => leaver.core!.model.contests.replaced(tx, lost))
        const { core } = leaver
        let calls = 0
        const call = core!.quorum.call.bind(core!.quorum)
        core!.quorum.call = (node, method, ...rest) => {
          if (method === 'model/contest') calls++
          return call(node, method, ...rest)
        }
        // A write that goes on keeps the layout of before, in which both have the rows.
        const end = others[0]!.core!.quorum.beginWrite()
        await cluster.changeLayout(
          leavers.map(({ id }) => ({ node: id, role: null })),
          others[0]!,
        )
        await cluster.clock.sleep(OLD_MS / 2)
        end()
        await cluster.clock.sleep(2 * OLD_MS)
        expect(calls).toBeLessThanOrEqual(leaving)
        for (const { core } of leavers) {
          expect(core!.model.contests.backlog).toBe(0)
          expect(core!.model.contests.withdrawn).toBe(0)
          expect(core!.model.contests.workerStats().consecutiveErrors).toBe(0)
        }
        const withdrawn = cluster.nodes.map(({ core }) => core!.model.contests.withdrawn)
        expect(withdrawn.reduce((a, b) => a + b, 0)).toBe(1)
      }
      await cluster.clock.runUntil(work(), 10 * 3_600_000)
    },
  )
})
