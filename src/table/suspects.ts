import type { Reader } from '../db/db.js'
import { type NodeId, Priority } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import { setAside } from './aside.js'
import { ballotTimeUs } from './ballot.js'
import type { LocalTable } from './local.js'
import { methodOf } from './replica.js'
import { HASH_BYTES, rowHashOf } from './row-keys.js'
import type { Row } from './rows.js'
import { copyOf, type Standing } from './standing.js'
import { REPAIR_ROWS_MAX } from './sync-rpc.js'
import type { TableEnv } from './table.js'

const CALL_TIMEOUT_MS = 30_000
/** Rows that are remembered while it is not certain yet that no other replica will have them. */
const SUSPECTS_MAX = 100_000

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
   * have been. Where rows are merged from parts, the same goes for old parts that a whole copy's row lacks.
   * @returns the number of those about which nothing can be said yet
   * @throws CarportError of a call
   */
  async settleHiding<E>(local: LocalTable<E>, partition: number, keys: readonly Buffer[]): Promise<number> {
    const { clock, db } = this.env
    const { conditional, timeUs, partOf } = local.schema
    const forgottenUs = (clock.nowMs() - this.tombstoneDelayMs) * 1000
    if (partOf)
      return this.#settleParts(local, partition, keys, (entry, age) => partOf(entry, age, forgottenUs))
    if (!conditional || !timeUs) return 0
    const old = keys.filter((key) => {
      const entry = local.getIntactByKey(db, key)
      if (entry === undefined) return false
      const ballot = conditional.ballotOf(entry)
      return Math.max(timeUs(entry), ballot ? ballotTimeUs(ballot) : 0) < forgottenUs
    })
    return this.#settle(local, partition, old, (node, items) =>
      this.#haveSame(local, node, items, conditional.isSame),
    )
  }

  async #settleParts<E>(
    local: LocalTable<E>,
    partition: number,
    keys: readonly Buffer[],
    partOf: (entry: E, age: 'older' | 'younger') => E | undefined,
  ): Promise<number> {
    const { db } = this.env
    const { codec, schema } = local
    const hasPart = (own: E, theirs: E) => {
      const old = partOf(own, 'older')
      return old === undefined || schema.merge(theirs, old) === theirs
    }
    const areKnown: AreKnown = (node, items) => this.#haveSame(local, node, items, hasPart)
    // What is written meanwhile changes the row, and not what is suspected.
    const hashOf = (key: Buffer) => {
      const entry = local.getIntactByKey(db, key)
      const old = entry && partOf(entry, 'older')
      return old && rowHashOf(key, codec.encode(old).head)
    }
    return this.#settle(local, partition, keys, areKnown, hashOf, (entry) => partOf(entry, 'younger'))
  }

  /**
   * @param hashOf what is suspected of a row; undefined if nothing is
   * @param keep what stays of a row that is put aside, if not nothing
   */
  async #settle<E>(
    local: LocalTable<E>,
    partition: number,
    keys: readonly Buffer[],
    areKnown: AreKnown,
    hashOf = (key: Buffer) => local.rowHash(this.env.db, key),
    keep?: (entry: E) => E | undefined,
  ): Promise<number> {
    const nowMs = this.env.clock.monotonicMs()
    const due: { key: Buffer; hash: Buffer }[] = []
    let open = 0
    for (const key of keys) {
      const hash = hashOf(key)
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
      open -= await this.#letGo(local, partition, due.slice(at, at + REPAIR_ROWS_MAX), areKnown, keep)
    }
    return open
  }

  /** Resolves with the number of rows that are settled, one way or the other. */
  async #letGo<E>(
    local: LocalTable<E>,
    partition: number,
    items: readonly { key: Buffer; hash: Buffer }[],
    areKnown: AreKnown,
    keep: ((entry: E) => E | undefined) | undefined,
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
      await setAside(this.env, local, alone, keep)
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
    isSame: (own: E, theirs: E) => boolean,
  ): Promise<boolean[]> {
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

function idOf<E>(local: LocalTable<E>, rowKey: Buffer): string {
  return `${local.schema.name}\0${rowKey.toString('latin1')}`
}
