/**
 * Tombstones, their collection, and copies that were not there: at the level of one table, with the messages that matter
 * held back by hand.
 */
import { describe, expect, it } from 'vitest'
import { type Note, note, noteTable } from '../../testing/note-table.js'
import { TableCluster } from '../../testing/table-cluster.js'
import { CarportError } from '../util/errors.js'
import { ASIDE_TREE, tableTrees } from './row-keys.js'
import type { TableSchema } from './schema.js'
import type { Table } from './table.js'

const TOPIC = Buffer.from([7, 0, 0, 1])
const HOUR_MS = 3600_000
const DELAY_MS = 24 * HOUR_MS

function cluster(nodes: number): TableCluster<Note> {
  const schema = noteTable()
  return new TableCluster(() => schema, tableTrees(schema), { nodes, tombstoneDelayMs: DELAY_MS })
}

function textOn(c: TableCluster<Note>, i: number, name: string): string | undefined {
  const { db, table } = c.nodes[i]!
  return table.local.get(db, TOPIC, Buffer.from(name))?.load()
}

/** Moves all partitions from nodes 0 to 2 to nodes 3 to 5, which copy them. */
async function move(c: TableCluster<Note>): Promise<void> {
  const ids = c.ids()
  const [before, after] = [ids.slice(0, 3), ids.slice(3, 6)]
  for (const { placement } of c.nodes) placement.set(ids, 2, () => [before, after])
  for (const i of [3, 4, 5]) await c.run(c.nodes[i]!.tables.sync.syncNow())
  for (const { placement } of c.nodes) placement.set(ids, 3, () => [after])
}

/** Deletes a row and has its tombstone collected by the node that is given. */
async function deleteForGood(c: TableCluster<Note>, name: string, by: number): Promise<void> {
  await c.run(c.nodes[by]!.table.insert(note(TOPIC, name, 9, '')))
  await c.clock.advance(DELAY_MS * 1.5)
  expect(await c.run(c.nodes[by]!.tables.gc.collectNow())).toBe(1)
}

describe('a partition that moved away', () => {
  it('is handed over while nothing was collected: also what only one old replica has', async () => {
    const c = cluster(6)
    await move(c)
    const { db, table, tables } = c.nodes[0]!
    await c.run(db.transact((tx) => table.local.update(tx, note(TOPIC, 'late', 1, 'late'))))
    await c.run(tables.sync.syncNow())
    for (const i of [3, 4, 5]) expect(textOn(c, i, 'late')).toBe('late')
    expect(db.count(ASIDE_TREE)).toBe(0)
  })

  it('does not bring back what was collected meanwhile, and puts aside what its new replicas lack', async () => {
    const c = cluster(6)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, 'secret')))
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'b', 1, 'kept')))
    await c.clock.advance(100)
    await move(c)
    await deleteForGood(c, 'a', 3)
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    for (const i of [0, 3, 4, 5]) expect(textOn(c, i, 'a')).toBeUndefined()
    for (const i of [3, 4, 5]) expect(textOn(c, i, 'b')).toBe('kept')
    expect(c.nodes[0]!.db.count(ASIDE_TREE)).toBe(1)
    expect(c.nodes[0]!.tables.sync.syncStatus()[0]!.foreignPartitions).toBe(0)
  })

  it('is refused in the very message that overlaps with the collection', async () => {
    const c = cluster(6)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, 'secret')))
    await c.clock.advance(100)
    await move(c)
    await c.run(c.nodes[3]!.table.insert(note(TOPIC, 'a', 9, '')))
    await c.clock.advance(DELAY_MS * 1.5)
    // The replicas do not have the row any more when the offer arrives, which was made when they had its tombstone.
    const { db, table, tables, id } = c.nodes[0]!
    const row = table.local.encoded(db, table.local.codec.keyOf(TOPIC, Buffer.from('a')))!
    const wire = table.local.codec.wire(table.local.codec.keyOf(TOPIC, Buffer.from('a')), row.head, row.body)
    const marks = [null, []]
    expect(tables.standing.marks(7)).toEqual({ collected: undefined, prepared: [] })
    await c.run(c.nodes[3]!.tables.gc.collectNow())
    const offer = c.net.nodes
      .get(id)!
      .call(c.nodes[4]!.id, 'table/note/offer', [[[7, marks]], [wire]], { timeoutMs: 1000 })
    await expect(c.run(offer)).rejects.toMatchObject({ code: 'Conflict' })
    expect(textOn(c, 4, 'a')).toBeUndefined()
  })

  it('gives back what was put aside, when an administrator says so', async () => {
    const c = cluster(6)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, 'secret')))
    await c.clock.advance(100)
    await move(c)
    await deleteForGood(c, 'a', 3)
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    expect(await c.run(c.nodes[0]!.tables.restoreAside(new AbortController().signal))).toBe(1)
    for (const i of [3, 4, 5]) expect(textOn(c, i, 'a')).toBe('secret')
    expect(c.nodes[0]!.db.count(ASIDE_TREE)).toBe(0)
  })
})

