import type { Db } from '../../db/db.js'
import { LocalTable } from '../../table/local.js'
import type { Recount } from '../buckets/recount.js'
import {
  countsOf,
  INDEX_TREE,
  isSame,
  NO_COUNTS,
  type PartitionCounts,
  plus,
  readCounts,
  setCounts,
} from './counts.js'
import { k2vItemTable } from './table.js'

/**
 * Counts the items of all partition keys on this node anew from its rows, and sets the counts that are wrong. Nothing else may
 * use the database meanwhile, as for the counters of buckets.
 * @returns `corrected` as "bucket id/partition key"
 * @throws CarportError StorageFull, Corrupted
 */
export async function recountK2v(db: Db): Promise<Recount> {
  const table = new LocalTable(
    k2vItemTable(() => {}),
    () => 0,
  )
  const counts = new Map<string, PartitionCounts>()
  let rows = 0
  for (const { head } of table.walk(db, {})) {
    const item = table.codec.decodeStored(head, () => undefined)
    const key = Buffer.concat([item.bucket, item.partitionKey]).toString('latin1')
    counts.set(key, plus(counts.get(key) ?? NO_COUNTS, countsOf(item)))
    rows++
  }
  // Counts without items are wrong too.
  for (const key of db.keys(INDEX_TREE)) {
    const known = Buffer.from(key).toString('latin1')
    if (!counts.has(known)) counts.set(known, NO_COUNTS)
  }
  const corrected: string[] = []
  for (const [text, right] of counts) {
    const key = Buffer.from(text, 'latin1')
    if (isSame(readCounts(db, key), right)) continue
    await db.transact((tx) => setCounts(tx, key, right))
    corrected.push(`${key.subarray(0, 16).toString('hex')}/${key.subarray(16).toString('utf8')}`)
  }
  return { rows, counters: counts.size, corrected }
}
