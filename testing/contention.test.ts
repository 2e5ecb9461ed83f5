import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Bucket } from '../src/model/buckets/buckets.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { RegisterHistory } from './register-history.js'
import { SeededRandom } from './seeded-random.js'
import { SimCluster, type SimNode } from './sim-cluster.js'
import { shownBy } from './sim-objects.js'

/** What is wrong with the third replica. 'cut': from one of the others only, in the middle of everything. */
type Fault = 'none' | 'dead' | 'paused' | 'cut' | 'comes and goes'

const KEYS = ['a', 'b']
const LOAD_MS = 15_000
const LIMIT_MS = 3600_000
const TIMEOUT_MS = 120_000

/**
 * Many writers and readers of two keys, at the nodes that reach each other, while one of three replicas is away: a quorum
 * answers all the time, so that nothing may be refused, and the registers must be linearizable. Clocks are far apart, so that
 * writes are often overruled. Of three nodes all are replicas; of five, two are not.
 */
class Contention {
  readonly history = new RegisterHistory()
  readonly refusals: string[] = []
  readonly cluster: SimCluster
  readonly #random: SeededRandom
  #third: SimNode | undefined
  #written = 0

  constructor(
    seed: number,
    private readonly fault: Fault,
    private readonly versioned: boolean,
    nodes: 3 | 5 = 3,
  ) {
    this.#random = new SeededRandom(`contention/${fault}/${seed}`)
    this.cluster = new SimCluster({
      ...{ seed, nodes, zones: nodes, replicationFactor: 3, blockBytes: 4096, clockSkewMs: 500 },
      path: { latencyMs: 5 + 20 * this.#random.float(), jitterMs: 10, lossShare: 0, bytesPerMs: 10_000 },
      tables: {},
      graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 },
    })
  }

  async run(): Promise<void> {
    const { cluster } = this
    await cluster.clock.runUntil(
      (async () => {
        await cluster.start()
        const bucket = await this.#makeBucket()
        await cluster.clock.sleep(2000)
        const clients: Promise<void>[] = []
        const untilMs = cluster.clock.monotonicMs() + LOAD_MS
        const replicas = cluster.nodes[0]!.core!.cluster.layout.storageSet(bucket.id[0]!)
        this.#third = cluster.nodes.find(({ id }) => id === replicas[2])!
        const others = this.#others
        for (let i = 0; i < 8; i++) {
          clients.push(this.#client(others[i % others.length]!, bucket, untilMs, i))
        }
        const faults = this.#breakThird(untilMs)
        await Promise.all([...clients, faults])
        await this.#readAll(bucket)
      })(),
      LIMIT_MS,
    )
  }

  /** All nodes but the replica that is away. */
  get #others(): SimNode[] {
    return this.cluster.nodes.filter((node) => node !== this.#third)
  }

  get writes(): number {
    return this.#written
  }

  async #makeBucket(): Promise<Bucket> {
    const { model } = this.cluster.nodes[0]!.core!
    const bucket = await model.buckets.create('hot')
    if (!this.versioned) return bucket
    await model.buckets.setDocument(bucket, 'versioning', 'enabled')
    return model.buckets.byId(bucket.id)!
  }

