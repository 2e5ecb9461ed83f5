import { PARTITION_COUNT } from '../../cluster/layout/partitions.js'
import { leadsPartition } from '../../cluster/partition-leader.js'
import type { Placement } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import type { Transport } from '../../net/transport.js'
import { successor } from '../../table/row-keys.js'
import { eachLimited } from '../../util/limited.js'
import type { Service } from '../../util/service.js'
import type { WorkerEnv, WorkerStats } from '../../util/worker.js'
import { type BlockListRow, deletedBlockList } from '../content/block-lists.js'
import { timeOfId } from '../content/refs.js'
import { deletedPart, type PartRow } from '../uploads/tables.js'
import { DailyRuns } from './daily-runs.js'
import type { DeletedBuckets } from './deleted-buckets.js'
import { LIST_OWNERS, type OwnerTables, PART_OWNERS } from './referrers.js'

/** A row may wait this long for the row that refers to it: longer than any request takes. In ms. */
export const ORPHAN_AGE_MS = 48 * 3600_000
const STEP_ROWS = 256
const CHECKS_IN_FLIGHT = 8
const START_DELAY_MS = 5 * 60_000
/** Runs begin within this time after the start of the day, in ms. */
const SPREAD_MS = 6 * 3600_000

const EMPTY = Buffer.alloc(0)

/** The walks of a run, in their order. */
const KINDS = ['list', 'part'] as const
type Kind = (typeof KINDS)[number]

/**
 * Deletes rows to which no other row refers: lists written by a request that died before it wrote the row they belong to,
 * parts that reached the store after their upload had ended, and what reached it after its bucket was deleted. Once a day, each
 * partition on one of its replicas; a list or part goes only if a quorum of every row that may refer to it says no.
 */
export class OrphanWorker implements Service {
  readonly name = 'orphans'
  readonly #runs: DailyRuns
  /** Since the start of the node. */
  readonly counts = { lists: 0, parts: 0 }

  constructor(
    private readonly deps: WorkerEnv & {
      db: Db
      placement: Placement
      transport: Transport
      tables: OwnerTables
      deletedBuckets: DeletedBuckets
    },
  ) {
    const times = { spreadMs: SPREAD_MS, startDelayMs: START_DELAY_MS }
    this.#runs = new DailyRuns(this.name, deps, times, async (run) => {
      for (const [phase, kind] of KINDS.entries()) {
        await run.walk(EMPTY, phase, (at) => this.#nextStep(kind, at))
      }
      const { placement, transport } = deps
      const leads = (partition: number) => leadsPartition(placement, transport, partition)
      for await (const { bucket, steps } of deps.deletedBuckets.walk(leads)) {
        for (const [phase, step] of steps.entries()) await run.walk(bucket, phase, step)
      }
    })
  }

  start(): void {
    this.#runs.start()
  }

  stop(): Promise<void> {
    return this.#runs.stop()
  }

  workerStats(): WorkerStats {
    return this.#runs.workerStats()
  }

  /** One run over everything, now. @throws QuorumUnavailable */
  runNow(signal?: AbortSignal): Promise<void> {
    return this.#runs.runNow(signal)
  }

  /** A step of a walk over all rows of a kind that this node leads; `at` is a row key, which begins with the partition. */
  async #nextStep(kind: Kind, at: Buffer): Promise<Buffer | undefined> {
    const { placement, transport } = this.deps
    for (let partition = at[0] ?? 0; partition < PARTITION_COUNT; partition++) {
      if (!leadsPartition(placement, transport, partition)) continue
      const next = await this.#step(kind, partition, partition === at[0] ? at : Buffer.of(partition))
      return next ?? (partition + 1 < PARTITION_COUNT ? Buffer.of(partition + 1) : undefined)
    }
    return undefined
  }

  /** Looks at the next rows of a partition from a row key on; returns where to go on, undefined at its end. */
  async #step(kind: Kind, partition: number, at: Buffer): Promise<Buffer | undefined> {
    const { db, tables } = this.deps
    const { local } = tables[kind]
    const end = partition < 255 ? { end: Buffer.of(partition + 1) } : {}
    const lists: BlockListRow[] = []
    const parts: PartRow[] = []
    let rows = 0
    let last: Buffer | undefined
    for (const { rowKey, head } of local.walk(db, { start: at, ...end, limit: STEP_ROWS })) {
      rows++
      last = rowKey
      const row = local.codec.decodeStored(head, () => undefined)
      if (row.deleted) continue
      if ('owner' in row) lists.push(row)
      else parts.push(row)
    }
    await eachLimited(
      lists.filter((row) => this.#isOld(row.owner)),
      CHECKS_IN_FLIGHT,
      (row) => this.#checkList(row),
    )
    await eachLimited(
      parts.filter((row) => this.#isOld(row.id)),
      CHECKS_IN_FLIGHT,
      (row) => this.#checkPart(row),
    )
    return rows < STEP_ROWS ? undefined : successor(last!)
  }

  #isOld(id: Buffer): boolean {
    return timeOfId(id) / 1000 < this.deps.clock.nowMs() - ORPHAN_AGE_MS
  }

  async #checkList(row: BlockListRow): Promise<void> {
    const { db, tables, log } = this.deps
    const { bucket, owner } = row
    if (LIST_OWNERS.isHere(db, tables, row) || (await LIST_OWNERS.isThere(tables, row))) return
    await tables.list.insertMany([deletedBlockList(row)])
    this.counts.lists++
    log.info({ bucket: bucket.toString('hex'), owner: owner.toString('hex') }, 'orphaned list deleted')
  }

  async #checkPart(row: PartRow): Promise<void> {
    const { db, tables, log } = this.deps
    const { bucket, uploadId } = row
    if (PART_OWNERS.isHere(db, tables, row) || (await PART_OWNERS.isThere(tables, row))) return
    await tables.part.insert(deletedPart(row))
    this.counts.parts++
    log.info({ bucket: bucket.toString('hex'), upload: uploadId.toString('hex') }, 'orphaned part deleted')
  }
}
