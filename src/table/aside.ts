import { pack, unpack } from 'msgpackr'
import type { Reader, Tx } from '../db/db.js'
import { type NodeId, Priority } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import { versioned } from '../util/format.js'
import { ballotTimeUs } from './ballot.js'
import { inParts } from './in-parts.js'
import { LeafChanges } from './leaves.js'
import type { LocalTable } from './local.js'
import { methodOf } from './replica.js'
import { ASIDE_TREE, HASH_BYTES, successor } from './row-keys.js'
import type { Row } from './rows.js'
import { copyOf, type Standing } from './standing.js'
import { REPAIR_ROWS_MAX } from './sync-rpc.js'
import type { TableEnv } from './table.js'

const CALL_TIMEOUT_MS = 30_000
/** Rows that are remembered while it is not certain yet that no other replica will have them. */
const SUSPECTS_MAX = 100_000
const SWEEP_ROWS = 500

/** A row that was put aside. */
interface RowAside {
  /** When, in ms since the epoch. */
  readonly atMs: number
  readonly head: Buffer
  readonly body: Buffer | undefined
}

const FORMAT = versioned<RowAside>('row that was put aside', {
  encode: ({ atMs, head, body }) => pack([atMs, head, body ?? null]),
  writes: 1,
  versions: { 1: decodeAside },
})

/** Which of some rows another replica knows, so that they must stay. */
type AreKnown = (node: NodeId, items: readonly { key: Buffer }[]) => Promise<boolean[]>

interface Suspect {
  readonly hash: Buffer
  /** When it was first found here and nowhere else, in monotonic ms; undefined if another replica has it. */
  sinceMs: number | undefined
}

/**
 * Rows of a joining copy that the other replicas lack, or have another one for. No write quorum acknowledged such a row, or it was deleted for
 * good: in either case it must not come back. It is let go of, and kept aside for a while, in case an administrator
 * knows better (all other replicas were lost).
 *
 * A write under way may have reached this replica first: a row is let go of only if it was alone here twice, with so much
 * time in between that every write which was under way the first time has ended.
 */
export class Suspects {
  readonly #suspects = new Map<string, Suspect>()

  constructor(
    private readonly env: TableEnv,
    private readonly standing: Standing,
    private readonly tables: ReadonlyMap<string, LocalTable<unknown>>,
    private readonly settleMs: number,
    /** How long tombstones stay at least, in ms. */
    private readonly tombstoneDelayMs: number,
  ) {}

  /**
   * Looks into rows of one partition that a whole copy lacks. Resolves with the number of those about which nothing can
   * be said yet.
   * @throws CarportError of a call
   */
  async settle<E>(local: LocalTable<E>, partition: number, keys: readonly Buffer[]): Promise<number> {
    return this.#settle(local, partition, keys, (node, items) => this.#known(local, node, items))
  }

  /**
   * Settles old rows here that hide a whole copy's row of the same key. Such a row may have been deleted for good and yet order
   * after newer ones, since a conditional write on nothing comes before all others. Rows younger than a tombstone's life cannot
   * have been.
   * @returns the number of those about which nothing can be said yet
   * @throws CarportError of a call
   */
  async settleHiding<E>(local: LocalTable<E>, partition: number, keys: readonly Buffer[]): Promise<number> {
    const { clock, db } = this.env
    const { conditional, timeUs } = local.schema
    if (!conditional || !timeUs) return 0
    const forgottenUs = (clock.nowMs() - this.tombstoneDelayMs) * 1000
    const old = keys.filter((key) => {
      const entry = local.getIntactByKey(db, key)
      if (entry === undefined) return false
      const ballot = conditional.ballotOf(entry)
      return Math.max(timeUs(entry), ballot ? ballotTimeUs(ballot) : 0) < forgottenUs
    })
    return this.#settle(local, partition, old, (node, items) => this.#haveSame(local, node, items))
  }

