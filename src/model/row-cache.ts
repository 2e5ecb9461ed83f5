import type { Db } from '../db/db.js'
import { SORT_KEY_BYTES_MAX } from '../table/keys.js'
import type { Table } from '../table/table.js'
import type { FieldRow } from './fields.js'

const NO_KEY = Buffer.alloc(0)
const MAX_ENTRIES = 10_000

/**
 * Decoded rows of a full-copy table, and what is derived from each. The database stays the only truth: an entry counts
 * only while the stored bytes are still the ones it was made from, which costs one lookup and one comparison.
 */
export class RowCache<V> {
  readonly #entries = new Map<string, { head: Buffer; value: V }>()

  constructor(
    private readonly db: Db,
    private readonly table: Table<FieldRow>,
    private readonly derive: (row: FieldRow) => V,
  ) {}

  /** @param name a text for the id, used as the cache's key */
  get(id: Buffer, name: string): V | undefined {
    // Names come from clients; one longer than any id is nobody's.
    if (id.length > SORT_KEY_BYTES_MAX) return undefined
    const head = this.table.local.peekHead(this.db, NO_KEY, id)
    if (!head) return undefined
    const cached = this.#entries.get(name)
    if (cached?.head.equals(head)) return cached.value
    const copy = Buffer.from(head)
    const value = this.derive(this.table.schema.decode(copy, () => undefined))
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear()
    this.#entries.set(name, { head: copy, value })
    return value
  }
}
