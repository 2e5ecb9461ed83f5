/** The entries of the retry queue: how they are stored, and under which keys. */
import { pack, unpack } from 'msgpackr'
import type { Reader } from '../db/db.js'
import type { NodeId } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import { looksLikeMsgpack, versioned } from '../util/format.js'
import { hash16, prefixEnd, RETRY_TREE } from './row-keys.js'

export const FORMAT = versioned<Stored>('entry of the retry queue', {
  encode: (entry) => pack(entry),
  writes: 1,
  versions: { 1: decodeStored },
  unmarked: { is: looksLikeMsgpack, decode: decodeStored },
})

/**
 * [expires at, ms][row key][head | null: the current row is read at the time of sending][body | null][misses]. Where the
 * current row is sent, each write that was missed may have moved the one before it to another table (see
 * TableSchema.source): so many rows of it are sent as well.
 */
export type Stored = [
  expiresMs: number,
  rowKey: Buffer,
  head: Buffer | null,
  body: Buffer | null,
  misses?: number,
]

/** [length of node id u8][node id][table][0] and a hash that tells rows apart. */
export function entryKey(node: NodeId, table: string, row: Buffer): Buffer {
  return Buffer.concat([nodePrefix(node), Buffer.from(`${table}\0`), hash16(row)])
}

/** The same for a row that is kept whole: the writes of one key lie together, in the order in which they were missed. */
export function keptEntryKey(
  node: NodeId,
  table: string,
  rowKey: Buffer,
  head: Buffer,
  expiresMs: number,
): Buffer {
  const time = Buffer.allocUnsafe(6)
  time.writeUIntBE(Math.floor(expiresMs), 0, 6)
  return Buffer.concat([entryKey(node, table, rowKey), time, hash16(head)])
}

export function nodePrefix(node: NodeId): Buffer {
  return Buffer.concat([Buffer.of(node.length), Buffer.from(node, 'latin1')])
}

export function tableOf(key: Buffer): string {
  const at = 1 + key[0]!
  return key.toString('utf8', at, key.indexOf(0, at))
}

/** The nodes for which something waits, by jumping from one to the next. */
export function queuedNodes(db: Reader): NodeId[] {
  const nodes: NodeId[] = []
  let start: Buffer | undefined = Buffer.of(0)
  while (start) {
    let key: Buffer | undefined
    for (const first of db.keys(RETRY_TREE, { start, limit: 1 })) key = Buffer.from(first)
    if (!key) break
    const prefix = key.subarray(0, 1 + key[0]!)
    nodes.push(prefix.toString('latin1', 1))
    start = prefixEnd(prefix)
  }
  return nodes
}

export function withMisses(stored: Stored, before: Stored): Stored {
  const [expiresMs, rowKey, head, body, misses] = stored
  return misses === undefined ? stored : [expiresMs, rowKey, head, body, misses + (before[4] ?? 1)]
}

function decodeStored(value: Buffer): Stored {
  const stored: unknown = unpack(value)
  if (!Array.isArray(stored) || typeof stored[0] !== 'number' || !Buffer.isBuffer(stored[1])) {
    throw new CarportError('Corrupted', 'malformed entry in the retry queue')
  }
  return stored as Stored
}