  async #settle<E>(
    local: LocalTable<E>,
    partition: number,
    keys: readonly Buffer[],
    areKnown: AreKnown,
  ): Promise<number> {
    const { clock, db } = this.env
    const nowMs = clock.monotonicMs()
    const due: { key: Buffer; hash: Buffer }[] = []
    let open = 0
    for (const key of keys) {
      const hash = local.rowHash(db, key)
      if (!hash) continue
      const id = idOf(local, key)
      const known = this.#suspects.get(id)
      if (!known?.hash.equals(hash)) {
        open++
        if (known || this.#suspects.size < SUSPECTS_MAX) this.#suspects.set(id, { hash, sinceMs: nowMs })
      } else if (known.sinceMs !== undefined) {
        open++
        if (nowMs - known.sinceMs >= this.settleMs) due.push({ key, hash })
      }
    }
    for (let at = 0; at < due.length; at += REPAIR_ROWS_MAX) {
      open -= await this.#letGo(local, partition, due.slice(at, at + REPAIR_ROWS_MAX), areKnown)
    }
    return open
  }

  /** Resolves with the number of rows that are settled, one way or the other. */
  async #letGo<E>(
    local: LocalTable<E>,
    partition: number,
    items: readonly { key: Buffer; hash: Buffer }[],
    areKnown: AreKnown,
  ): Promise<number> {
    const { transport } = this.env
    const { nodes, needed } = this.standing.quorumToJoin(copyOf(local.schema, partition))
    const asked = nodes.filter((node) => transport.isConnected(node))
    const answers = await Promise.allSettled(asked.map((node) => areKnown(node, items)))
    const heard = answers.filter((answer) => answer.status === 'fulfilled').map(({ value }) => value)
    if (heard.length < needed) return 0
    let settled = 0
    const alone: { key: Buffer; hash: Buffer }[] = []
    for (const [i, item] of items.entries()) {
      if (heard.some((known) => known[i])) {
        this.#suspects.set(idOf(local, item.key), { hash: item.hash, sinceMs: undefined })
        settled++
      } else alone.push(item)
    }
    if (alone.length > 0) {
      await setAside(this.env, local, alone)
      this.env.log.warn(
        { table: local.schema.name, partition, rows: alone.length },
        'rows that no other replica has were put aside: they were deleted, or never acknowledged',
      )
      for (const { key } of alone) this.#suspects.delete(idOf(local, key))
    }
    return settled + alone.length
  }

  /** Which of these rows a node has, in whatever state. */
  async #known<E>(local: LocalTable<E>, node: NodeId, items: readonly { key: Buffer }[]): Promise<boolean[]> {
    // In this order: a row that moves there meanwhile is seen in one place or the other.
    const unmoved = await this.#unmoved(local, node, items)
    const keys = items.map(({ key }) => key)
    const hashes = await rowHashes(this.env, local, node, keys)
    return items.map((_, i) => unmoved[i] || hashes[i] !== undefined)
  }

  /** Which of these rows a node has as well, whatever has been merged into them. */
  async #haveSame<E>(
    local: LocalTable<E>,
    node: NodeId,
    items: readonly { key: Buffer }[],
  ): Promise<boolean[]> {
    const { isSame } = local.schema.conditional!
    const have: boolean[] = []
    while (have.length < items.length) {
      const keys = items.slice(have.length).map(({ key }) => key)
      for (const [i, row] of (await fetchRows(this.env, local, node, keys)).entries()) {
        const own = local.getIntactByKey(this.env.db, keys[i]!)
        have.push(own === undefined || (row !== undefined && isSame(own, row.entry)))
      }
    }
    return have
  }

  /**
   * Which of these rows a node has as their sources still, from which they have moved here. A write of the source that reached
   * this copy alone moves it here: it moves there once this copy is whole and gives that write to others.
   */
  async #unmoved<E>(
    local: LocalTable<E>,
    node: NodeId,
    items: readonly { key: Buffer }[],
  ): Promise<boolean[]> {
    const { db } = this.env
    const sources = sourcesOf(db, local, this.tables, items)
    if (!sources) return items.map(() => false)
    const { table, keys, hashes } = sources
    const theirs = await rowHashes(this.env, table, node, keys)
    // Several rows may have moved from one.
    const differing = new Map<string, Buffer>()
    for (const [i, key] of keys.entries())
      if (!sameHash(hashes[i], theirs[i])) differing.set(key.toString('latin1'), key)
    const rows = new Map<string, unknown>()
    while (rows.size < differing.size) {
      const asked = [...differing.values()].slice(rows.size)
      const answer = await fetchRows(this.env, table, node, asked)
      for (const [i, row] of answer.entries()) rows.set(asked[i]!.toString('latin1'), row?.entry)
    }
    return items.map(({ key }, i) => {
      const from = rows.get(keys[i]!.toString('latin1'))
      const entry = from === undefined ? undefined : local.getIntactByKey(db, key)
      return entry !== undefined && local.schema.source!.mayMove(from, entry)
    })
  }
}

