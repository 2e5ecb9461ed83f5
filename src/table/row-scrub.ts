import type { Db, Tx } from '../db/db.js'
import { type Clock, sleep } from '../util/clock.js'
import type { LocalTable } from './local.js'
import {
  HASH_BYTES,
  indexKeyOf,
  isZero,
  leafOf,
  prefixEnd,
  rowHashOf,
  rowKeyOfIndex,
  successor,
  xorInto,
} from './row-keys.js'
import { bodyHolds, headOf, isSealed, readMark, seal, sealedBody } from './seal.js'
import { sameHash } from './suspects.js'

/** Rows, and bytes of bodies, looked at in one turn of the event loop. */
const TURN_ROWS = 100
const TURN_BODY_BYTES = 512 << 10
const LEAF_KEY_BYTES = 3

const STAGES = ['rows', 'index', 'bodies'] as const
type Stage = (typeof STAGES)[number]

/** What one or more steps of the scrub of the tables found. */
export interface RowScrubCounts {
  /** Rows whose head and body were verified. */
  rows: number
  /** Rows that do not match their checksums, found now or known before. */
  damaged: number
  /** Rows of before there were checksums, which have one now. */
  sealed: number
  /** Entries of the index, fingerprints of leaves and bodies without a row that were put right. */
  mended: number
}

export interface RowScrubStep extends RowScrubCounts {
  /** Where to go on; undefined at the end. */
  next: string | undefined
}

interface Place {
  table: number
  stage: Stage
  /** Behind this key of the stage's tree; empty: from the first. */
  after: Buffer
}

/**
 * Walks over all rows of a node's tables and compares everything with everything: heads and bodies with their seals, the
 * index with the heads, the fingerprints of the leaves with the index. Heads are the truth: the rest is made from them
 * anew. Damaged rows are reported to the table, and repaired by DamagedRows.
 */
export class RowScrub {
  constructor(
    private readonly db: Db,
    private readonly clock: Clock,
    private readonly tables: readonly LocalTable<unknown>[],
    /** Told how many rows were marked as damaged here, rather than reported to their table. */
    private readonly onMarked: (rows: number) => void = () => {},
  ) {}

