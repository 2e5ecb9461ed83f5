import { expect, test } from 'vitest'
import { CarportError } from '../src/util/errors.js'
import { SeededRandom } from './seeded-random.js'
import { NodeDied, SimCluster } from './sim-cluster.js'
import { EVENT_RULE, notingTarget } from './sim-events.js'
import { etagsListed } from './sim-histories.js'
import { newVersion, sourceOf } from './sim-objects.js'

const KEYS = ['a', 'b']
const CLIENTS = 6
const ROUNDS = 12

class Refused extends Error {}

/**
 * Clients at all nodes replace what they read, while messages get lost, nodes die, and plain writes come in between. In a
 * versioned bucket, the versions that are there in the end are the writes that took effect.
 */
test.each([2, 3])(
  'an event is sent for each conditional write that won, and for no other (seed %i)',
  async (seed) => {
    const told: string[] = []
    const cluster = new SimCluster({
      ...{ seed, nodes: 5, zones: 5, replicationFactor: 3, blockBytes: 4096, clockSkewMs: 100 },
      path: { latencyMs: 10, jitterMs: 10, lossShare: 0.02, bytesPerMs: 10_000 },
      tables: { syncIntervalMs: 60_000, syncSoonMs: 2000 },
      ...{ graces: { unreferencedMs: 60_000, unclaimedMs: 300_000 }, contestsMs: 120_000 },
      events: () => ({ targets: [notingTarget(told)], region: 'r', hostId: 'h' }),
    })
    const outcomes: Record<string, number> = {}
    const work = async () => {
      await cluster.start()
      const random = new SeededRandom(`events/${seed}`)
      const made = await cluster.retried(random, ({ core }) => core!.model.buckets.create('told'))
      for (const [name, document] of [
        ['versioning', 'enabled'],
        ['notification', [EVENT_RULE]],
      ] as const)
        await cluster.retried(random, ({ core }) =>
          core!.model.buckets.setDocument(made, name, document as never),
        )
      await cluster.clock.sleep(5_000)
      const write = async (random: SeededRandom, key: string) => {
        const node = random.pick(cluster.readyNodes())
        const { model } = node.core!
        const isPlain = random.chance(0.15)
        const read = await cluster.surviving(node, model.objects.get(made.id, Buffer.from(key)))
        const stored = await cluster.surviving(node, model.blobs.write(sourceOf(random.bytes(64), random)))
        const precondition = isPlain
          ? undefined
          : (current: { id: Buffer } | undefined) => {
              if (current?.id.toString('hex') !== read?.id.toString('hex')) throw new Refused()
            }
        const version = newVersion(made, key, stored.md5)
        await cluster.surviving(node, model.objects.put(version, stored, 'enabled', precondition))
      }
      const client = async (random: SeededRandom) => {
        for (let i = 0; i < ROUNDS; i++) {
          await cluster.clock.sleep(random.exponential(300))
          const outcome = await write(random, random.pick(KEYS)).then(
            () => 'won',
            (error: unknown) => {
              if (error instanceof Refused) return 'refused'
              if (error instanceof NodeDied || error instanceof CarportError) return 'unknown'
              throw error
            },
          )
          outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
        }
      }
      const nemesis = async (random: SeededRandom) => {
        for (let i = 0; i < 8; i++) {
          await cluster.clock.sleep(random.exponential(500))
          const node = random.pick(cluster.readyNodes())
          cluster.crash(node, random.pick(['process', 'machine']))
          await cluster.clock.sleep(200 + random.float() * 1000)
          await cluster.boot(node)
        }
      }
      const clients = Array.from({ length: CLIENTS }, (_, i) => client(random.fork(`client${i}`)))
      await Promise.all([...clients, nemesis(random.fork('nemesis'))])
      await cluster.clock.sleep(20 * 60_000)
      return etagsListed(cluster.nodes[0]!, made.id)
    }
    const there = await cluster.clock.runUntil(work(), 2 * 3_600_000)
    expect([...new Set(told)].sort()).toEqual(there)
    // The runs are of use only if all of that comes up.
    expect(outcomes.won).toBeGreaterThan(5)
    expect(outcomes.refused).toBeGreaterThan(5)
    expect(outcomes.unknown).toBeGreaterThan(2)
  },
)
