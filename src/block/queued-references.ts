import { versioned } from '../util/format.js'
import type { BlockRefRow } from './block-ref.js'
import { OWNER_BYTES } from './claims.js'
import { HASH_BYTES } from './format.js'

const NOTHING = Buffer.alloc(0)
const FLAG_DELETED = 1
const FLAG_TRIED = 2

/** An entry of the queue of references: those of one owner, all live or all deleted. */
export interface QueuedReferences {
  rows: BlockRefRow[]
  /** Whether it was sent before without success. */
  tried: boolean
  /** The row that they are of: it tells whether they are still wanted. */
  source?: Buffer
}

/** How an entry is stored. */
export const QUEUED_REFERENCES = versioned<QueuedReferences>('queued block references', {
  // [flags u8][owner 16][length of the source u16][source][hash 32]...
  // The rows of one item have the same owner and are all live or all deleted.
  encode({ rows, tried, source = NOTHING }) {
    const { owner, deleted } = rows[0]!
    const head = Buffer.from([(deleted ? FLAG_DELETED : 0) | (tried ? FLAG_TRIED : 0)])
    const length = Buffer.allocUnsafe(2)
    length.writeUInt16BE(source.length)
    const stored = Buffer.concat([head, owner, length, source, ...rows.map((row) => row.hash)])
    // With the version in front, its length must not be that of a value of the first release.
    return isUnmarked(1 + stored.length) ? Buffer.concat([stored, Buffer.alloc(1)]) : stored
  },
  writes: 2,
  versions: { 1: decodeItem, 2: decodeSourced },
  // The first release wrote flags, owner and hashes alone, as their length tells.
  unmarked: {
    is: (stored) => isUnmarked(stored.length),
    decode: decodeItem,
  },
})

function isUnmarked(bytes: number): boolean {
  return bytes % HASH_BYTES === (1 + OWNER_BYTES) % HASH_BYTES
}

function decodeSourced(payload: Buffer): QueuedReferences {
  const at = 1 + OWNER_BYTES
  const end = at + 2 + payload.readUInt16BE(at)
  const source = Buffer.from(payload.subarray(at + 2, end))
  const item = decodeItem(Buffer.concat([payload.subarray(0, at), payload.subarray(end)]))
  return source.length > 0 ? { ...item, source } : item
}

/** [flags u8][owner 16][hash 32]..., of references without a source. */
function decodeItem(payload: Buffer): QueuedReferences {
  const flags = payload[0]!
  const owner = Buffer.from(payload.subarray(1, 1 + OWNER_BYTES))
  const rows: BlockRefRow[] = []
  for (let at = 1 + OWNER_BYTES; at + HASH_BYTES <= payload.length; at += HASH_BYTES) {
    const hash = Buffer.from(payload.subarray(at, at + HASH_BYTES))
    rows.push({ hash, owner, deleted: (flags & FLAG_DELETED) !== 0 })
  }
  return { rows, tried: (flags & FLAG_TRIED) !== 0 }
}