  /**
   * One bounded piece of work.
   * @param at what the step before returned as `next`; '' begins. What it does not understand begins anew.
   */
  async step(at: string): Promise<RowScrubStep> {
    const place = this.#parse(at)
    const local = this.tables[place.table]
    if (!local) return { ...nothing(), next: undefined }
    const counts = nothing()
    let last: Buffer | undefined
    if (place.stage === 'rows') last = await this.#rows(local, place.after, counts)
    else if (place.stage === 'index') last = await this.#index(local, place.after, counts)
    else last = await this.#bodies(local, place.after, counts)
    if (last) return { ...counts, next: this.#format({ ...place, after: last }) }
    const stage = STAGES[STAGES.indexOf(place.stage) + 1]
    if (stage) return { ...counts, next: this.#format({ ...place, stage, after: NOTHING }) }
    const table = place.table + 1
    const next =
      table < this.tables.length ? this.#format({ table, stage: 'rows', after: NOTHING }) : undefined
    return { ...counts, next }
  }

  /** Share of the walk that lies before `at`, 0 to 1; partitions count as equal. */
  progress(at: string): number {
    const { table, stage, after } = this.#parse(at)
    const weights = this.tables.map((local) => 1 + this.db.count(local.trees.head))
    const before = weights.slice(0, table).reduce((sum, weight) => sum + weight, 0)
    const all = weights.reduce((sum, weight) => sum + weight, 0)
    const inStage = after.length > 0 ? after[0]! / 256 : 0
    const inTable = (STAGES.indexOf(stage) + inStage) / STAGES.length
    return all === 0 ? 1 : (before + (weights[table] ?? 0) * inTable) / all
  }

  /** Heads and bodies against their seals, and the index against the heads. */
  async #rows(
    local: LocalTable<unknown>,
    after: Buffer,
    counts: RowScrubCounts,
  ): Promise<Buffer | undefined> {
    const { stored } = local
    const unsealed: Buffer[] = []
    const misplaced: Buffer[] = []
    let last: Buffer | undefined
    let bodyBytes = 0
    for (const { key, value } of this.db.range(stored.trees.head, behind(after, TURN_ROWS))) {
      const rowKey = Buffer.from(key)
      last = rowKey
      counts.rows++
      if (!stored.holds(this.db, rowKey, value)) {
        counts.damaged++
        // What is marked already has its turn.
        if (!readMark(rowKey, value)) stored.onDamaged(rowKey)
        continue
      }
      if (!isSealed(value)) unsealed.push(rowKey)
      else {
        const indexed = this.db.peek(stored.trees.index, indexKeyOf(rowKey, leafOf(rowKey)))
        if (!indexed?.equals(rowHashOf(rowKey, headOf(value)))) misplaced.push(rowKey)
        if (sealedBody(value)) {
          const body = this.db.peek(stored.trees.body, rowKey)
          bodyBytes += body?.length ?? 0
          if (!bodyHolds(value, body)) {
            counts.damaged++
            stored.onDamaged(rowKey)
          }
        }
      }
      if (bodyBytes > TURN_BODY_BYTES) break
    }
    if (unsealed.length > 0 || misplaced.length > 0) {
      const nowMs = this.clock.nowMs()
      const done = await this.db.transact((tx) => ({
        sealed: unsealed.map((rowKey) => sealRow(tx, local, rowKey, nowMs)),
        mended: misplaced.filter((rowKey) => mendIndex(tx, local, rowKey)).length,
      }))
      counts.sealed += done.sealed.filter((outcome) => outcome === 'sealed').length
      const marked = done.sealed.filter((outcome) => outcome === 'damaged').length
      counts.damaged += marked
      if (marked > 0) this.onMarked(marked)
      counts.mended += done.mended
    }
    return last
  }

  /** The index against the heads, one way more: entries without a row; and the leaves against the index. */
  async #index(
    local: LocalTable<unknown>,
    after: Buffer,
    counts: RowScrubCounts,
  ): Promise<Buffer | undefined> {
    const { trees } = local
    const first = this.#nextLeaf(local, after)
    if (!first) return undefined
    // As many whole leaves as fit, and at least one.
    const sums = new Map<string, Buffer>([[first.toString('latin1'), Buffer.alloc(HASH_BYTES)]])
    let entries = 0
    let last: Buffer | undefined
    for (const { key, value } of this.db.range(trees.index, { start: first, limit: TURN_ROWS })) {
      entries++
      last = Buffer.from(key.subarray(0, LEAF_KEY_BYTES))
      const id = last.toString('latin1')
      const sum = sums.get(id) ?? Buffer.alloc(HASH_BYTES)
      if (value.length === HASH_BYTES) xorInto(sum, value)
      sums.set(id, sum)
      this.#checkHead(local, key, counts)
    }
    const isCut = entries === TURN_ROWS
    if (isCut && last!.equals(first)) return this.#largeLeaf(local, first, counts)
    if (isCut) sums.delete(last!.toString('latin1'))
    // Leaves that have a fingerprint and no rows lie in between.
    const leaves = new Map<string, Buffer>()
    const until = isCut ? { end: last! } : { limit: TURN_ROWS }
    for (const { key, value } of this.db.range(trees.leaf, { start: first, ...until })) {
      leaves.set(key.toString('latin1'), value)
    }
    const wrong: Buffer[] = []
    const zero = Buffer.alloc(HASH_BYTES)
    let lastLeaf = first
    for (const id of new Set([...sums.keys(), ...leaves.keys()])) {
      const leaf = Buffer.from(id, 'latin1')
      if (leaf.compare(lastLeaf) > 0) lastLeaf = leaf
      if (!(leaves.get(id) ?? zero).equals(sums.get(id) ?? zero)) wrong.push(leaf)
    }
    for (const leaf of wrong) if (await this.#mendLeaf(local, leaf)) counts.mended++
    return lastLeaf
  }

  /** A leaf that is too large for one turn: its sum counts only if no row of it changed meanwhile. */
  async #largeLeaf(local: LocalTable<unknown>, leaf: Buffer, counts: RowScrubCounts): Promise<Buffer> {
    if (await this.#mendLeaf(local, leaf, (key) => this.#checkHead(local, key, counts))) counts.mended++
    return leaf
  }

  /**
   * Sums a leaf up, and sets its fingerprint if that is another. Every change of a row changes the fingerprint as well,
   * so that while it is the same, so are the rows; if it does not stay the same, the leaf is left to the next scrub.
   */
  async #mendLeaf(
    local: LocalTable<unknown>,
    leaf: Buffer,
    visit: (indexKey: Buffer) => void = () => {},
  ): Promise<boolean> {
    const { trees } = local
    const before = this.db.get(trees.leaf, leaf)
    const sum = Buffer.alloc(HASH_BYTES)
    const end = prefixEnd(leaf)
    let start: Buffer | undefined = leaf
    while (start) {
      let entries = 0
      let last: Buffer | undefined
      for (const { key, value } of this.db.range(trees.index, {
        start,
        ...(end && { end }),
        limit: TURN_ROWS,
      })) {
        entries++
        last = key
        if (value.length === HASH_BYTES) xorInto(sum, value)
        visit(key)
      }
      start = entries === TURN_ROWS ? successor(last!) : undefined
      if (start) await sleep(this.clock, 0)
    }
    if (sameHash(before, isZero(sum) ? undefined : sum)) return false
    return this.db.transact((tx) => {
      if (!sameHash(tx.get(trees.leaf, leaf), before)) return false
      if (isZero(sum)) tx.delete(trees.leaf, leaf)
      else tx.put(trees.leaf, leaf, sum)
      return true
    })
  }

