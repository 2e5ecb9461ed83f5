import type { Db } from '../../db/db.js'
import { LocalTable } from '../../table/local.js'
import type { TableSchema } from '../../table/schema.js'
import { partTable, uploadTable } from '../uploads/tables.js'
import { countedOnceKey, isTwice, setCountedOnce } from '../versions/counting.js'
import { type ContentHooks, objectTable, versionTable } from '../versions/tables.js'
import { type BucketCounts, countedBuckets, NO_COUNTS, readCounts, setCounts } from './counters.js'

export interface Recount {
  /** Rows that were counted. */
  rows: number
  /** Buckets or partition keys that have counters. */
  counters: number
  /** Those whose counters were wrong, buckets as hexadecimal ids in their order. */
  corrected: string[]
}

/**
 * Counts the contents of all buckets on this node anew from its rows, and sets the counters that are wrong. Nothing else may
 * use the database meanwhile: the walk takes a single turn, and a row that changes behind it would be counted as it was. Damaged rows are left out.
 * @throws CarportError StorageFull, Corrupted (a row in a form that this version does not know)
 */
export async function recountBuckets(db: Db): Promise<Recount> {
  // The schemas are used for reading rows alone: their hooks are not called.
  const hooks = {} as ContentHooks
  const unused = () => hooks
  const counts = new Map<string, BucketCounts>()
  const add = (bucket: Buffer, change: Partial<BucketCounts>) => {
    const id = bucket.toString('hex')
    const sum = counts.get(id) ?? { ...NO_COUNTS }
    for (const name of Object.keys(change) as (keyof BucketCounts)[]) sum[name] += change[name]!
    counts.set(id, sum)
  }
  const objects = copyOf(objectTable(hooks))
  const countedOnce: Buffer[] = []
  const rows = [
    eachRow(db, objects, (v) => {
      if (v.state === 'object') add(v.bucket, { objects: 1, bytes: v.size })
      if (v.state === 'marker') add(v.bucket, { markers: 1 })
    }),
    eachRow(db, copyOf(versionTable(unused)), (v) => {
      if (v.state === 'tombstone') return
      if (isTwice(objects.getIntact(db, v.bucket, v.key), v)) countedOnce.push(countedOnceKey(v))
      else add(v.bucket, { noncurrent: 1, bytes: v.size })
    }),
    eachRow(db, copyOf(uploadTable(() => {})), (upload) => {
      if (!upload.deleted) add(upload.bucket, { uploads: 1 })
    }),
    eachRow(db, copyOf(partTable(unused)), (part) => {
      if (!part.deleted) add(part.bucket, { parts: 1, uploadBytes: part.size })
    }),
  ]
  // A bucket without rows has counters still.
  for (const bucket of countedBuckets(db)) add(bucket, {})
  const isWrong = (id: string) => {
    const stored = readCounts(db, Buffer.from(id, 'hex'))
    return Object.entries(counts.get(id)!).some(([name, n]) => stored[name as keyof BucketCounts] !== n)
  }
  const corrected = [...counts.keys()].sort().filter(isWrong)
  await db.transact((tx) => {
    for (const id of corrected) setCounts(tx, Buffer.from(id, 'hex'), counts.get(id)!)
    setCountedOnce(tx, countedOnce)
  })
  return { rows: rows.reduce((sum, n) => sum + n, 0), counters: counts.size, corrected }
}

/** This node's copy of a table, for reading. */
function copyOf<E>(schema: TableSchema<E>): LocalTable<E> {
  return new LocalTable(schema, () => 0)
}

/** Visits all intact rows of a copy; returns their number. */
function eachRow<E>(db: Db, table: LocalTable<E>, visit: (row: E) => void): number {
  let rows = 0
  for (const { head } of table.walk(db, {})) {
    visit(table.codec.decodeStored(head, () => undefined))
    rows++
  }
  return rows
}
