/**
 * Many writes of K2V items: how many are made, and applied, in one transaction, which is one turn of the event loop, and how many
 * bytes of stored rows it reads and writes; and that each takes effect once, wherever the transactions end.
 */
import { expect, it } from 'vitest'
import { TRANSACTION_BYTES_MAX, type Tx } from '../src/db/db.js'
import { ITEM_BYTES_MAX, type K2vItem, valuesOf } from '../src/model/k2v/item.js'
import { ROWS_IN_TRANSACTION } from '../src/table/in-parts.js'
import { treesOf } from '../src/table/row-keys.js'
import { UPDATES_IN_TRANSACTION } from '../src/table/update-at-replica.js'
import { SimCluster } from './sim-cluster.js'

const { head: HEADS } = treesOf('k2v_item')
const partitionKey = Buffer.from('p')
const sortKey = (i: number) => Buffer.from(String(i).padStart(5, '0'))

async function threeNodes() {
  const cluster = new SimCluster({
    ...{ seed: 1, nodes: 3, zones: 3, replicationFactor: 3, blockBytes: 4096, clockSkewMs: 0 },
    path: { latencyMs: 5, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    tables: {},
    graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 },
  })
  const { clock } = cluster
  await clock.runUntil(cluster.start(), 60_000)
  const { model } = cluster.nodes[0]!.core!
  const { id: bucket } = await clock.runUntil(model.buckets.create('k2v'), 60_000)
  const rows: number[] = []
  const bytes: number[] = []
  for (const { machine } of cluster.nodes) {
    const { db } = machine.platform!
    const transact = db.transact.bind(db)
    db.transact = <T>(fn: (tx: Tx) => T, steps = 1) => {
      let written = 0
      const counted = (tx: Tx) => {
        const put = tx.put.bind(tx)
        written = 0
        tx.put = (tree, ...rest) => {
          if (tree === HEADS) written++
          put(tree, ...rest)
        }
        try {
          return fn(tx)
        } finally {
          tx.put = put
          rows.push(written)
          bytes.push(tx.bytes)
          expect(steps).toBeGreaterThanOrEqual(written)
        }
      }
      return transact(counted)
    }
  }
  const run = <T>(promise: Promise<T>) => clock.runUntil(promise, 600_000)
  const read = (key: Buffer): Promise<K2vItem | undefined> =>
    run(model.k2v.read(bucket, { partitionKey, sortKey: key }))
  return { cluster, model, bucket, rows, bytes, run, read }
}

/** What one transaction may read and write: its last row may be as long as an item gets, and is read, perhaps twice, and written. */
const BYTES_MAX = TRANSACTION_BYTES_MAX + 4 * ITEM_BYTES_MAX

it('hundreds of writes are made and applied in transactions of some', async () => {
  const { model, bucket, rows, run } = await threeNodes()
  const writes = Array.from({ length: 470 }, (_, i) => {
    return { partitionKey, sortKey: sortKey(i), context: undefined, content: Buffer.from(`value ${i}`) }
  })
  await run(model.k2v.write(bucket, writes))
  expect(rows.filter((count) => count === UPDATES_IN_TRANSACTION).length).toBeGreaterThan(7)
  expect(Math.max(...rows)).toBe(ROWS_IN_TRANSACTION)
  const { items } = await run(model.k2v.list(bucket, { partitionKey }))
  const found = items.map((item) => valuesOf(item).map((value) => String(value.content())))
  expect(found).toEqual(writes.map(({ content }) => [String(content)]))
  // Rows that come in one call, from whatever table, are applied as many at a time.
  rows.length = 0
  await run(
    model.k2v.items.insertMany(items.map((item) => ({ ...item, partitionKey: Buffer.from('copied') }))),
  )
  expect(Math.max(...rows)).toBe(ROWS_IN_TRANSACTION)
  const copies = await run(model.k2v.list(bucket, { partitionKey: Buffer.from('copied') }))
  expect(copies.items).toHaveLength(470)
})