describe('a replica that missed a collection', () => {
  /** Node 2 leaves the layout, a row is deleted for good without it, and it comes back with its old copy. */
  async function comeBack(): Promise<TableCluster<Note>> {
    const c = cluster(4)
    const ids = c.ids()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, 'secret')))
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'b', 1, 'kept')))
    await c.clock.advance(100)
    const [before, without] = [ids.slice(0, 3), [ids[0]!, ids[1]!, ids[3]!]]
    c.kill(2)
    for (const { placement } of c.nodes) placement.set(ids, 2, () => [before, without])
    await c.run(c.nodes[3]!.tables.sync.syncNow())
    for (const { placement } of c.nodes) placement.set(ids, 3, () => [without])
    await deleteForGood(c, 'a', 0)
    for (const { placement } of c.nodes) placement.set(ids, 4, () => [without, before])
    c.revive(2)
    return c
  }

  it('answers no read before it was compared with enough others, and takes writes', async () => {
    const c = await comeBack()
    const { id, table } = c.nodes[2]!
    const asked = c.nodes[0]!.transport.call(id, 'table/note/get', [TOPIC, Buffer.from('b'), null], {
      timeoutMs: 1000,
    })
    await expect(c.run(asked)).rejects.toMatchObject({ code: 'NotCaughtUp' })
    expect(await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'new', 20, 'new')))).toBe(0)
    await c.clock.advance(100)
    expect(textOn(c, 2, 'new')).toBe('new')
    expect((await c.run(table.get(TOPIC, Buffer.from('b'))))?.load()).toBe('kept')
  })

  it('joins like an empty one: what the others deleted goes, and a write that came meanwhile stays', async () => {
    const c = await comeBack()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'new', 20, 'new')))
    const { tables, db } = c.nodes[2]!
    await c.run(tables.sync.syncNow())
    expect(tables.standing.state(7)).toBe('joining')
    // A write under way could be alone here for a moment: rows go only if they still are after a while.
    expect(textOn(c, 2, 'a')).toBe('secret')
    await c.clock.advance(2 * 60_000)
    await c.run(tables.sync.syncNow())
    await c.run(tables.sync.syncNow())
    expect(tables.standing.state(7)).toBe('whole')
    expect([0, 1, 2, 3].map((i) => textOn(c, i, 'a'))).toEqual(Array(4).fill(undefined))
    expect([0, 1, 2].map((i) => textOn(c, i, 'b'))).toEqual(Array(3).fill('kept'))
    expect([0, 1, 2].map((i) => textOn(c, i, 'new'))).toEqual(Array(3).fill('new'))
    expect(db.count(ASIDE_TREE)).toBe(1)
  })

  it('does not drop what another replica still has', async () => {
    const c = await comeBack()
    // Acknowledged by nodes 1 and 2 before, and not on node 0.
    for (const i of [1, 2]) {
      const { db, table } = c.nodes[i]!
      await c.run(db.transact((tx) => table.local.update(tx, note(TOPIC, 'two', 5, 'two'))))
    }
    const { tables } = c.nodes[2]!
    for (let round = 0; round < 3; round++) {
      await c.run(tables.sync.syncNow())
      await c.clock.advance(2 * 60_000)
    }
    expect(tables.standing.state(7)).toBe('whole')
    expect(textOn(c, 2, 'two')).toBe('two')
    await c.run(tables.sync.syncNow())
    expect(textOn(c, 0, 'two')).toBe('two')
  })

  it('is taken for whole when an administrator says so', async () => {
    const c = await comeBack()
    for (const i of [0, 1, 3]) c.kill(i)
    const { tables } = c.nodes[2]!
    await c.run(tables.sync.syncNow())
    expect(tables.standing.votes(7)).toBe(false)
    expect(await c.run(tables.sync.trustCopies())).toBeGreaterThan(0)
    expect(tables.standing.votes(7)).toBe(true)
  })
})

