import { createHash } from 'node:crypto'
import { pack, unpack } from 'msgpackr'
import type { Tx } from '../src/db/db.js'
import type { TableSchema } from '../src/table/schema.js'

/** A row for tests of the table layer: the last writer wins, an empty text is a tombstone, long texts are bodies. */
export interface Note {
  topic: Buffer
  name: string
  timeUs: number
  text: string
  /** Loads the text when it is a body. */
  load: () => string
}

export const TOPIC_BYTES = 4
const INLINE_MAX = 20

export function note(topic: Buffer, name: string, timeUs: number, text: string): Note {
  return { topic, name, timeUs, text, load: () => text }
}

export function noteTable(
  options: {
    placement?: 'sharded' | 'full'
    name?: string
    onUpdate?: (tx: Tx, before: Note | undefined, after: Note | undefined) => void
  } = {},
): TableSchema<Note> {
  return {
    name: options.name ?? 'note',
    placement: options.placement ?? 'sharded',
    partitionKeyBytes: TOPIC_BYTES,
    partition: (topic) => topic[0]!,
    partitionKey: (row) => row.topic,
    sortKey: (row) => Buffer.from(row.name),
    encode(row) {
      const text = row.load()
      const long = text.length > INLINE_MAX
      // The head tells all texts apart, as the id and the ETag of an object do.
      const digest = () => createHash('sha256').update(text).digest('hex').slice(0, 16)
      const head = pack([row.topic, row.name, row.timeUs, long ? `#${text.length}:${digest()}` : text, long])
      return long ? { head, body: Buffer.from(text) } : { head }
    },
    decode(head, body) {
      const v: unknown = unpack(head)
      if (
        !Array.isArray(v) ||
        !Buffer.isBuffer(v[0]) ||
        typeof v[1] !== 'string' ||
        typeof v[2] !== 'number'
      ) {
        throw new Error('not a note')
      }
      const text = String(v[3])
      const load = v[4] === true ? () => body()?.toString() ?? '(no body)' : () => text
      return { topic: v[0], name: v[1], timeUs: v[2], text, load }
    },
    merge(current, incoming) {
      if (incoming.timeUs !== current.timeUs) return incoming.timeUs > current.timeUs ? incoming : current
      return incoming.text > current.text ? incoming : current
    },
    isTombstone: (row) => row.text === '',
    hiddenBy: (incoming, merged) => (merged.timeUs > incoming.timeUs ? merged.timeUs : 0),
    ...(options.onUpdate ? { onUpdate: options.onUpdate } : {}),
  }
}