it('writes whose changes do not fit one reply are made once each, some by the next call', async () => {
  const { model, bucket, run, read } = await threeNodes()
  const key = Buffer.from('siblings')
  const write = (content: Buffer) => ({ partitionKey, sortKey: key, context: undefined, content })
  // Each change of an item without a token brings all values of its origin.
  await run(
    model.k2v.write(
      bucket,
      Array.from({ length: 20 }, (_, i) => write(Buffer.alloc(50_000, i))),
    ),
  )
  await run(
    model.k2v.write(
      bucket,
      Array.from({ length: 70 }, (_, i) => write(Buffer.from(`value ${i}`))),
    ),
  )
  const values = valuesOf((await read(key))!)
  expect(values).toHaveLength(90)
  const small = values.filter(({ size }) => size < 100).map((value) => String(value.content()))
  expect(small).toEqual(Array.from({ length: 70 }, (_, i) => `value ${i}`))
})

it('a write that is refused ends its call: those before may take effect, those behind do not', async () => {
  const { model, bucket, run, read } = await threeNodes()
  const full = Buffer.from('full')
  const one = (key: Buffer, i: number) => {
    return { partitionKey, sortKey: key, context: undefined, content: Buffer.from(`${i}`) }
  }
  await run(
    model.k2v.write(
      bucket,
      Array.from({ length: 100 }, (_, i) => one(full, i)),
    ),
  )
  const writes = Array.from({ length: 180 }, (_, i) => one(i === 60 ? full : sortKey(i), i))
  const failed = run(model.k2v.write(bucket, writes))
  await expect(failed).rejects.toMatchObject({ code: 'Conflict' })
  expect(valuesOf((await read(full))!)).toHaveLength(100)
  for (const i of [50, 61, 100, 179]) expect(await read(sortKey(i)), String(i)).toBeUndefined()
})

it('the bytes of the items that writes change bound a transaction, whether they are made there or applied', async () => {
  const { cluster, model, bucket, bytes, run, read } = await threeNodes()
  // What another replica makes brings the values of its own origin, so that it is short, and does not end the call.
  const other = cluster.nodes[1]!.core!.model
  const long = Array.from({ length: 3 }, (_, i) => Buffer.from(`long ${i}`))
  const writes = (count: number, content: (i: number) => Buffer) =>
    Array.from({ length: count }, (_, i) => {
      return { partitionKey, sortKey: long[i % long.length]!, context: undefined, content: content(i) }
    })
  await run(
    model.k2v.write(
      bucket,
      writes(57, (i) => Buffer.alloc(100_000, i)),
    ),
  )
  bytes.length = 0
  await run(
    other.k2v.write(
      bucket,
      writes(60, (i) => Buffer.from(`value ${i}`)),
    ),
  )
  expect(Math.max(...bytes)).toBeGreaterThan(TRANSACTION_BYTES_MAX / 2)
  expect(Math.max(...bytes)).toBeLessThan(BYTES_MAX)
  for (const [i, key] of long.entries()) {
    const values = valuesOf((await read(key))!)
    expect(values).toHaveLength(39)
    const small = values.filter(({ size }) => size < 100).map((value) => String(value.content()))
    expect(small).toEqual(Array.from({ length: 20 }, (_, n) => `value ${n * 3 + i}`))
  }
  // Short rows that meet long ones.
  bytes.length = 0
  const items = await Promise.all(long.map((key) => read(key)))
  const rows = items.flatMap((item) =>
    Array.from({ length: 20 }, (_, i): K2vItem => {
      const origin = `other${String(i).padStart(3, '0')}`
      return { ...item!, entries: [{ origin, discard: 1, values: [] }] }
    }),
  )
  await run(model.k2v.items.insertMany(rows))
  expect(Math.max(...bytes)).toBeLessThan(BYTES_MAX)
  for (const key of long) expect((await read(key))!.entries.length).toBeGreaterThan(20)
})
