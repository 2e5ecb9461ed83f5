import { pack, unpack } from 'msgpackr'
import type { Tx } from '../db/db.js'
import { Priority } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import { versioned } from '../util/format.js'
import { inParts } from './in-parts.js'
import { LeafChanges } from './leaves.js'
import type { LocalTable } from './local.js'
import { methodOf } from './replica.js'
import { ASIDE_TREE, successor } from './row-keys.js'
import { copyOf, type Standing } from './standing.js'
import type { TableEnv } from './table.js'

const CALL_TIMEOUT_MS = 30_000
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

/**
 * Moves rows out of the table, if they are still the same, and keeps them aside.
 * @param keep what stays of a row, whatever was merged into it meanwhile
 */
export async function setAside<E>(
  env: TableEnv,
  local: LocalTable<E>,
  items: readonly { key: Buffer; hash: Buffer }[],
  keep?: (entry: E) => E | undefined,
): Promise<number> {
  const nowMs = env.clock.nowMs()
  const parts = await inParts(env.db, items, (tx, part) => {
    const leaves = new LeafChanges()
    let moved = 0
    for (const { key, hash } of part) {
      const row = local.encoded(tx, key)
      const same = keep ? local.rowHash(tx, key) : hash
      if (!row || !same || !local.drop(tx, key, same, leaves)) continue
      const kept = keep?.(local.codec.decodeStored(row.head, () => row.body))
      if (kept !== undefined) local.apply(tx, local.codec.encode(kept), leaves)
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