  async #breakThird(untilMs: number): Promise<void> {
    const { cluster } = this
    const c = this.#third!
    const others = this.#others.map(({ id }) => id)
    const { network, clock } = cluster
    if (this.fault === 'none') return
    await clock.sleep(LOAD_MS / 5)
    if (this.fault === 'dead') return cluster.crash(c, 'process')
    if (this.fault === 'paused') {
      // Nothing goes in or out, and nobody is told.
      network.partition(others, [c.id])
      return
    }
    if (this.fault === 'cut') {
      network.partition([this.#random.pick(others)], [c.id])
      return
    }
    while (clock.monotonicMs() < untilMs) {
      const heal = network.partition(this.#random.chance(0.5) ? others : others.slice(0, 1), [c.id])
      await clock.sleep(this.#random.exponential(1000))
      heal()
      await clock.sleep(this.#random.exponential(500))
    }
  }

  async #client(node: SimNode, bucket: Bucket, untilMs: number, index: number): Promise<void> {
    const { clock } = this.cluster
    while (clock.monotonicMs() < untilMs) {
      await clock.sleep(this.#random.exponential(30))
      const key = this.#random.pick(KEYS)
      const roll = this.#random.float()
      const kind = roll < 0.4 ? 'put' : roll < 0.5 ? 'delete' : roll < 0.9 ? 'get' : 'list'
      const started = clock.monotonicMs()
      try {
        if (kind === 'put') await this.#put(node, bucket, key)
        else if (kind === 'delete') await this.#delete(node, bucket, key)
        else if (kind === 'get') await this.#get(node, bucket, key)
        else await this.#list(node, bucket)
      } catch (error) {
        const tookMs = (clock.monotonicMs() - started).toFixed(0)
        this.refusals.push(`client${index} ${kind} ${key} after ${tookMs} ms: ${String(error)}`)
      }
    }
  }

  async #put(node: SimNode, bucket: Bucket, key: string): Promise<void> {
    const body = Buffer.from(`content ${this.#written++}`)
    const md5 = createHash('md5').update(body).digest()
    const op = this.history.call(key, 'write', md5.toString('hex'), `put at node${node.index}`)
    const version = {
      ...{ bucket: bucket.id, key: Buffer.from(key), etag: md5, etagParts: 0, owner: '' },
      ...{ headers: {}, metadata: {}, mutable: {} },
    }
    const stored = { size: body.length, md5, body, blocks: [] }
    const written = await node.core!.model.objects.put(version, stored, bucket.versioning)
    this.history.answered(op)
    this.#versions.push(written)
  }

  readonly #versions: VersionRecord[] = []

  async #delete(node: SimNode, bucket: Bucket, key: string): Promise<void> {
    const op = this.history.call(key, 'write', null, `delete at node${node.index}`)
    await node.core!.model.objects.delete(bucket.id, Buffer.from(key), '', bucket.versioning)
    this.history.answered(op)
  }

  async #get(node: SimNode, bucket: Bucket, key: string): Promise<void> {
    const op = this.history.call(key, 'read', null, `get at node${node.index}`)
    const version = await node.core!.model.objects.get(bucket.id, Buffer.from(key))
    this.history.answered(op, shownBy(version))
  }

  async #list(node: SimNode, bucket: Bucket): Promise<void> {
    const none = Buffer.alloc(0)
    const ops = KEYS.map((key) => this.history.call(key, 'read', null, `list at node${node.index}`))
    const { entries } = await node.core!.model.listing.page({
      ...{ bucket: bucket.id, prefix: none, delimiter: none, start: none },
      limit: 10,
    })
    const heads = new Map(entries.map(({ key, head }) => [key.toString(), head!]))
    for (const [i, key] of KEYS.entries()) {
      const head = heads.get(key)
      this.history.answered(ops[i]!, head ? head.toString('hex', 46, 62) : null)
    }
  }

  /** All that was acknowledged is there: at both nodes, and every version of a versioned bucket. */
  async #readAll(bucket: Bucket): Promise<void> {
    for (const node of this.#others) {
      for (const key of KEYS) await this.#get(node, bucket, key)
      if (!this.versioned) continue
      for (const version of this.#versions) {
        const found = await node.core!.model.objects.get(bucket.id, version.key, version.id)
        if (!found?.id.equals(version.id)) this.refusals.push(`version ${version.id.toString('hex')} is lost`)
      }
    }
  }
}

const faults: readonly Fault[] = ['none', 'dead', 'paused', 'cut', 'comes and goes']

describe.each([false, true])(
  'writers and readers of few keys (versioned: %s)',
  { timeout: TIMEOUT_MS },
  (versioned) => {
    it.each(faults)(
      'are never refused while two replicas answer, and agree; the third: %s',
      async (fault) => {
        for (const seed of [1, 2, 3]) {
          const contention = new Contention(seed, fault, versioned)
          await contention.run()
          expect(contention.refusals).toEqual([])
          expect(contention.history.check()).toEqual([])
          expect(contention.writes).toBeGreaterThan(150)
        }
      },
    )
  },
)

/**
 * See WriteCall: a coordinator that is no replica cannot decide about a write during which a replica fell silent, if another
 * one has something later. Those are the writes of that very moment; all later ones ask for the time first.
 */
describe('the same at nodes that are no replicas', { timeout: TIMEOUT_MS }, () => {
  it.each(['dead', 'paused', 'cut'] as const)('the third: %s', async (fault) => {
    for (const seed of [1, 2]) {
      const contention = new Contention(seed, fault, false, 5)
      await contention.run()
      expect(contention.history.check()).toEqual([])
      const refusedOf = new Set(contention.refusals.map((refusal) => refusal.split(' ')[0]))
      expect(contention.refusals.length).toBe(refusedOf.size)
      expect(refusedOf.size).toBeLessThanOrEqual(4)
      expect(contention.writes).toBeGreaterThan(150)
    }
  })
})
