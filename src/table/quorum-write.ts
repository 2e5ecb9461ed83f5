import { type JudgedWriteOptions, majority, type WriteVerdict } from '../cluster/placement.js'
import { type NodeId, Priority } from '../net/transport.js'
import { CarportError, errorCode } from '../util/errors.js'
import { eachLimited } from '../util/limited.js'
import {
  BULK_TIMEOUT_MS,
  CALL_TIMEOUT_MS,
  layoutNotReady,
  type MissedWrites,
  type TableEnv,
  takeNewerLayout,
} from './env.js'
import type { LocalTable } from './local.js'
import type { Vote } from './own-votes.js'
import { methodOf } from './replica.js'
import { judgeWrite, parseLater } from './replies.js'
import { batchesOf, type Row, type WireRow } from './rows.js'
import { copyOf, type Standing } from './standing.js'

const BATCH_BYTES_MAX = 1 << 20
const BATCH_ROWS_MAX = 1000
const BATCHES_IN_FLIGHT = 4
/** How often a write looks for a later time: more means that rows come from a future far away. */
const TRIES_MAX = 20
/** How often a write is sent again with a newer layout. */
const LAYOUTS_MAX = 3

/** A row with the latest time that its writer could give it. */
export interface Attempt<E> {
  entry: E
  /** Takes back whatever was written for this attempt only, when it did not take effect. */
  undo?: () => Promise<void>
}

/** Rows that one replica has stored durably, since this node knows that layout. */
export interface HeldRows {
  readonly by: NodeId
  readonly layoutMark: number
}

type Judged = Pick<JudgedWriteOptions, 'isSafe' | 'ownLooked' | 'canWithdraw' | 'mayRepeat'>

/**
 * The writing side of a table: to all replicas, acknowledged by a quorum of each live layout version. WriteCall has the
 * argument why a row is written again with a later time, or not.
 */
export class RowWriter<E> {
  readonly #method: string

  constructor(
    private readonly local: LocalTable<E>,
    private readonly env: TableEnv,
    private readonly missed: MissedWrites,
    /** The latest time of a row that hides this one on a quorum of the replicas, 0 if none does. */
    private readonly latest: (row: Row<E>) => Promise<number>,
    private readonly standing: Standing,
  ) {
    this.#method = methodOf(local.schema.name, 'insert')
  }

  /** Sends rows in several messages. @throws CarportError QuorumUnavailable, LayoutNotReady */
  async writeMany(
    byPartition: ReadonlyMap<number, WireRow[]>,
    priority: Priority,
    held?: HeldRows,
  ): Promise<void> {
    const batches: { partition: number; rows: WireRow[] }[] = []
    for (const [partition, all] of byPartition) {
      for (const rows of batchesOf(all, BATCH_BYTES_MAX, BATCH_ROWS_MAX)) batches.push({ partition, rows })
    }
    await eachLimited(batches, BATCHES_IN_FLIGHT, async ({ partition, rows }) => {
      await this.#send(partition, rows, priority, undefined, held)
    })
  }

  /**
   * One row as it is, to the replicas that do not have it yet. Of tables without `hiddenBy`.
   * @throws CarportError QuorumUnavailable, LayoutNotReady
   */
  async spread(row: Row<E>, held: HeldRows): Promise<void> {
    await this.#send(row.partition, [this.local.codec.toWire(row)], Priority.high, undefined, held)
  }

  /** One row as it is. @throws CarportError QuorumUnavailable, LayoutNotReady */
  async write(row: Row<E>, judged: Judged = {}): Promise<{ verdict: WriteVerdict; laterUs: number }> {
    return this.#send(row.partition, [this.local.codec.toWire(row)], Priority.high, judged)
  }

