import { type NodeId, Priority } from '../net/transport.js'
import { sleep } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { eachLimited } from '../util/limited.js'
import { setAside } from './aside.js'
import { inParts } from './in-parts.js'
import { LeafChanges } from './leaves.js'
import type { LocalTable } from './local.js'
import { type CopyMarks, decodeMarks, encodeMarks, NO_MARKS } from './marks.js'
import { applyRows, methodOf } from './replica.js'
import { HASH_BYTES, indexKeyOf, LEAF_COUNT, leafOf, rowHashOf } from './row-keys.js'
import { batchesOf, type Row, type WireRow } from './rows.js'
import { copyOf, type Standing } from './standing.js'
import { isUnknownMethod } from './standing-rpc.js'
import { rowHashes, type Suspects } from './suspects.js'
import {
  HASHES_MAX,
  parseLeaves,
  REPAIR_BYTES_MAX,
  REPAIR_ROWS_MAX,
  ROOTS_AT_ONCE,
  ROOTS_MAX,
} from './sync-rpc.js'
import type { TableEnv } from './table.js'

/** Leaves whose keys are compared in one go. */
const LEAVES_AT_ONCE = 64
const PARTITIONS_AT_ONCE = 4
const CALL_TIMEOUT_MS = 30_000

export interface SyncCounts {
  rowsPulled: number
  rowsPushed: number
  rowsDropped: number
}

/** How a partition is compared with a peer. */
export interface Comparison {
  readonly partition: number
  /** Whether this node's copy is joining: it takes what the peer has, and gives nothing. */
  readonly joins: boolean
}

/**
 * Anti-entropy of one table's copy on this node with the copies of others. All calls have background priority,
 * and every piece of work between two yields is bounded, so that requests of clients pass between.
 */
export class SyncSession<E> {
  constructor(
    private readonly local: LocalTable<E>,
    private readonly env: TableEnv,
    private readonly counts: SyncCounts,
    private readonly signal: AbortSignal,
    private readonly standing: Standing,
    private readonly suspects: Suspects,
    private readonly priority: Priority = Priority.background,
  ) {}