  /** The next leaf, behind `after`, that has rows or a fingerprint. */
  #nextLeaf(local: LocalTable<unknown>, after: Buffer): Buffer | undefined {
    const { trees } = local
    const start = after.length > 0 ? prefixEnd(after) : NOTHING
    if (!start) return undefined
    const from = start.length > 0 ? { start, limit: 1 } : { limit: 1 }
    let least: Buffer | undefined
    for (const tree of [trees.index, trees.leaf]) {
      for (const key of this.db.keys(tree, from)) {
        const leaf = Buffer.from(key.subarray(0, LEAF_KEY_BYTES))
        if (!least || leaf.compare(least) < 0) least = leaf
      }
    }
    return least
  }

  #checkHead({ stored }: LocalTable<unknown>, indexKey: Buffer, counts: RowScrubCounts): void {
    const rowKey = rowKeyOfIndex(indexKey)
    if (this.db.has(stored.trees.head, rowKey)) return
    counts.damaged++
    stored.onDamaged(rowKey)
  }

  /** Bodies that no row has. */
  async #bodies(
    local: LocalTable<unknown>,
    after: Buffer,
    counts: RowScrubCounts,
  ): Promise<Buffer | undefined> {
    const { trees } = local
    const orphans: Buffer[] = []
    let last: Buffer | undefined
    for (const key of this.db.keys(trees.body, behind(after, TURN_ROWS))) {
      last = Buffer.from(key)
      if (!this.db.has(trees.head, last)) orphans.push(last)
    }
    if (orphans.length > 0) {
      counts.mended += await this.db.transact((tx) => {
        const still = orphans.filter((key) => !tx.has(trees.head, key) && tx.has(trees.body, key))
        for (const key of still) tx.delete(trees.body, key)
        return still.length
      })
    }
    return last
  }

  /** [table name]/[stage]/[key in hexadecimal digits] */
  #format({ table, stage, after }: Place): string {
    return `${this.tables[table]!.schema.name}/${stage}/${after.toString('hex')}`
  }

  #parse(at: string): Place {
    const [name, stage, hex] = at.split('/')
    const table = this.tables.findIndex((local) => local.schema.name === name)
    if (table < 0 || !STAGES.includes(stage as Stage)) return { table: 0, stage: 'rows', after: NOTHING }
    return { table, stage: stage as Stage, after: Buffer.from(hex ?? '', 'hex') }
  }
}

const NOTHING = Buffer.alloc(0)

function nothing(): RowScrubCounts {
  return { rows: 0, damaged: 0, sealed: 0, mended: 0 }
}

function behind(after: Buffer, limit: number): { start?: Buffer; limit: number } {
  return after.length > 0 ? { start: successor(after), limit } : { limit }
}

/** Puts a bare head, for which the index vouches, under a seal; marks the row if its body is not the head's. */
function sealRow(
  tx: Tx,
  local: LocalTable<unknown>,
  rowKey: Buffer,
  nowMs: number,
): 'sealed' | 'damaged' | undefined {
  const { schema, stored, damage } = local
  const value = tx.get(stored.trees.head, rowKey)
  if (!value || isSealed(value) || !stored.holds(tx, rowKey, value)) return undefined
  const body = tx.get(stored.trees.body, rowKey)
  if (
    body &&
    schema.bodyMatches?.(
      local.codec.decodeStored(value, () => body),
      body,
    ) === false
  ) {
    damage.mark(tx, rowKey, nowMs)
    return 'damaged'
  }
  tx.put(stored.trees.head, rowKey, seal(rowKey, value, body))
  return 'sealed'
}

/** Makes a row's entry in the index from its head. Its leaf is summed up later in the walk. */
function mendIndex(tx: Tx, { stored }: LocalTable<unknown>, rowKey: Buffer): boolean {
  const value = tx.get(stored.trees.head, rowKey)
  if (!value || !isSealed(value) || !stored.holds(tx, rowKey, value)) return false
  const indexKey = indexKeyOf(rowKey, leafOf(rowKey))
  const hash = rowHashOf(rowKey, headOf(value))
  if (tx.peek(stored.trees.index, indexKey)?.equals(hash)) return false
  tx.put(stored.trees.index, indexKey, hash)
  return true
}
