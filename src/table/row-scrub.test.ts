import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../testing/cluster-fakes.js'
import { MemoryDb } from '../../testing/memory-db.js'
import { type Note, note, noteTable } from '../../testing/note-table.js'
import { TableCluster } from '../../testing/table-cluster.js'
import { LocalTable } from './local.js'
import { indexKeyOf, leafKeyOf, leafOf, rowKeyOf, tableTrees } from './row-keys.js'
import { RowScrub, type RowScrubCounts } from './row-scrub.js'

const LONG = 'a text that is longer than what stands in a head'
const ROWS = 350

function notes(count = ROWS): Note[] {
  return Array.from({ length: count }, (_, i) =>
    note(Buffer.from([i % 7, 0, 0, 0]), `n${i}`, 1, i % 2 ? `${LONG} ${i}` : `${i}`),
  )
}

async function store(rows: readonly Note[]) {
  const schemas = [noteTable(), noteTable({ name: 'other' })]
  const db = new MemoryDb({ trees: tableTrees(...schemas) })
  const tables = schemas.map((schema) => new LocalTable(schema, () => 1000))
  const damaged: string[] = []
  for (const table of tables) {
    table.stored.onDamaged = (key) => damaged.push(`${table.schema.name} ${key.toString('latin1')}`)
    await db.transact((tx) => {
      for (const row of rows) table.update(tx, row)
    })
  }
  const clock = new ManualClock()
  const scrub = () => new RowScrub(db, clock, tables as unknown as LocalTable<unknown>[])
  return { db, tables, damaged, clock, scrub, before: dump(db, tables) }
}

function dump(db: MemoryDb, tables: readonly LocalTable<Note>[]): string[] {
  return tables.flatMap(({ trees }) =>
    Object.values(trees).flatMap((tree) =>
      [...db.range(tree)].map(({ key, value }) => `${tree} ${key.toString('hex')} ${value.toString('hex')}`),
    ),
  )
}

/** A whole walk, by another RowScrub for each step, as if the process had ended in between. */
async function walk(scrub: () => RowScrub, clock: ManualClock): Promise<RowScrubCounts & { steps: number }> {
  const sum = { rows: 0, damaged: 0, sealed: 0, mended: 0, steps: 0 }
  let at: string | undefined = ''
  let progress = 0
  while (at !== undefined) {
    const step = scrub().step(at)
    let done = false
    void step.finally(() => {
      done = true
    })
    await clock.until(() => done, 60_000, 1)
    const { next, ...counts } = await step
    for (const name of ['rows', 'damaged', 'sealed', 'mended'] as const) sum[name] += counts[name]
    sum.steps++
    at = next
    if (at === undefined) break
    expect(scrub().progress(at)).toBeGreaterThanOrEqual(progress)
    progress = scrub().progress(at)
  }
  return sum
}