  /**
   * Makes the copies of partitions here and on `peer` the same, as of some moment after the call; `done` is told
   * of each partition that is. Where the copy here is joining, it then has all that the peer has, and no rows that
   * nobody else has. Partitions the peer does not hold (by its own layout) are left out.
   * @param known roots of the own copies that the caller accepts, which are made anew only when a partition changed
   *   here by a comparison: what was equal to an older state of the own copy was complete then.
   * @throws CarportError of the first call that failed
   */
  async syncWith(
    peer: NodeId,
    comparisons: readonly Comparison[],
    known: Map<number, Buffer | null>,
    done: (partition: number) => void,
  ): Promise<void> {
    const { db } = this.env
    const joins = new Set(comparisons.filter((each) => each.joins).map(({ partition }) => partition))
    for (let at = 0; at < comparisons.length; at += ROOTS_MAX) {
      const roots: [number, Buffer | null][] = []
      let present = 0
      for (const { partition } of comparisons.slice(at, at + ROOTS_MAX)) {
        let root = known.get(partition)
        if (root === undefined) {
          root = this.local.root(db, partition) ?? null
          known.set(partition, root)
          if (root && ++present % ROOTS_AT_ONCE === 0) await this.#yield()
        }
        roots.push([partition, root])
      }
      const { differ, refused } = await this.#differing(peer, roots)
      for (const [partition] of roots) {
        if (!differ.includes(partition) && !refused.includes(partition)) done(partition)
      }
      await eachLimited(differ, PARTITIONS_AT_ONCE, async (partition) => {
        known.delete(partition)
        if (await this.#syncPartition(peer, partition, joins.has(partition))) done(partition)
      })
    }
  }

  /** A peer of a release without this table differs in nothing: it has no row of it that could be missing here. */
  async #differing(
    peer: NodeId,
    roots: readonly unknown[],
  ): Promise<{ differ: number[]; refused: number[] }> {
    try {
      return parseRoots(await this.#call(peer, 'roots', roots))
    } catch (error) {
      if (!isUnknownMethod(error)) throw error
      return { differ: [], refused: [] }
    }
  }

  /** Resolves with whether nothing is left open. */
  async #syncPartition(peer: NodeId, partition: number, joins: boolean): Promise<boolean> {
    const theirs = parseLeaves(await this.#call(peer, 'leaves', [partition]))
    const mine = parseLeaves(this.local.leaves(this.env.db, partition))
    const differing: number[] = []
    for (let leaf = 0; leaf < LEAF_COUNT; leaf++) {
      const a = mine.get(leaf)
      const b = theirs.get(leaf)
      if (a ? !b?.equals(a) : b !== undefined) differing.push(leaf)
    }
    let open = 0
    for (let at = 0; at < differing.length; at += LEAVES_AT_ONCE) {
      open += await this.#syncLeaves(peer, partition, differing.slice(at, at + LEAVES_AT_ONCE), joins)
    }
    return open === 0
  }

  /**
   * Compares the keys of some leaves, at most HASHES_MAX on either side at a time, and exchanges what differs. Resolves
   * with the number of rows here about which nothing can be said yet (see Suspects).
   */
  async #syncLeaves(
    peer: NodeId,
    partition: number,
    leaves: readonly number[],
    joins: boolean,
  ): Promise<number> {
    let open = 0
    let after: Buffer | undefined
    do {
      const theirs = parseHashes(
        await this.#call(peer, 'hashes', [partition, leaves, after ?? null]),
        (key) => this.local.codec.checkRowKey(key),
      )
      const mine = this.local.hashes(this.env.db, partition, leaves, {
        after,
        last: theirs.next,
        limit: HASHES_MAX,
      })
      // Both lists speak for all keys up to the end of the shorter one.
      const until = mine.next ?? theirs.next
      const pull: Buffer[] = []
      const push: Buffer[] = []
      const known = new Map(mine.keys.map((key, i) => [key.toString('latin1'), mine.hashes[i]!]))
      for (const [i, key] of theirs.keys.entries()) {
        if (until && indexKeyOf(key, leafOf(key)).compare(until) > 0) break
        const id = key.toString('latin1')
        if (!known.get(id)?.equals(theirs.hashes[i]!)) pull.push(key)
        known.delete(id)
      }
      const absent = [...known.keys()].map((id) => Buffer.from(id, 'latin1'))
      open += await this.#pull(peer, pull, push)
      if (joins) {
        open += await this.suspects.settle(this.local, partition, absent)
        open += await this.suspects.settleHiding(this.local, partition, push)
      } else await this.#push(peer, partition, [...absent, ...push])
      after = until
      await this.#yield()
    } while (after)
    return open
  }

