import { type Db, TRANSACTION_BYTES_MAX, type Tx } from '../db/db.js'

/** Rows that are worked on in one transaction: it runs in one turn of the event loop. */
export const ROWS_IN_TRANSACTION = 64
/** What a row costs, beside its bytes; see Db.transact. */
const ROW_STEPS = 2

/**
 * Works on rows in as many transactions as that takes, each with so many rows, and so many bytes of stored values, as one
 * turn of the event loop can take; with one row at least. They begin before anything else does, but for the rows that have
 * turned out to be too long for their part.
 * @param run gets the rows of one transaction, and takes each when it is done with the one before; may run more than once
 */
export async function inParts<T, R>(
  db: Db,
  rows: readonly T[],
  run: (tx: Tx, part: Iterable<T>) => R,
): Promise<R[]> {
  const parts: Promise<R[]>[] = []
  for (let at = 0; at < rows.length; at += ROWS_IN_TRANSACTION) {
    parts.push(onePart(db, rows.slice(at, at + ROWS_IN_TRANSACTION), run))
  }
  return (await Promise.all(parts)).flat()
}

async function onePart<T, R>(
  db: Db,
  rows: readonly T[],
  run: (tx: Tx, part: Iterable<T>) => R,
): Promise<R[]> {
  const results: R[] = []
  for (let start = 0; start < rows.length; ) {
    const { result, end } = await db.transact(
      (tx) => {
        const from = start
        let end = from
        function* part() {
          while (end < rows.length && (end === from || tx.bytes < TRANSACTION_BYTES_MAX)) yield rows[end++]!
        }
        const result = run(tx, part())
        return { result, end }
      },
      (rows.length - start) * ROW_STEPS,
    )
    results.push(result)
    start = end
  }
  return results
}