  /**
   * Writes a row that wins over every row acknowledged before this began: `make` is called with the time (HLC, µs) of
   * the row to be later than, 0 at first, until one takes effect. That one may have been replaced already, by a row that was
   * written at the same time, and perhaps never was the copy of a quorum: see the result.
   * @throws CarportError QuorumUnavailable, LayoutNotReady; Conflict if the time to be later than kept growing
   */
  async writeLatest(
    make: (laterUs: number) => Promise<Attempt<E>>,
  ): Promise<{ entry: E; replaced: boolean }> {
    const { codec, votes } = this.local
    let laterUs = 0
    let isSafe = false
    let vote: Vote | undefined
    try {
      for (let i = 0; i < TRIES_MAX; i++) {
        const { entry, undo } = await make(laterUs)
        const row = codec.encode(entry)
        const sets = this.env.placement.writeSets(row.partition)
        const isBlind = this.standing.isBlind(copyOf(this.local.schema, row.partition))
        if (!vote && votes && !isBlind && this.#isOwn(sets)) vote = votes.begin(row.key)
        if (!isSafe) {
          const asks = this.#needsTime(sets, isBlind)
          const found = asks ? await this.latest(row) : vote ? this.#ownLater(row) : 0
          isSafe = asks
          if (found > 0) {
            laterUs = found
            this.env.hlc.observe(laterUs)
            await undo?.()
            continue
          }
        }
        if (vote) votes!.attempt(vote, row.head, isSafe)
        const outcome = await this.write(row, {
          isSafe,
          ownLooked: vote !== undefined,
          canWithdraw: () => vote !== undefined && !isSafe,
        })
        if (outcome.verdict === 'undecided') throw undecided(this.#method)
        if (outcome.verdict !== 'overruled') {
          if (vote) votes!.cast(vote, row.key, row)
          return { entry, replaced: outcome.verdict === 'replaced' }
        }
        laterUs = outcome.laterUs
        isSafe = true
        this.env.hlc.observe(laterUs)
        await undo?.()
      }
    } finally {
      if (vote) votes!.end(vote)
    }
    throw new CarportError('Conflict', 'other writers of the same key kept being later')
  }

  #isOwn(sets: readonly (readonly NodeId[])[]): boolean {
    const { self } = this.env.quorum
    return sets.some((set) => set.length > 1 && set.includes(self))
  }

  /**
   * Whether the time must be asked for first, since the write might end undecided: a replica is away or blind and the own vote
   * cannot decide, or two sets must agree.
   */
  #needsTime(sets: readonly (readonly NodeId[])[], isBlind: boolean): boolean {
    const { placement, quorum } = this.env
    if (!this.local.schema.hiddenBy) return false
    if (sets.length !== 1) return sets.length > 1
    const [set] = sets
    const own = set!.includes(quorum.self) && !isBlind ? 1 : 0
    const spare = set!.length - 1 - placement.writeQuorum
    if (spare < own) return false
    let away = 0
    for (const node of set!) if (node === quorum.self ? isBlind : quorum.mayBeAway(node)) away++
    return away > spare
  }

  /** The time of the own copy if it hides the row; 0 if it does not. */
  #ownLater(row: Row<E>): number {
    const { local, env } = this
    const own = local.getIntactByKey(env.db, row.key)
    return own ? local.schema.hiddenBy!(row.entry, own) : 0
  }

  /** Sends rows of one partition, again if a replica knows a newer layout than this node. */
  async #send(
    partition: number,
    rows: WireRow[],
    priority: Priority,
    judged: Judged | undefined,
    held?: HeldRows,
  ): Promise<{ verdict: WriteVerdict; laterUs: number }> {
    const { placement } = this.env
    for (let i = 0; ; i++) {
      const { layoutMark } = placement
      let newer: NodeId | undefined
      const onOutdated = (node: NodeId) => {
        newer ??= node
      }
      try {
        const outcome = await this.#sendOnce(partition, rows, priority, judged, onOutdated, held)
        if (outcome.verdict !== 'undecided' || newer === undefined) return outcome
      } catch (error) {
        if (newer === undefined || i === LAYOUTS_MAX) throw error
      }
      await takeNewerLayout(placement, newer, layoutMark)
    }
  }

  /** The sets are taken in the same turn in which the write begins. */
  async #sendOnce(
    partition: number,
    rows: WireRow[],
    priority: Priority,
    judged: Judged | undefined,
    onOutdated: (node: NodeId) => void,
    held: HeldRows | undefined,
  ): Promise<{ verdict: WriteVerdict; laterUs: number }> {
    const { placement, quorum } = this.env
    const { name, placement: kind } = this.local.schema
    let sets = kind === 'full' ? placement.controlSets() : placement.writeSets(partition)
    if (sets.length === 0 || sets[0]!.length === 0) throw layoutNotReady()
    let needed: number | readonly number[] = placement.writeQuorum
    if (kind === 'full') {
      needed = sets.map((set) => majority(set.length))
      const all = placement.allNodes()
      if (sets.length > 1 || sets[0]!.length < all.length) {
        needed = [...needed, 0]
        sets = [...sets, all]
      } else needed = needed[0]!
    }
    let acknowledged = false
    let failed: NodeId[] | undefined
    const options = {
      quorum: needed,
      timeoutMs: rows.length > 1 ? BULK_TIMEOUT_MS : CALL_TIMEOUT_MS,
      priority,
      heldBy: held?.layoutMark === placement.layoutMark ? held.by : undefined,
      onFailure: (node: NodeId, error: unknown) => {
        const code = errorCode(error)
        if (code === 'LayoutOutdated') onOutdated(node)
        // A replica that refuses the row shall not get it later either.
        if (code === 'InvalidArgument' || code === 'ClockSkew') return
        if (acknowledged) this.missed.add(node, name, rows)
        else if (failed) failed.push(node)
        else failed = [node]
      },
    }
    const body = [placement.layoutMark, rows]
    const { verdict, replies } = judged
      ? await quorum.writeJudged(sets, this.#method, body, { ...options, ...judged, judge: judgeWrite })
      : { verdict: 'taken' as const, replies: await quorum.write(sets, this.#method, body, options) }
    acknowledged = true
    if (failed) for (const node of failed as NodeId[]) this.missed.add(node, name, rows)
    let laterUs = 0
    if (verdict !== 'taken') for (const reply of replies) laterUs = Math.max(laterUs, parseLater(reply.body))
    return { verdict, laterUs }
  }
}

export function undecided(method: string): CarportError {
  return new CarportError(
    'QuorumUnavailable',
    `${method}: replicas disagree, or cannot tell what was acknowledged before, and another one would have to decide`,
  )
}