/**
 * The first rows of these, of one partition, that a node has: as many as fit into one answer, at least one.
 * @throws CarportError
 */
async function fetchRows<E>(
  env: TableEnv,
  local: LocalTable<E>,
  node: NodeId,
  keys: readonly Buffer[],
): Promise<(Row<E> | undefined)[]> {
  const reply = await env.quorum.call(node, methodOf(local.schema.name, 'fetch'), [keys], {
    timeoutMs: CALL_TIMEOUT_MS,
    priority: Priority.background,
  })
  const rows = Array.isArray(reply.body) ? reply.body[1] : undefined
  if (!Array.isArray(rows) || rows.length === 0 || rows.length > keys.length)
    throw new CarportError('RemoteError', 'malformed reply to a question for rows')
  return rows.map((row) => (row === null ? undefined : local.codec.parseAll([row])[0]))
}

/** The rows of another table from which rows of this one may have moved, with their hashes here. */
export function sourcesOf<E>(
  reader: Reader,
  local: LocalTable<E>,
  tables: ReadonlyMap<string, LocalTable<unknown>>,
  items: readonly { key: Buffer }[],
):
  | { table: LocalTable<unknown>; keys: Buffer[]; hashes: (Buffer | undefined)[]; settled: boolean[] }
  | undefined {
  const { source } = local.schema
  const table = source && tables.get(source.table)
  if (!source || !table) return undefined
  const keys: Buffer[] = []
  const settled: boolean[] = []
  for (const { key } of items) {
    const row = local.encoded(reader, key)
    const entry = row && local.codec.decodeStored(row.head, () => row.body)
    const at = 1 + local.schema.partitionKeyBytes
    const sortKey = source.sortKey(key.subarray(at))
    const sourceKey = Buffer.concat([key.subarray(0, at), sortKey])
    keys.push(sourceKey)
    const stored = table.encoded(reader, sourceKey)
    const from = stored && table.codec.decodeStored(stored.head, () => stored.body)
    settled.push(!entry || !from || !source.mayMove(from, entry))
  }
  return { table, keys, hashes: keys.map((key) => table.rowHash(reader, key)), settled }
}

/** Whether both are the same, also if both are absent. */
export function sameHash(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined ? b === undefined : b !== undefined && a.equals(b)
}

/** The hashes of rows of one partition on a whole copy; undefined for those that are absent there. @throws CarportError */
export async function rowHashes<E>(
  env: TableEnv,
  local: LocalTable<E>,
  node: NodeId,
  keys: readonly Buffer[],
): Promise<(Buffer | undefined)[]> {
  const reply = await env.quorum.call(node, methodOf(local.schema.name, 'row-hashes'), [keys], {
    timeoutMs: CALL_TIMEOUT_MS,
    priority: Priority.background,
  })
  const all = reply.body
  if (!Buffer.isBuffer(all) || all.length !== keys.length * HASH_BYTES) {
    throw new CarportError('RemoteError', 'malformed reply to a question for hashes')
  }
  return keys.map((_, i) => {
    const hash = all.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)
    return hash.every((byte) => byte === 0) ? undefined : Buffer.from(hash)
  })
}

