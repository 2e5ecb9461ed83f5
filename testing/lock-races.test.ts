import { describe, expect, it } from 'vitest'
import type { Model } from '../src/model/model.js'
import { lockGuard, lockState, mayReplaceRetention, type Retention } from '../src/model/versions/lock.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { CarportError } from '../src/util/errors.js'
import { SeededRandom } from './seeded-random.js'
import { SimCluster, type SimNode } from './sim-cluster.js'
import { newVersion, sourceOf } from './sim-objects.js'

const SEEDS = Number(process.env.SEEDS ?? 10)
const KEY = Buffer.from('k')
const YEAR_MS = 365 * 86_400_000
const RACES_PER_SEED = 6

class Refused extends Error {}

/** 'nothing': there was no such version. */
type Outcome = 'done' | 'nothing' | 'refused' | 'conflict'

async function outcomeOf(work: Promise<VersionRecord | undefined>): Promise<Outcome> {
  try {
    return (await work) ? 'done' : 'nothing'
  } catch (error) {
    if (error instanceof Refused) return 'refused'
    if (error instanceof CarportError && error.code === 'Conflict') return 'conflict'
    throw error
  }
}

/** Sets a retention in compliance mode, as PutObjectRetention does. */
function retain(model: Model, bucket: Buffer, id: Buffer, untilMs: number): Promise<Outcome> {
  const retention: Retention = { mode: 'COMPLIANCE', untilMs }
  const nowMs = 0
  const change = ({ mutable }: VersionRecord) => {
    if (!mayReplaceRetention(mutable.retention?.[1], retention, { nowMs, bypass: false })) throw new Refused()
    return { retention }
  }
  return outcomeOf(model.objects.updateLock(bucket, KEY, id, change))
}

function remove({ core }: SimNode, bucket: Buffer, id: Buffer): Promise<Outcome> {
  const clock = { nowMs: () => 0 }
  const guard = lockGuard(clock, { bypass: false, announces: true, refuse: () => new Refused() })
  return outcomeOf(core!.model.objects.deleteVersion(bucket, KEY, id, guard))
}

/** A versioned bucket on three nodes, with messages that overtake each other. */
async function inCluster(
  seed: number,
  run: (
    cluster: SimCluster,
    random: SeededRandom,
    put: () => Promise<VersionRecord>,
    bucket: Buffer,
  ) => Promise<void>,
): Promise<void> {
  const cluster = new SimCluster({
    ...{ seed, nodes: 3, zones: 3, replicationFactor: 3, blockBytes: 4096, clockSkewMs: 50 },
    path: { latencyMs: 5, jitterMs: 20, lossShare: 0, bytesPerMs: 10_000 },
    ...{ tables: {}, graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 } },
  })
  const work = async () => {
    await cluster.start()
    const random = new SeededRandom(`locks/${seed}`)
    const { model } = cluster.nodes[0]!.core!
    const bucket = await model.buckets.create('locked')
    await model.buckets.setDocument(bucket, 'versioning', 'enabled')
    const put = async () => {
      const stored = await model.blobs.write(sourceOf(random.bytes(32), random))
      return model.objects.put(newVersion(bucket, String(KEY), stored.md5), stored, 'enabled')
    }
    await run(cluster, random, put, bucket.id)
  }
  await cluster.clock.runUntil(work(), 3_600_000)
}

/** Starts all at once, each a little later than it would. */
function race<T>(cluster: SimCluster, random: SeededRandom, works: (() => Promise<T>)[]): Promise<T[]> {
  return Promise.all(
    works.map(async (work) => {
      await cluster.clock.sleep(random.float() * 100)
      return work()
    }),
  )
}

describe('locks of versions, when several change them at the same time', () => {
  it('no retention in compliance mode that was acknowledged is replaced by a shorter one', async () => {
    const seen: Record<string, number> = {}
    for (let seed = 1; seed <= SEEDS; seed++) {
      await inCluster(seed, async (cluster, random, put, bucket) => {
        const models = cluster.nodes.map(({ core }) => core!.model)
        for (let i = 0; i < RACES_PER_SEED; i++) {
          const { id } = await put()
          // Half of them become noncurrent versions meanwhile.
          const years = [1, 5, 10]
          const setting = race(
            cluster,
            random,
            years.map((n) => () => retain(random.pick(models), bucket, id, n * YEAR_MS)),
          )
          const [outcomes] = await Promise.all([setting, i % 2 === 0 ? put() : undefined])
          const longest = Math.max(0, ...years.filter((_, at) => outcomes[at] === 'done'))
          const found = await models[0]!.objects.get(bucket, KEY, id)
          const until = found!.mutable.retention?.[1]?.untilMs ?? 0
          expect(until, `seed ${seed}: ${outcomes}`).toBeGreaterThanOrEqual(longest * YEAR_MS)
          for (const outcome of outcomes) seen[outcome] = (seen[outcome] ?? 0) + 1
        }
      })
    }
    expect(seen.done).toBeGreaterThan(SEEDS)
  })

  it('a retention that was judged before another one was begun loses to it, however late it comes, by whatever clock', async () => {
    await inCluster(1, async (cluster, _, put, bucket) => {
      const [a, b, c] = cluster.nodes as [SimNode, SimNode, SimNode]
      const { id } = await put()
      a.machine.platform!.clock.offsetMs = 2000
      let judged = 0
      let longer: Promise<Outcome> | undefined
      const shorter = outcomeOf(
        a.core!.model.objects.updateLock(bucket, KEY, id, ({ mutable }) => {
          const retention: Retention = { mode: 'COMPLIANCE', untilMs: YEAR_MS }
          if (!mayReplaceRetention(mutable.retention?.[1], retention, { nowMs: 0, bypass: false }))
            throw new Refused()
          // Judged for the second time, it is written, and its messages take long.
          if (++judged === 2) {
            const slow = { latencyMs: 3000, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 }
            for (const other of [b, c]) cluster.network.setPath(a.id, other.id, slow)
            longer = retain(b.core!.model, bucket, id, 2 * YEAR_MS)
          }
          return { retention }
        }),
      )
      expect(await shorter).toBe('refused')
      expect(await longer).toBe('done')
      const found = await c.core!.model.objects.get(bucket, KEY, id)
      expect(found!.mutable.retention?.[1]?.untilMs).toBe(2 * YEAR_MS)
    })
  })

  it('a version whose lock was acknowledged is not deleted, and one that was deleted is not locked', async () => {
    const seen: Record<string, number> = {}
    for (let seed = 1; seed <= SEEDS; seed++) {
      await inCluster(seed, async (cluster, random, put, bucket) => {
        const { nodes } = cluster
        for (let i = 0; i < RACES_PER_SEED; i++) {
          const { id } = await put()
          const works = [
            () => retain(random.pick(nodes).core!.model, bucket, id, YEAR_MS),
            () => remove(random.pick(nodes), bucket, id),
          ]
          const racing = race(cluster, random, works)
          const [[locked, deleted]] = await Promise.all([racing, i % 2 === 0 ? put() : undefined])
          const found = await nodes[0]!.core!.model.objects.get(bucket, KEY, id)
          seen[`${locked}/${deleted}`] = (seen[`${locked}/${deleted}`] ?? 0) + 1
          expect(locked === 'done' && deleted === 'done', `seed ${seed}`).toBe(false)
          if (deleted === 'done') expect(found, `seed ${seed}`).toBeUndefined()
          if (locked === 'done') expect(lockState(found!, 0), `seed ${seed}`).toBe('compliance')
        }
      })
    }
    expect(Object.keys(seen).length).toBeGreaterThan(2)
  })
})