describe('a replica that cannot confirm tombstones for long, as with a full disk', () => {
  it('keeps them from being collected, and lets no other replica forget in what it took part', async () => {
    const c = cluster(3)
    const [a, b] = c.nodes
    // They collect only when they are told to.
    for (const { tables } of c.nodes) await c.run(tables.gc.stop())
    const last = c.net.nodes.get(c.ids()[2]!)!
    const serve = last.serve.bind(last)
    let refused: string | undefined = 'drop'
    last.serve = async (from, method, body) => {
      if (method.endsWith(`/${refused}`))
        throw new CarportError('StorageFull', 'the disk of the metadata is full')
      return serve(from, method, body)
    }
    // Of this collection only the second replica hears the end.
    await c.run(a!.table.insert(note(TOPIC, 'a', 9, '')))
    await c.clock.advance(DELAY_MS * 1.5)
    expect(await c.run(a!.tables.gc.collectNow())).toBe(0)
    expect(b!.tables.standing.marks(7).collected).toBeDefined()
    expect(a!.tables.standing.marks(7).collected).toBeUndefined()

    const joins = () => c.nodes.map(({ tables }) => tables.standing.joinOf(7))
    const before = joins()
    refused = 'confirm'
    await c.run(a!.table.insert(note(TOPIC, 'b', 9, '')))
    await c.clock.advance(DELAY_MS * 1.5)
    for (let i = 0; i < 50; i++) {
      await c.clock.advance(11 * 60_000)
      await c.run(a!.tables.gc.collectNow())
      await c.run(a!.tables.sync.syncNow())
    }
    expect(joins()).toEqual(before)
    expect(textOn(c, 0, 'b')).toBe('')

    refused = undefined
    await c.clock.advance(11 * 60_000)
    await c.run(a!.tables.gc.collectNow())
    for (const i of [0, 1, 2]) expect([textOn(c, i, 'a'), textOn(c, i, 'b')]).toEqual([undefined, undefined])
    for (const { tables } of c.nodes) expect(tables.standing.marks(7).prepared.length).toBeLessThan(10)
  })
})

describe('a node that has just started', () => {
  it('has no vote until a peer has confirmed its database, except where one copy is enough for a read', async () => {
    const c = cluster(3)
    const { placement, tables } = c.nodes[0]!
    expect(tables.standing.votes(7)).toBe(true)
    placement.confirmed = false
    expect(tables.standing.votes(7)).toBe(false)
    expect(() => tables.standing.checkVote(7)).toThrow('not caught up')
    placement.readQuorum = 1
    expect(tables.standing.votes(7)).toBe(true)
  })
})

describe('a node of an earlier release', () => {
  it('is compared with, both ways, and keeps tombstones from being collected', async () => {
    const c = cluster(3)
    const old = c.net.nodes.get(c.ids()[2]!)!
    const serve = old.serve.bind(old)
    const known = ['insert', 'get', 'range', 'push', 'pull', 'roots', 'leaves', 'hashes', 'check', 'collect']
    old.serve = async (from, method, body) => {
      if (!known.some((name) => method.endsWith(`/${name}`))) {
        throw new CarportError('RemoteError', `unknown method ${method}`)
      }
      return serve(from, method, body)
    }
    const [a, , b] = c.nodes
    await c.run(a!.db.transact((tx) => a!.table.local.update(tx, note(TOPIC, 'x', 1, 'x'))))
    await c.run(b!.db.transact((tx) => b!.table.local.update(tx, note(TOPIC, 'y', 1, 'y'))))
    expect(await c.run(a!.tables.sync.syncNow())).toBe(true)
    expect([textOn(c, 2, 'x'), textOn(c, 0, 'y')]).toEqual(['x', 'y'])
    await c.run(a!.table.insert(note(TOPIC, 'x', 9, '')))
    await c.clock.advance(DELAY_MS * 1.5)
    expect(await c.run(a!.tables.gc.collectNow())).toBe(0)
    expect(textOn(c, 0, 'x')).toBe('')
  })
})