/** Moves rows out of the table, if they are still the same, and keeps them aside. */
export async function setAside<E>(
  env: TableEnv,
  local: LocalTable<E>,
  items: readonly { key: Buffer; hash: Buffer }[],
): Promise<number> {
  const nowMs = env.clock.nowMs()
  const parts = await inParts(env.db, items, (tx, part) => {
    const leaves = new LeafChanges()
    let moved = 0
    for (const { key, hash } of part) {
      const row = local.encoded(tx, key)
      if (!row || !local.drop(tx, key, hash, leaves)) continue
      tx.put(ASIDE_TREE, asideKey(local, key), FORMAT.encode({ atMs: nowMs, head: row.head, body: row.body }))
      moved++
    }
    leaves.flush(tx, local.trees)
    return moved
  })
  return parts.reduce((sum, moved) => sum + moved, 0)
}

/** Removes rows that were put aside before `beforeMs`, in ms since the epoch. */
export async function sweepAside(env: TableEnv, beforeMs: number): Promise<void> {
  let start: Buffer | undefined
  do {
    const old: Buffer[] = []
    let last: Buffer | undefined
    for (const { key, value } of env.db.range(ASIDE_TREE, { ...(start && { start }), limit: SWEEP_ROWS })) {
      last = Buffer.from(key)
      if (FORMAT.decode(value).atMs < beforeMs) old.push(last)
    }
    if (old.length > 0)
      await env.db.transact((tx: Tx) => old.forEach((key) => void tx.delete(ASIDE_TREE, key)))
    start = last && successor(last)
  } while (start)
}

/**
 * Gives the rows that were put aside to all replicas again, as if they were written now for the first time: for an
 * administrator who knows that the others lost them. Resolves with their number.
 * @throws CarportError of the first call that failed; the rows are still there then
 */
export async function restoreAside(
  env: TableEnv,
  standing: Standing,
  tables: ReadonlyMap<string, LocalTable<unknown>>,
  signal?: AbortSignal,
): Promise<number> {
  let restored = 0
  for (const local of tables.values()) {
    const prefix = Buffer.from(`${local.schema.name}\0`)
    let start: Buffer | undefined = prefix
    while (start && !signal?.aborted) {
      const [entry] = [...env.db.range(ASIDE_TREE, { start, limit: 1 })]
      if (!entry?.key.subarray(0, prefix.length).equals(prefix)) break
      const key = Buffer.from(entry.key)
      const rowKey = key.subarray(prefix.length)
      const { head, body } = FORMAT.decode(entry.value)
      const row = local.codec.wire(rowKey, head, body)
      const holders = standing.holders(copyOf(local.schema, rowKey[0]!))
      const options = { timeoutMs: CALL_TIMEOUT_MS, priority: Priority.background }
      for (const node of holders)
        await env.quorum.call(node, methodOf(local.schema.name, 'hint'), [[row]], options)
      await env.db.transact((tx) => tx.delete(ASIDE_TREE, key))
      restored++
      start = successor(key)
    }
  }
  return restored
}

function decodeAside(payload: Buffer): RowAside {
  const stored: unknown = unpack(payload)
  if (!Array.isArray(stored) || typeof stored[0] !== 'number' || !Buffer.isBuffer(stored[1])) {
    throw new CarportError('Corrupted', 'malformed row that was put aside')
  }
  return { atMs: stored[0], head: stored[1], body: Buffer.isBuffer(stored[2]) ? stored[2] : undefined }
}

/** [table name][0][row key] */
function asideKey<E>(local: LocalTable<E>, rowKey: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${local.schema.name}\0`), rowKey])
}

function idOf<E>(local: LocalTable<E>, rowKey: Buffer): string {
  return `${local.schema.name}\0${rowKey.toString('latin1')}`
}
