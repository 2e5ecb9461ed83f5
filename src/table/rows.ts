import { CarportError } from '../util/errors.js'
import { rowKeyOf, SORT_KEY_BYTES_MAX } from './row-keys.js'
import type { BodyLoader, TableSchema } from './schema.js'

/** A row between nodes: [partition, partition key, sort key, head, body or null]. */
export type WireRow = [
  partition: number,
  partitionKey: Buffer,
  sortKey: Buffer,
  head: Buffer,
  body: Buffer | null,
]

/** A row decoded, together with the bytes it came as, so that they are stored without encoding again. */
export interface Row<E> {
  readonly partition: number
  /** See rowKeyOf. */
  readonly key: Buffer
  readonly head: Buffer
  readonly body: Buffer | undefined
  readonly entry: E
}

const noBody: BodyLoader = () => undefined

function invalid(table: string, what: string, cause?: unknown): CarportError {
  return new CarportError('InvalidArgument', `table ${table}: ${what}`, { cause })
}

/** Translates one table's rows between entries, stored bytes and messages, with all checks. */
export class RowCodec<E> {
  constructor(readonly schema: TableSchema<E>) {}

  partitionOf(partitionKey: Buffer): number {
    return this.schema.placement === 'full' ? 0 : this.schema.partition(partitionKey)
  }

  /** @throws CarportError InvalidArgument for keys of a wrong length. */
  keyOf(partitionKey: Buffer, sortKey: Buffer): Buffer {
    this.checkKeys(partitionKey, sortKey)
    return rowKeyOf(this.partitionOf(partitionKey), partitionKey, sortKey)
  }

  encode(entry: E): Row<E> {
    const key = this.keyOf(this.schema.partitionKey(entry), this.schema.sortKey(entry))
    const { head, body } = this.schema.encode(entry)
    return { partition: key[0]!, key, head, body, entry }
  }

  toWire(row: Pick<Row<E>, 'key' | 'head' | 'body'>): WireRow {
    return this.wire(row.key, row.head, row.body)
  }

  wire(key: Buffer, head: Buffer, body: Buffer | undefined): WireRow {
    const at = 1 + this.schema.partitionKeyBytes
    return [key[0]!, key.subarray(1, at), key.subarray(at), head, body ?? null]
  }

  /** @throws CarportError InvalidArgument unless `value` is a row of this table, with a head that fits its key. */
  parse(value: unknown): Row<E> {
    if (!Array.isArray(value) || value.length !== 5) throw invalid(this.schema.name, 'malformed row')
    const [partition, partitionKey, sortKey, head, body] = value as unknown[]
    if (!Buffer.isBuffer(partitionKey) || !Buffer.isBuffer(sortKey) || !Buffer.isBuffer(head)) {
      throw invalid(this.schema.name, 'malformed row')
    }
    if (body !== null && !Buffer.isBuffer(body)) throw invalid(this.schema.name, 'malformed body')
    const key = this.keyOf(partitionKey, sortKey)
    if (partition !== key[0]) throw invalid(this.schema.name, 'row in a wrong partition')
    return this.parseParts(key, head, body ?? undefined)
  }

  /** @throws CarportError InvalidArgument when the head does not decode or belongs to another key. */
  parseParts(key: Buffer, head: Buffer, body: Buffer | undefined): Row<E> {
    let entry: E
    let own: Buffer
    try {
      entry = this.schema.decode(head, body ? () => body : noBody)
      own = rowKeyOf(key[0]!, this.schema.partitionKey(entry), this.schema.sortKey(entry))
    } catch (cause) {
      throw invalid(this.schema.name, 'a head does not decode', cause)
    }
    if (!own.equals(key)) throw invalid(this.schema.name, 'a head belongs to another key')
    return { partition: key[0]!, key, head, body, entry }
  }

  /** The merge of two rows of one key. */
  mergeParts(
    key: Buffer,
    a: { head: Buffer; body: Buffer | undefined },
    b: { head: Buffer; body: Buffer | undefined },
  ): { head: Buffer; body: Buffer | undefined } {
    const [current, incoming] = [this.parseParts(key, a.head, a.body), this.parseParts(key, b.head, b.body)]
    const merged = this.schema.merge(current.entry, incoming.entry)
    if (merged === current.entry) return a
    return merged === incoming.entry ? b : this.encode(merged)
  }

  /** @throws CarportError InvalidArgument unless `value` is an array of rows of this table. */
  parseAll(value: unknown): Row<E>[] {
    if (!Array.isArray(value)) throw invalid(this.schema.name, 'rows expected')
    return value.map((row) => this.parse(row))
  }

  /** Decodes stored bytes. @throws CarportError Corrupted */
  decodeStored(head: Buffer, body: BodyLoader): E {
    try {
      return this.schema.decode(head, body)
    } catch (cause) {
      throw new CarportError('Corrupted', `table ${this.schema.name}: a stored row does not decode`, {
        cause,
      })
    }
  }

  checkKeys(partitionKey: unknown, sortKey: unknown): void {
    if (!Buffer.isBuffer(partitionKey) || partitionKey.length !== this.schema.partitionKeyBytes) {
      throw invalid(this.schema.name, `partition keys are ${this.schema.partitionKeyBytes} bytes long`)
    }
    if (!Buffer.isBuffer(sortKey) || sortKey.length > SORT_KEY_BYTES_MAX) {
      throw invalid(this.schema.name, `sort keys are up to ${SORT_KEY_BYTES_MAX} bytes long`)
    }
  }

  /** @throws CarportError InvalidArgument unless `value` is a row key of this table, in its right partition. */
  checkRowKey(value: unknown): Buffer {
    const at = 1 + this.schema.partitionKeyBytes
    if (!Buffer.isBuffer(value) || value.length < at || value.length > at + SORT_KEY_BYTES_MAX) {
      throw invalid(this.schema.name, 'malformed row key')
    }
    if (value[0] !== this.partitionOf(value.subarray(1, at))) {
      throw invalid(this.schema.name, 'row key in a wrong partition')
    }
    return value
  }
}

/** Bytes that a row takes in a message, near enough to bound batches. */
export function wireBytes(row: WireRow): number {
  return row[1].length + row[2].length + row[3].length + (row[4]?.length ?? 0) + 32
}

/** Cuts `rows` into runs of at most `rowsMax` rows and about `bytesMax` bytes; a larger row stands alone. */
export function* batchesOf(rows: Iterable<WireRow>, bytesMax: number, rowsMax: number): Generator<WireRow[]> {
  let batch: WireRow[] = []
  let bytes = 0
  for (const row of rows) {
    const size = wireBytes(row)
    if (batch.length > 0 && (bytes + size > bytesMax || batch.length >= rowsMax)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(row)
    bytes += size
  }
  if (batch.length > 0) yield batch
}
