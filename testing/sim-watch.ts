import { hashesOf } from '../src/model/content/refs.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { Ballot } from '../src/table/ballot.js'
import { RETRY_TREE } from '../src/table/row-keys.js'
import type { SeededRandom } from './seeded-random.js'
import { BLOCK_MEMORY_BYTES, type SimNode } from './sim-cluster.js'
import { checkCountersOf } from './sim-invariants.js'
import type { Pace } from './sim-pace.js'
import type { Workload } from './sim-workload.js'

/** Time between two looks while clients rest, in ms, on average. */
const AT_REST_EVERY_MS = 30_000
/** Time between two looks with a recount of all rows of the node, in ms, on average. */
const RECOUNT_EVERY_MS = 10_000
/** How far clocks of two nodes that write are apart at the most, in ms. */
const CLOCKS_MS = 10_000
/** Far more timers than a cluster of this size has: a leak. */
const TIMERS_MAX = 100_000
const QUEUED_MAX = 100_000
const PROBLEMS_MAX = 20

/** What a node had at an earlier look, in the same process. */
interface Seen {
  atMs: number
  core: NonNullable<SimNode['core']>
  row: VersionRecord | undefined
  bound: Ballot | undefined
}

/**
 * Looks now and then at one key on one node, while everything goes on: what must hold at each moment, and not only after all
 * has come to rest, when a later repair may have covered it up.
 */
export class Watch {
  readonly #seen = new Map<string, Seen>()

  constructor(
    private readonly w: Workload,
    private readonly random: SeededRandom,
  ) {}

  async run(pace: Pace): Promise<void> {
    const { clock } = this.w.cluster
    while (clock.monotonicMs() < pace.endMs) {
      const isLoad = pace.isLoad(clock.monotonicMs())
      await clock.sleep(this.random.exponential(isLoad ? this.w.lookEveryMs : AT_REST_EVERY_MS))
      this.look()
    }
  }

  look(): void {
    const { w, random } = this
    const ready = w.cluster.readyNodes()
    // What is wrong once will be found wrong again and again.
    if (ready.length === 0 || w.problems.length >= PROBLEMS_MAX) return
    const node = random.pick(ready)
    const [bucket, keys] = random.pick([
      [w.bucket.id, w.keys],
      [w.versionedBucket.id, w.versionedKeys],
    ] as const)
    this.lookAt(node, bucket, random.pick(keys))
    // A row whose bits flipped is still counted, and not found.
    if (!node.hasRot && random.chance(w.lookEveryMs / RECOUNT_EVERY_MS))
      w.problems.push(...checkCountersOf(node))
    this.#lookAtBounds(node)
    const versions = [...w.versions.values()]
    if (versions.length > 0) this.#lookAtBlocks(random.pick(versions).version)
  }

  /** A row never goes back on a replica, and neither does what it promised; a tombstone may go, or a copy that moved. */
  lookAt(node: SimNode, bucket: Buffer, key: string): void {
    const { problems, cluster } = this.w
    const core = node.core!
    const { db } = node.machine.platform!
    const { local } = core.model.tables.object
    const promises = local.promises!
    const rowKey = local.codec.keyOf(bucket, Buffer.from(key))
    const place = `${node.index}/${rowKey.toString('latin1')}`
    if (node.hasRot && !local.stored.holds(db, rowKey, db.get(local.trees.head, rowKey))) {
      // Bits of it flipped: others tell what it was.
      this.#seen.delete(place)
      return
    }
    const row = local.getIntactByKey(db, rowKey)
    const bound = promises.bound(db, rowKey, row)
    const before = this.#seen.get(place)
    const atMs = cluster.clock.monotonicMs()
    this.#seen.set(place, { atMs, core, row, bound })
    // What was not durable yet, a crash may have taken.
    if (!before || before.core !== core) return
    // It may have been deleted, and its tombstone collected.
    const tombstoneMs = cluster.options.tables.tombstoneDelayMs ?? Number.POSITIVE_INFINITY
    if (atMs - before.atMs >= tombstoneMs) return
    const tell = (what: string) => problems.push(`${atMs.toFixed(0)}: node${node.index}, ${key}: ${what}`)
    if (row === undefined) {
      // A tombstone may be as old as the row was, though it came here after the last look, and so be collected soon.
      const ageMs = node.machine.platform!.clock.nowMs() - (before.row?.timeUs ?? 0) / 1000
      if (ageMs + CLOCKS_MS >= tombstoneMs) return
      const isReplica = core.cluster.layout.view.storageSet(local.schema.partition(bucket)).includes(node.id)
      if (before.row && before.row.state !== 'tombstone' && isReplica)
        tell(`the row of ${before.row.timeUs} is gone, and no tombstone was there`)
      return
    }
    if (before.row && promises.rows.compare(row, before.row) < 0)
      tell(`the row went back from ${before.row.timeUs} to ${row.timeUs}`)
    if (before.bound && (!bound || bound.compare(before.bound) < 0))
      tell(`what was promised went back from ${before.bound.toString('hex')} to ${bound?.toString('hex')}`)
  }

  /** Nothing grows without an end. */
  #lookAtBounds(node: SimNode): void {
    const { problems, cluster } = this.w
    const { db } = node.machine.platform!
    const { writeBytesInFlight, sendBytesInFlight, refs } = node.core!.blocks.stats()
    const bounded: [string, number, number][] = [
      ['bytes of blocks that are written', writeBytesInFlight, BLOCK_MEMORY_BYTES],
      ['bytes of blocks that are sent', sendBytesInFlight, BLOCK_MEMORY_BYTES],
      ['missed writes', db.count(RETRY_TREE), QUEUED_MAX],
      ['references to be carried', refs.queued, QUEUED_MAX],
      ['timers of the whole cluster', cluster.clock.pending, TIMERS_MAX],
    ]
    for (const [name, count, max] of bounded)
      if (count > max) problems.push(`node${node.index}: ${count} ${name}, more than ${max}`)
  }

  /** Each block of an acknowledged version that nobody has begun to delete is on a disk, be its node up or down. */
  #lookAtBlocks({ content, key }: VersionRecord): void {
    if (content.kind !== 'blocks') return
    const { cluster, problems } = this.w
    for (const hash of hashesOf(content.blocks)) {
      const name = hash.toString('hex')
      if (!cluster.nodes.some(({ machine }) => machine.hasFile(name)))
        problems.push(`block ${name} of an acknowledged version of ${key} is on no disk`)
    }
  }
}