describe('a row that moves here from another table', () => {
  /** The newest row of each name, and those that it replaced, which move in the transaction that replaces them. */
  function twoTables() {
    const older: { table: Table<Note> | undefined }[] = Array.from({ length: 3 }, () => ({
      table: undefined,
    }))
    const schemas = older.map((own) =>
      noteTable({
        onUpdate(tx, before, after) {
          if (!before || !after || before.text === '') return
          const { topic, name, timeUs } = before
          own.table!.local.update(tx, note(topic, `${name}/${timeUs}`, timeUs, before.load()))
        },
      }),
    )
    const olderSchema: TableSchema<Note> = {
      ...noteTable({ name: 'older' }),
      source: {
        table: 'note',
        sortKey: (key) => key.subarray(0, key.indexOf('/')),
        prefix: (key) => Buffer.concat([key, Buffer.from('/')]),
        mayMove: (row, entry) => entry.name.endsWith(`/${(row as Note).timeUs}`),
      },
    }
    const trees = tableTrees(schemas[0]!, olderSchema)
    const c = new TableCluster((i) => schemas[i]!, trees, { nodes: 3, tombstoneDelayMs: DELAY_MS })
    for (const [i, own] of older.entries()) own.table = c.nodes[i]!.tables.add(olderSchema)
    return { c, older: (i: number) => older[i]!.table! }
  }

  it('does not come back after it was deleted, however late a replica hears that it was replaced', async () => {
    const { c, older } = twoTables()
    const [a, b, late] = c.ids() as [string, string, string]
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'k', 1, 'first')))
    await c.clock.advance(100)
    for (const node of [a, b]) c.net.cut(node, late)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'k', 2, 'second')))
    await c.run(older(0).insert(note(TOPIC, 'k/1', 2, '')))
    for (const node of [a, b]) c.net.heal(node, late)
    c.connect(late)
    await c.clock.advance(DELAY_MS * 1.5)

    // All replicas can confirm the tombstone, but one would still make the row anew.
    expect(await c.run(c.nodes[0]!.tables.gc.collectNow())).toBe(0)
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    for (let i = 0; i < 3; i++) expect(textOn(c, i, 'k')).toBe('second')
    await c.clock.advance(HOUR_MS)
    expect(await c.run(c.nodes[0]!.tables.gc.collectNow())).toBe(1)
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    for (let i = 0; i < 3; i++) {
      expect(older(i).local.get(c.nodes[i]!.db, TOPIC, Buffer.from('k/1'))).toBeUndefined()
    }
  })

  it('comes with the hints for the row that replaced it', async () => {
    const { c, older } = twoTables()
    const [a, b, late] = c.ids() as [string, string, string]
    for (const node of [a, b]) c.net.cut(node, late)
    for (let i = 1; i <= 4; i++) await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'k', i, `text ${i}`)))
    await c.clock.advance(1000)
    for (const node of [a, b]) c.net.heal(node, late)
    c.connect(late)
    c.nodes[0]!.tables.retry.start()
    await c.clock.advance(20_000)
    expect(textOn(c, 2, 'k')).toBe('text 4')
    const { db } = c.nodes[2]!
    const texts = [1, 2, 3].map((i) =>
      older(2)
        .local.get(db, TOPIC, Buffer.from(`k/${i}`))
        ?.load(),
    )
    expect(texts).toEqual(['text 1', 'text 2', 'text 3'])
  })
})
