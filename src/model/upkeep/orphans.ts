import { leadsPartition } from '../../cluster/partition-leader.js'
import type { Placement } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import type { Transport } from '../../net/transport.js'
import { successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import { type Clock, sleep } from '../../util/clock.js'
import { eachLimited } from '../../util/limited.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import type { Service } from '../../util/service.js'
import { readUint53 } from '../../util/uint53.js'
import { Worker } from '../../util/worker.js'
import type { BlockListRow } from '../content/block-lists.js'
import { NULL_SLOT, uploadSortKey, versionSortKey } from '../sort-keys.js'
import { type PartRow, partSortKey, type UploadRow } from '../uploads/tables.js'
import type { VersionRecord } from '../versions/record.js'
import { dayStart, RunStore, startOfRun } from './daily-runs.js'

/** A row may wait this long for the row that refers to it: longer than any request takes. In ms. */
export const ORPHAN_AGE_MS = 48 * 3600_000
const DAY_MS = 24 * 3600_000
const STEP_ROWS = 256
const CHECKS_IN_FLIGHT = 8
const STEP_REST_MS = 20
const START_DELAY_MS = 5 * 60_000
const NOT_READY_MS = 10_000
/** Runs begin within this time after the start of the day. */
const SPREAD_MS = 6 * 3600_000

const EMPTY = Buffer.alloc(0)

type Kind = 'list' | 'part'
/** The walks of a run, kept as its position's phase. */
const KINDS: readonly (readonly [Kind, 'current' | 'noncurrent'])[] = [
  ['list', 'current'],
  ['part', 'noncurrent'],
]

/**
 * Deletes rows that nobody refers to: lists written by a request that died before it wrote the row they belong to, and
 * parts that reached the store after their upload had ended. Once a day, each partition on one of its replicas; a row
 * goes only if a quorum of every row that may refer to it says no.
 */
export class OrphanWorker implements Service {
  readonly name = 'orphans'
  readonly #worker: Worker
  readonly #runs: RunStore
  #started = false
  /** Since the start of the node. */
  readonly counts = { lists: 0, parts: 0 }

  constructor(
    private readonly deps: {
      db: Db
      clock: Clock
      random: Random
      log: Log
      placement: Placement
      transport: Transport
      tables: {
        object: Table<VersionRecord>
        version: Table<VersionRecord>
        list: Table<BlockListRow>
        upload: Table<UploadRow>
        part: Table<PartRow>
      }
    },
  ) {
    this.#runs = new RunStore(deps.db, 'orphans')
    this.#worker = new Worker(this.name, deps.clock, deps.log, (signal) => this.#work(signal))
  }

  start(): void {
    this.#started = false
    this.#worker.start()
  }

  async stop(): Promise<void> {
    await this.#worker.stop()
  }

  async #work(signal: AbortSignal): Promise<number> {
    const { clock, placement, random } = this.deps
    if (!this.#started) {
      this.#started = true
      return START_DELAY_MS
    }
    if (placement.layoutVersion === 0) return NOT_READY_MS
    const today = dayStart(clock.nowMs(), DAY_MS, 0)
    const position = this.#runs.load()
    if (!position?.finished || position.dayStartMs !== today) await this.runNow(signal)
    return Math.max(0, today + DAY_MS - clock.nowMs()) + random.float() * SPREAD_MS
  }

  /** One run, from where the last one was interrupted. @throws QuorumUnavailable: to be gone on with later */
  async runNow(signal?: AbortSignal): Promise<void> {
    const { placement, transport, clock } = this.deps
    const today = dayStart(clock.nowMs(), DAY_MS, 0)
    const stored = this.#runs.load()
    let position = stored && !stored.finished ? stored : startOfRun(today)
    for (const [kind, phase] of KINDS) {
      if (kind === 'list' && position.phase !== phase) continue
      if (position.phase !== phase) position = { ...position, phase, bucket: EMPTY, at: EMPTY }
      // The position's key is a row key, which begins with the partition.
      for (let partition = position.at[0] ?? 0; partition < 256; partition++) {
        if (!leadsPartition(placement, transport, partition)) continue
        const start = Buffer.of(partition)
        let at: Buffer | undefined = position.at[0] === partition ? position.at : start
        while (at) {
          signal?.throwIfAborted()
          at = await this.#step(kind, partition, at)
          if (!at) break
          await this.#runs.save({ ...position, at })
          await sleep(clock, STEP_REST_MS, signal)
        }
      }
    }
    await this.#runs.save({ ...position, dayStartMs: today, finished: true })
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
    for (const { key, value } of db.range(local.trees.head, { start: at, ...end, limit: STEP_ROWS })) {
      rows++
      last = Buffer.from(key)
      const row = local.codec.decodeStored(Buffer.from(value), () => undefined)
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

  /** Ids begin with the time they were made at. */
  #isOld(id: Buffer): boolean {
    return readUint53(id, 0) / 1000 < this.deps.clock.nowMs() - ORPHAN_AGE_MS
  }

  async #checkList(row: BlockListRow): Promise<void> {
    const { db, tables, log } = this.deps
    const { bucket, key, owner, part } = row
    const refers = (referrer: VersionRecord | PartRow | undefined) => {
      if (!referrer?.id.equals(owner)) return false
      return 'state' in referrer ? referrer.state !== 'tombstone' : !referrer.deleted
    }
    const places = part
      ? [[tables.part, partSortKey(part.uploadId, part.number)] as const]
      : [
          // In this order: a version that moves between the tables is in the one or the other at every moment.
          [tables.object, key] as const,
          [tables.version, versionSortKey(key, owner, false)] as const,
          [tables.version, versionSortKey(key, NULL_SLOT, true)] as const,
          [tables.object, key] as const,
        ]
    for (const [table, sortKey] of places) if (refers(table.local.get(db, bucket, sortKey))) return
    for (const [table, sortKey] of places) {
      if (refers(await table.get(bucket, sortKey, { body: false }))) return
    }
    await tables.list.insertMany([{ ...row, deleted: true, data: EMPTY }])
    this.counts.lists++
    log.info({ bucket: bucket.toString('hex'), owner: owner.toString('hex') }, 'orphaned list deleted')
  }

  async #checkPart(row: PartRow): Promise<void> {
    const { db, tables, log } = this.deps
    const { bucket, key, uploadId } = row
    const sortKey = uploadSortKey(key, uploadId)
    const known = tables.upload.local.get(db, bucket, sortKey)
    if (known && !known.deleted) return
    const upload = await tables.upload.get(bucket, sortKey)
    if (upload && !upload.deleted) return
    await tables.part.insert({ ...row, deleted: true, content: { kind: 'none' }, size: 0 })
    this.counts.parts++
    log.info({ bucket: bucket.toString('hex'), upload: uploadId.toString('hex') }, 'orphaned part deleted')
  }
}
