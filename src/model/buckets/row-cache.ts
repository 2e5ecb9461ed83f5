import type { Db } from '../../db/db.js'
import { SORT_KEY_BYTES_MAX } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import type { FieldRow } from './control-rows.js'

const NO_KEY = Buffer.alloc(0)
const MAX_ENTRIES = 10_000

/** The value made of a row's stored bytes. */
interface CachedRow<V> {
  readonly rowKey: Buffer
  readonly head: Buffer
  readonly value: V
  /** The state of the database in which it was right, see Db.viewId. */
  viewId: number | undefined
}

/**
 * Decoded rows of a full-copy table, and what is derived from each. The database stays the only truth: an entry counts
 * only while the stored bytes are still the ones it was made from, which costs one lookup and one comparison, once for all
 * requests that see the same state of the database.
 */
export class RowCache<V> {
  readonly #entries = new Map<string, CachedRow<V>>()

  /** @param encoding how a name, by which rows are asked for, becomes the row's id */
  constructor(
    private readonly db: Db,
    private readonly table: Table<FieldRow>,
    private readonly encoding: 'utf8' | 'latin1',
    private readonly derive: (row: FieldRow) => V,
  ) {}

  get(name: string): V | undefined {
    const { codec, stored } = this.table.local
    const viewId = this.db.viewId?.()
    const cached = this.#entries.get(name)
    if (cached !== undefined && viewId !== undefined && cached.viewId === viewId) return cached.value
    let rowKey = cached?.rowKey
    if (rowKey === undefined) {
      const id = Buffer.from(name, this.encoding)
      // Names come from clients; one longer than any id is nobody's.
      if (id.length > SORT_KEY_BYTES_MAX) return undefined
      rowKey = codec.keyOf(NO_KEY, id)
    }
    const head = stored.peekHead(this.db, rowKey)
    if (!head) return undefined
    if (cached?.head.equals(head)) {
      cached.viewId = viewId
      return cached.value
    }
    const copy = Buffer.from(head)
    const value = this.derive(this.table.schema.decode(copy, () => undefined))
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear()
    this.#entries.set(name, { rowKey, head: copy, value, viewId })
    return value
  }
}