  /**
   * Fetches rows and merges them in; those that differ from the peer's afterwards are added to `push`. Resolves with the number
   * of rows that a promise keeps out for now.
   */
  async #pull(peer: NodeId, keys: readonly Buffer[], push: Buffer[]): Promise<number> {
    const { db } = this.env
    let held = 0
    for (let at = 0; at < keys.length; ) {
      const asked = keys.slice(at, at + REPAIR_ROWS_MAX)
      const { marks, reply } = await this.#fetch(peer, asked)
      if (reply.length === 0 || reply.length > asked.length) {
        throw new CarportError('RemoteError', 'malformed reply to a pull')
      }
      const rows = this.local.codec.parseAll(reply.filter((row) => row !== null))
      const copy = copyOf(this.local.schema, asked[0]![0]!)
      const refused = await this.local.underWay.follow(
        rows.map((row) => row.key),
        inParts(db, rows, (tx, part) => {
          this.standing.checkSource(tx, copy, marks)
          const kept: Row<E>[] = []
          applyRows(tx, this.local, part, kept)
          return kept
        }),
      )
      held += refused.flat().filter((row) => this.local.promises?.wasHeld(row)).length
      for (const row of rows) {
        if (!this.local.rowHash(db, row.key)?.equals(rowHashOf(row.key, row.head))) push.push(row.key)
      }
      this.counts.rowsPulled += rows.length
      at += reply.length
      await this.#yield()
    }
    return held
  }

  /** Rows of one partition as the peer has them, with the marks that its copy had. */
  async #fetch(peer: NodeId, keys: readonly Buffer[]): Promise<{ marks: CopyMarks; reply: unknown[] }> {
    try {
      const [marks, rows] = asArray(await this.#call(peer, 'fetch', [keys]))
      return { marks: decodeMarks(marks), reply: asArray(rows) }
    } catch (error) {
      if (!isUnknownMethod(error)) throw error
      return { marks: NO_MARKS, reply: asArray(await this.#call(peer, 'pull', [keys])) }
    }
  }

  /**
   * Sends the current rows of these keys, of one partition; resolves when the peer has merged them durably, with the keys of
   * those that it cannot take yet.
   */
  async #push(peer: NodeId, partition: number, keys: readonly Buffer[]): Promise<Buffer[]> {
    const copy = copyOf(this.local.schema, partition)
    const held: Buffer[] = []
    for (let at = 0; at < keys.length; at += REPAIR_ROWS_MAX) {
      // Read before the rows: the copy may take part in a collection while they are sent.
      const marks = encodeMarks(this.standing.marksIn(this.env.db, copy))
      const current = this.#currentRows(keys.slice(at, at + REPAIR_ROWS_MAX))
      for (const rows of batchesOf(current, REPAIR_BYTES_MAX, REPAIR_ROWS_MAX)) {
        try {
          const reply = await this.#call(peer, 'offer', [[[copy, marks]], rows])
          if (Array.isArray(reply)) held.push(...reply.map((key) => this.local.codec.checkRowKey(key)))
        } catch (error) {
          if (!isUnknownMethod(error)) throw error
          await this.#call(peer, 'push', [rows])
        }
        this.counts.rowsPushed += rows.length
      }
    }
    return held
  }

  *#currentRows(keys: readonly Buffer[]): Generator<WireRow> {
    for (const key of keys) {
      const row = this.local.encoded(this.env.db, key)
      if (row) yield this.local.codec.wire(key, row.head, row.body)
    }
  }

  /**
   * Hands a partition over to `targets`, which all must take it, and drops the rows here that every one of them
   * holds. `mayDrop` is asked in each transaction that drops. Rows that change meanwhile are left for the next time.
   * @throws CarportError of the first call that failed; what was dropped till then is safe.
   */
  async handOver(partition: number, targets: readonly NodeId[], mayDrop: () => boolean): Promise<void> {
    while (mayDrop()) {
      const { keys, hashes } = this.#firstRows(partition)
      if (keys.length === 0) return
      const held = new Set<string>()
      for (const target of targets) {
        const reply = await this.#call(target, 'check', [keys, Buffer.concat(hashes)])
        if (!Array.isArray(reply)) throw new CarportError('RemoteError', 'malformed reply to a check')
        const missing = reply.map((i) => this.local.codec.checkRowKey(keys[Number(i)]))
        for (const key of await this.#push(target, partition, missing)) held.add(key.toString('latin1'))
      }
      const isThere = (key: Buffer) => !held.has(key.toString('latin1'))
      const there = hashes.filter((_, i) => isThere(keys[i]!))
      if ((await this.#drop(keys.filter(isThere), there, mayDrop)) === 0) return
      await this.#yield()
    }
  }

  /**
   * Gives up a partition that is not to be handed over, since this copy missed a collection of tombstones (or was never
   * whole): rows that all `targets` lack are put aside, as they may be deleted ones; the others are known there.
   * @throws CarportError of the first call that failed
   */
  async giveUp(partition: number, targets: readonly NodeId[], mayDrop: () => boolean): Promise<void> {
    while (mayDrop()) {
      const { keys, hashes } = this.#firstRows(partition)
      if (keys.length === 0) return
      const theirs = await Promise.all(targets.map((node) => rowHashes(this.env, this.local, node, keys)))
      const alone = keys.filter((_, i) => theirs.every((known) => known[i] === undefined))
      if (alone.length > 0 && mayDrop()) {
        const items = alone.map((key) => ({ key, hash: hashes[keys.indexOf(key)]! }))
        this.counts.rowsDropped += await setAside(this.env, this.local, items)
        this.env.log.warn(
          { table: this.local.schema.name, partition, rows: alone.length },
          'rows of a partition that moved away, and that its replicas lack, were put aside: they may be deleted ones',
        )
      }
      const rest = keys.map((key, i) => ({ key, hash: hashes[i]! })).filter(({ key }) => !alone.includes(key))
      const dropped = await this.#drop(
        rest.map(({ key }) => key),
        rest.map(({ hash }) => hash),
        mayDrop,
      )
      if (alone.length + dropped === 0) return
      await this.#yield()
    }
  }

  #firstRows(partition: number): { keys: Buffer[]; hashes: Buffer[] } {
    const { db } = this.env
    const start = Buffer.of(partition)
    const range = partition < 255 ? { start, end: Buffer.of(partition + 1) } : { start }
    const keys = [...db.keys(this.local.trees.head, { ...range, limit: REPAIR_ROWS_MAX })].map((key) =>
      Buffer.from(key),
    )
    return { keys, hashes: keys.map((key) => this.local.rowHash(db, key) ?? Buffer.alloc(HASH_BYTES)) }
  }

  async #drop(keys: readonly Buffer[], hashes: readonly Buffer[], mayDrop: () => boolean): Promise<number> {
    const rows = keys.map((key, i) => ({ key, hash: hashes[i]! }))
    const parts = await inParts(this.env.db, rows, (tx, part) => {
      const leaves = new LeafChanges()
      let count = 0
      for (const { key, hash } of part) if (mayDrop() && this.local.drop(tx, key, hash, leaves)) count++
      leaves.flush(tx, this.local.trees)
      return count
    })
    const dropped = parts.reduce((sum, count) => sum + count, 0)
    this.counts.rowsDropped += dropped
    return dropped
  }

  #yield(): Promise<void> {
    return sleep(this.env.clock, 0, this.signal)
  }

  async #call(peer: NodeId, method: string, body: unknown): Promise<unknown> {
    if (this.signal.aborted) throw this.signal.reason
    const reply = await this.env.quorum.call(peer, methodOf(this.local.schema.name, method), body, {
      timeoutMs: CALL_TIMEOUT_MS,
      priority: this.priority,
      signal: this.signal,
    })
    return reply.body
  }
}