describe('the scrub of the tables', () => {
  it('looks at every row in bounded steps, goes on where it was, and changes nothing that is right', async () => {
    const { db, tables, damaged, clock, scrub, before } = await store(notes())
    const { steps, ...counts } = await walk(scrub, clock)
    expect(counts).toEqual({ rows: 2 * ROWS, damaged: 0, sealed: 0, mended: 0 })
    expect(steps).toBeGreaterThan((2 * ROWS) / 100)
    expect(dump(db, tables)).toEqual(before)
    expect(damaged).toEqual([])
  })

  it('reports each damaged head and body, and each row that is missing from its place', async () => {
    const { db, tables, damaged, clock, scrub } = await store(notes())
    const { trees } = tables[1]!
    const key = (i: number) => rowKeyOf(i % 7, Buffer.from([i % 7, 0, 0, 0]), Buffer.from(`n${i}`))
    await db.transact((tx) => {
      const head = tx.get(trees.head, key(10))!
      head[head.length - 1]! ^= 8
      tx.put(trees.head, key(10), head)
      const body = tx.get(trees.body, key(11))!
      body[3]! ^= 1
      tx.put(trees.body, key(11), body)
      tx.delete(trees.head, key(12))
      tx.delete(trees.body, key(13))
    })
    expect((await walk(scrub, clock)).damaged).toBe(4)
    expect([...damaged].sort()).toEqual(
      [10, 11, 12, 13].map((i) => `other ${key(i).toString('latin1')}`).sort(),
    )
  })

  it('makes index and fingerprints from the heads anew, and removes bodies and fingerprints of nothing', async () => {
    const { db, tables, clock, scrub, before } = await store(notes())
    const { trees } = tables[0]!
    const key = rowKeyOf(3, Buffer.from([3, 0, 0, 0]), Buffer.from('n3'))
    const other = rowKeyOf(4, Buffer.from([4, 0, 0, 0]), Buffer.from('n4'))
    const leaves = [...db.keys(trees.leaf)]
    const empty = [...Array(4096).keys()]
      .map((leaf) => leafKeyOf(9, leaf))
      .find((leaf) => !leaves.some((known) => known.equals(leaf)))!
    await db.transact((tx) => {
      tx.put(trees.index, indexKeyOf(key, leafOf(key)), Buffer.alloc(16, 1))
      tx.delete(trees.index, indexKeyOf(other, leafOf(other)))
      tx.put(trees.leaf, leaves[5]!, Buffer.alloc(16, 2))
      tx.delete(trees.leaf, leaves[9]!)
      tx.put(trees.leaf, leaves[200]!, Buffer.alloc(3))
      tx.put(trees.leaf, empty, Buffer.alloc(16, 3))
      tx.put(trees.body, rowKeyOf(5, Buffer.from([5, 0, 0, 0]), Buffer.from('nothing')), Buffer.from('body'))
    })
    expect(await walk(scrub, clock)).toMatchObject({ damaged: 0, mended: 7 })
    expect(dump(db, tables)).toEqual(before)
  })

  it('gives rows of before there were checksums one, but not over a body that is not theirs', async () => {
    const { db, tables, clock, scrub, before } = await store(notes())
    const { trees, schema } = tables[0]!
    await db.transact((tx) => {
      for (const { rowKey, head } of [...tables[0]!.walk(tx, {})]) tx.put(trees.head, rowKey, head)
    })
    expect(dump(db, tables)).not.toEqual(before)
    expect(await walk(scrub, clock)).toMatchObject({ damaged: 0, sealed: ROWS, mended: 0 })
    expect(dump(db, tables)).toEqual(before)

    Object.assign(schema, { bodyMatches: (_: Note, body: Buffer) => body[0] === LONG.charCodeAt(0) })
    const key = rowKeyOf(4, Buffer.from([4, 0, 0, 0]), Buffer.from('n11'))
    await db.transact((tx) => {
      for (const { rowKey, head } of [...tables[0]!.walk(tx, {})]) tx.put(trees.head, rowKey, head)
      tx.put(trees.body, key, Buffer.from('rot'))
    })
    expect(await walk(scrub, clock)).toMatchObject({ damaged: 1, sealed: ROWS - 1 })
    expect(() => tables[0]!.get(db, Buffer.from([4, 0, 0, 0]), Buffer.from('n11'))).toThrow('damaged')
  })

  it('sums up a leaf of more rows than a turn has, unless rows change meanwhile', async () => {
    const topic = Buffer.from([1, 0, 0, 0])
    const names: string[] = []
    const wanted = leafOf(rowKeyOf(1, topic, Buffer.from('0')))
    for (let i = 0; names.length < 230; i++) {
      if (leafOf(rowKeyOf(1, topic, Buffer.from(`${i}`))) === wanted) names.push(`${i}`)
    }
    const { db, tables, clock, scrub, before } = await store(names.map((name) => note(topic, name, 1, name)))
    const { trees } = tables[0]!
    const leaf = leafKeyOf(1, wanted)
    await db.transact((tx) => tx.put(trees.leaf, leaf, Buffer.alloc(16, 1)))
    const table = tables[0]!
    let at: string | undefined = ''
    while (at?.includes('/index/') !== true) at = (await scrub().step(at!)).next
    const step = scrub().step(at)
    await db.transact((tx) => table.update(tx, note(topic, names[0]!, 2, 'later')))
    await clock.until(() => clock.pendingTimers === 0, 1000, 1)
    expect((await step).mended).toBe(0)
    await db.transact((tx) => tx.put(trees.leaf, leaf, Buffer.alloc(16, 1)))
    expect(await walk(scrub, clock)).toMatchObject({ damaged: 0, mended: 1 })
    await db.transact((tx) =>
      table.drop(
        tx,
        rowKeyOf(1, topic, Buffer.from(names[0]!)),
        table.rowHash(tx, rowKeyOf(1, topic, Buffer.from(names[0]!)))!,
      ),
    )
    await db.transact((tx) => table.update(tx, note(topic, names[0]!, 1, names[0]!)))
    expect(dump(db, tables)).toEqual(before)
  })

  it('finds what is damaged on each of three replicas, so that all are whole again', async () => {
    const schema = noteTable()
    const c = new TableCluster(() => schema, tableTrees(schema), { nodes: 3, seed: 5 })
    await c.run(c.nodes[0]!.table.insertMany(notes()))
    await c.clock.advance(1000)
    const dumps = () => c.nodes.map(({ db, table }) => dump(db, [table.local]))
    const [before] = dumps()
    for (const [i, { db, table, tables }] of c.nodes.entries()) {
      tables.damaged.start()
      await c.run(
        db.transact((tx) => {
          const values = [...tx.range(table.local.trees.head)].filter((_, at) => at % 3 === i)
          for (const { key, value } of values) {
            value[(key.length * 31) % value.length]! ^= 4
            tx.put(table.local.trees.head, key, value)
          }
        }),
      )
    }
    for (const { tables } of c.nodes) {
      let at: string | undefined = ''
      while (at !== undefined) at = (await c.run(tables.rowScrub().step(at))).next
    }
    await c.clock.until(() => c.nodes.every(({ tables }) => tables.damaged.status().known === 0), 600_000, 50)
    for (const each of dumps()) expect(each).toEqual(before)
    for (const { tables } of c.nodes) {
      expect(tables.damaged.counts.repaired).toBeGreaterThan(ROWS / 4)
      await tables.damaged.stop()
    }
  })
})