function asArray(reply: unknown): unknown[] {
  if (!Array.isArray(reply)) throw new CarportError('RemoteError', 'malformed reply to a pull')
  return reply
}

function parseRoots(reply: unknown): { differ: number[]; refused: number[] } {
  if (!Array.isArray(reply) || !Array.isArray(reply[0]) || !Array.isArray(reply[1])) {
    throw new CarportError('RemoteError', 'malformed reply to a comparison of roots')
  }
  return { differ: reply[0].map(Number), refused: reply[1].map(Number) }
}

function parseHashes(
  reply: unknown,
  checkKey: (key: unknown) => Buffer,
): { keys: Buffer[]; hashes: Buffer[]; next: Buffer | undefined } {
  if (
    !Array.isArray(reply) ||
    !Array.isArray(reply[0]) ||
    !Buffer.isBuffer(reply[1]) ||
    reply[1].length !== reply[0].length * HASH_BYTES ||
    !(reply[2] === null || Buffer.isBuffer(reply[2]))
  ) {
    throw new CarportError('RemoteError', 'malformed reply to a comparison of keys')
  }
  const all = reply[1]
  return {
    keys: reply[0].map(checkKey),
    hashes: reply[0].map((_, i) => all.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)),
    next: reply[2] ?? undefined,
  }
}
