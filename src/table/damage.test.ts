import { describe, expect, it } from 'vitest'
import { MemoryDb } from '../../testing/memory-db.js'
import { type Note, note, noteTable } from '../../testing/note-table.js'
import { type ClusterOptions, TableCluster } from '../../testing/table-cluster.js'
import { LocalTable } from './local.js'
import { DAMAGED_TREE, GC_TREE, rowHashOf, rowKeyOf, tableTrees } from './row-keys.js'

const TOPIC = Buffer.from([7, 0, 0, 1])
const NAME = Buffer.from('a')
const KEY = rowKeyOf(7, TOPIC, NAME)
const LONG = 'a text that is longer than what stands in a head'
const CORRUPTED = expect.objectContaining({ name: 'CarportError', code: 'Corrupted' })

function open() {
  const schema = noteTable()
  return {
    db: new MemoryDb({ trees: tableTrees(schema) }),
    local: new LocalTable(schema, () => 1000),
  }
}

function cluster(
  options: Partial<ClusterOptions> & { placement?: 'sharded' | 'full' } = {},
): TableCluster<Note> {
  const schema = noteTable(options.placement ? { placement: options.placement } : {})
  return new TableCluster(() => schema, tableTrees(schema), { nodes: 3, ...options })
}

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[bit >> 3]! ^= 1 << (bit & 7)
  return copy
}

/** Rot: bytes of a tree change, and nothing else. */
async function rot(db: MemoryDb, tree: string, key: Buffer, value: Buffer, run = <T>(p: Promise<T>) => p) {
  await run(db.transact((tx) => tx.put(tree, key, value)))
}

function flip(c: TableCluster<Note>, node: number, tree: 'head' | 'body' | 'index', bit = 77): Promise<void> {
  const { db, table } = c.nodes[node]!
  const name = table.local.trees[tree]
  const [entry] = tree === 'index' ? db.range(name) : [{ key: KEY, value: db.get(name, KEY)! }]
  return rot(db, name, entry!.key, flipped(entry!.value, bit % (8 * entry!.value.length)), (p) => c.run(p))
}

/** All that a node holds of the table. */
function dump(c: TableCluster<Note>, node: number): string[] {
  const { db, table } = c.nodes[node]!
  return [...Object.values(table.local.trees), DAMAGED_TREE].flatMap((tree) =>
    [...db.range(tree)].map(({ key, value }) => `${tree} ${key.toString('hex')} ${value.toString('hex')}`),
  )
}

function outcome<T>(promise: Promise<T>): Promise<T | unknown> {
  return promise.catch((error: unknown) => error)
}

const fail = <T>(fn: () => T): unknown => {
  try {
    return fn()
  } catch (error) {
    return error
  }
}

describe('a damaged row', () => {
  it('is never read, whichever bit of its value is flipped', async () => {
    const { db, local } = open()
    const row = local.codec.encode(note(TOPIC, 'a', 1, LONG))
    await db.transact((tx) => local.apply(tx, row))
    const value = db.get(local.trees.head, KEY)!
    for (let bit = 0; bit < 8 * value.length; bit++) {
      await rot(db, local.trees.head, KEY, flipped(value, bit))
      expect(fail(() => local.get(db, TOPIC, NAME))).toEqual(CORRUPTED)
      expect(fail(() => local.peekHead(db, TOPIC, NAME))).toEqual(CORRUPTED)
      expect(fail(() => [...local.range(db, TOPIC, {})])).toEqual(CORRUPTED)
      expect(fail(() => local.scan(db, TOPIC, {}, () => true))).toEqual(CORRUPTED)
      expect([...local.range(db, TOPIC, { onDamage: 'skip' })]).toEqual([])
      expect(local.encoded(db, KEY)).toBeUndefined()
      expect(local.holdsHash(db, KEY, rowHashOf(KEY, row.head))).toBe(false)
      expect(await db.transact((tx) => local.drop(tx, KEY, rowHashOf(KEY, row.head)))).toBe(false)
    }
  })

  it('keeps its head, but not its body, when a bit of the body is flipped or the body is gone', async () => {
    const { db, local } = open()
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 1, LONG)))
    const body = db.get(local.trees.body, KEY)!
    for (let bit = 0; bit < 8 * body.length; bit++) {
      await rot(db, local.trees.body, KEY, flipped(body, bit))
      expect(local.get(db, TOPIC, NAME)?.timeUs).toBe(1)
      expect(fail(() => local.get(db, TOPIC, NAME)?.load())).toEqual(CORRUPTED)
      expect(local.encoded(db, KEY)).toBeUndefined()
    }
    await db.transact((tx) => tx.delete(local.trees.body, KEY))
    expect(fail(() => local.get(db, TOPIC, NAME)?.load())).toEqual(CORRUPTED)
  })

  it('is damaged under the key it came to lie under, and under its own, which the index knows', async () => {
    const { db, local } = open()
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 1, 'text')))
    await db.transact((tx) => local.update(tx, note(TOPIC, 'zz', 1, 'other')))
    const value = db.get(local.trees.head, KEY)!
    for (let bit = 8 * 5; bit < 8 * KEY.length; bit++) {
      const wrong = flipped(KEY, bit)
      await db.transact((tx) => {
        tx.delete(local.trees.head, KEY)
        tx.put(local.trees.head, wrong, value)
      })
      expect(fail(() => local.get(db, TOPIC, wrong.subarray(5)))).toEqual(CORRUPTED)
      expect(fail(() => local.get(db, TOPIC, NAME))).toEqual(CORRUPTED)
      expect(fail(() => [...local.range(db, TOPIC, {})])).toEqual(CORRUPTED)
      await db.transact((tx) => tx.delete(local.trees.head, wrong))
    }
    expect(local.get(db, TOPIC, Buffer.from('zz'))?.text).toBe('other')
  })

  it('is found by the index where it was stored before there were seals; an intact one stays readable', async () => {
    const { db, local } = open()
    const row = local.codec.encode(note(TOPIC, 'a', 1, LONG))
    await db.transact((tx) => local.apply(tx, row))
    await rot(db, local.trees.head, KEY, row.head)
    expect(local.get(db, TOPIC, NAME)?.load()).toBe(LONG)
    expect([...local.range(db, TOPIC, {})].map((each) => each.load())).toEqual([LONG])
    const scanned: Buffer[] = []
    local.scan(db, TOPIC, {}, (_, head) => scanned.push(Buffer.from(head)) > 0)
    expect(scanned).toEqual([row.head])
    for (let bit = 0; bit < 8 * row.head.length; bit++) {
      await rot(db, local.trees.head, KEY, flipped(row.head, bit))
      expect(fail(() => local.get(db, TOPIC, NAME))).toEqual(CORRUPTED)
      expect(fail(() => local.scan(db, TOPIC, {}, () => true))).toEqual(CORRUPTED)
    }
    await rot(db, local.trees.head, KEY, row.head)
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 2, 'later')))
    expect(local.get(db, TOPIC, NAME)?.text).toBe('later')
  })

  it('is replaced by the very row that was here, without what follows from a change, and by no other', async () => {
    const changes: unknown[] = []
    const schema = noteTable({ onUpdate: (tx, _, after) => tx.onCommit(() => changes.push(after?.text)) })
    const db = new MemoryDb({ trees: tableTrees(schema) })
    const local = new LocalTable(schema, () => 1000)
    const row = local.codec.encode(note(TOPIC, 'a', 5, LONG))
    const other = local.codec.encode(note(TOPIC, 'a', 9, 'later'))
    await db.transact((tx) => local.apply(tx, row))
    const [head, leaf] = [db.get(local.trees.head, KEY)!, [...db.range(local.trees.leaf)]]
    for (const marked of [false, true]) {
      await rot(db, local.trees.head, KEY, flipped(head, 100))
      if (marked) {
        expect(await db.transact((tx) => local.damage.quarantine(tx, KEY, 1))).toBe('head')
        expect(local.rowHash(db, KEY)).toBeUndefined()
        expect(db.count(local.trees.leaf)).toBe(0)
        expect(fail(() => local.get(db, TOPIC, NAME))).toEqual(CORRUPTED)
      }
      const refused = await db.transact((tx) => {
        const list: (typeof row)[] = []
        local.apply(tx, other, undefined, list)
        return list
      })
      expect(refused).toEqual([other])
      await db.transact((tx) => local.apply(tx, row))
      expect(local.get(db, TOPIC, NAME)?.load()).toBe(LONG)
      expect([...db.range(local.trees.leaf)]).toEqual(leaf)
      expect(db.count(DAMAGED_TREE)).toBe(0)
    }
    expect(changes).toEqual([row.entry.text])
  })

  it('is marked so that damage to the mark itself makes it no less damaged', async () => {
    const { db, local } = open()
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 5, 'text')))
    await rot(db, local.trees.head, KEY, flipped(db.get(local.trees.head, KEY)!, 90))
    await db.transact((tx) => local.damage.quarantine(tx, KEY, 1))
    const mark = db.get(local.trees.head, KEY)!
    for (let bit = 0; bit < 8 * 22; bit++) {
      await rot(db, local.trees.head, KEY, flipped(mark, bit))
      expect(fail(() => local.get(db, TOPIC, NAME))).toEqual(CORRUPTED)
      await db.transact((tx) => local.apply(tx, local.codec.encode(note(TOPIC, 'a', 9, 'later'))))
      expect(fail(() => local.get(db, TOPIC, NAME))).toEqual(CORRUPTED)
    }
  })
})

describe('a cluster with a damaged copy', () => {
  it('answers right from every node and makes the copy whole, whichever bit is flipped', async () => {
    const c = cluster()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 5, LONG)))
    await c.clock.advance(100)
    const before = dump(c, 1)
    expect(dump(c, 0)).toEqual(before)
    for (const tree of ['head', 'body'] as const) {
      const bytes = c.nodes[0]!.db.get(`note:${tree}`, KEY)!.length
      for (let at = 0; at < bytes; at++) {
        await flip(c, 0, tree, 8 * at + (at % 8))
        for (const { table } of c.nodes) {
          expect((await c.run(table.get(TOPIC, NAME)))?.load()).toBe(LONG)
          const [row] = await c.run(table.range(TOPIC, { limit: 10, body: true }))
          expect(row?.load()).toBe(LONG)
        }
        expect(await c.run(c.nodes[0]!.tables.damaged.repairNow())).toBe(0)
        expect(dump(c, 0)).toEqual(before)
      }
    }
  })

  it('repairs by itself what a read has found', async () => {
    const c = cluster()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 5, LONG)))
    await c.clock.advance(100)
    const before = dump(c, 1)
    for (const { tables } of c.nodes) tables.damaged.start()
    await flip(c, 0, 'head')
    expect((await c.run(c.nodes[0]!.table.get(TOPIC, NAME)))?.load()).toBe(LONG)
    const { counts } = c.nodes[0]!.tables.damaged
    await c.clock.until(() => dump(c, 0).join() === before.join() && counts.repaired === 1, 5000)
    expect(c.nodes[0]!.tables.damaged.counts).toMatchObject({ found: 1, repaired: 1 })
    expect(c.nodes[0]!.tables.damaged.status()).toEqual({ known: 0, givenUp: 0 })
    for (const { tables } of c.nodes) await tables.damaged.stop()
  })

  it('lets the comparison of replicas find the row missing', async () => {
    const c = cluster()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 5, 'text')))
    await c.clock.advance(100)
    const before = dump(c, 1)
    const { db, table, tables } = c.nodes[0]!
    await flip(c, 0, 'head')
    await c.run(db.transact((tx) => table.local.damage.quarantine(tx, KEY, 1)))
    expect(await c.run(tables.sync.syncNow())).toBe(true)
    expect(dump(c, 0)).toEqual(before)
  })

  it('neither takes a copy that lags for the row, nor a damaged one for an absent one', async () => {
    const c = cluster()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, 'old')))
    await c.clock.advance(100)
    c.net.cut(c.nodes[0]!.id, c.nodes[2]!.id)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 5, 'acknowledged')))
    await c.clock.advance(100)
    c.kill(1)
    c.net.heal(c.nodes[0]!.id, c.nodes[2]!.id)
    c.connect(c.nodes[0]!.id)
    await flip(c, 0, 'head')
    await flip(c, 0, 'index')
    const read = () => outcome(c.run(c.nodes[2]!.table.get(TOPIC, NAME)))
    expect(await read()).toMatchObject({ code: 'QuorumUnavailable' })
    expect(await c.run(c.nodes[0]!.tables.damaged.repairNow())).toBe(1)
    expect(await read()).toMatchObject({ code: 'QuorumUnavailable' })
    const write = c.nodes[2]!.table.insert(note(TOPIC, 'a', 3, 'late'))
    expect(await outcome(c.run(write))).toMatchObject({ code: 'QuorumUnavailable' })
    c.revive(1)
    expect(await c.run(c.nodes[0]!.tables.damaged.repairNow())).toBe(0)
    expect(await read()).toMatchObject({ text: 'acknowledged' })
    expect(c.nodes[0]!.table.local.get(c.nodes[0]!.db, TOPIC, NAME)?.text).toBe('acknowledged')
  })

  it('takes writes by its other replicas while a copy is damaged', async () => {
    const c = cluster()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))
    await c.clock.advance(100)
    await flip(c, 0, 'head')
    expect(await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 2, 'new')))).toBe(0)
    await c.clock.advance(100)
    await c.run(c.nodes[0]!.tables.damaged.repairNow())
    expect(c.nodes[0]!.table.local.get(c.nodes[0]!.db, TOPIC, NAME)?.text).toBe('new')
    expect(dump(c, 0)).toEqual(dump(c, 1))
  })

  it('collects no tombstone that it cannot send', async () => {
    const c = cluster({ tombstoneDelayMs: 1000 })
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, 'text')))
    await c.clock.advance(100)
    c.net.cut(c.nodes[0]!.id, c.nodes[2]!.id)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 2, '')))
    await c.clock.advance(100)
    c.net.heal(c.nodes[0]!.id, c.nodes[2]!.id)
    c.connect(c.nodes[0]!.id)
    await c.clock.advance(3000)
    await flip(c, 0, 'head')
    expect(await c.run(c.nodes[0]!.tables.gc.collectNow())).toBe(0)
    expect(c.nodes[1]!.table.local.get(c.nodes[1]!.db, TOPIC, NAME)?.text).toBe('')
    expect(c.nodes[0]!.db.count(GC_TREE)).toBe(1)
  })

  it('asks a majority where the own copy of a full table is damaged', async () => {
    const c = cluster({ placement: 'full' })
    const key = rowKeyOf(0, TOPIC, NAME)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 5, 'text')))
    await c.clock.advance(100)
    const { db, table, tables } = c.nodes[0]!
    const before = dump(c, 1)
    await rot(db, 'note:head', key, flipped(db.get('note:head', key)!, 90), (p) => c.run(p))
    expect((await c.run(table.get(TOPIC, NAME)))?.text).toBe('text')
    expect(await c.run(tables.damaged.repairNow())).toBe(0)
    expect(dump(c, 0)).toEqual(before)
  })
})

describe('a single node with a damaged row', () => {
  async function single(): Promise<TableCluster<Note>> {
    const c = cluster({ nodes: 1 })
    const { placement, id } = c.nodes[0]!
    placement.readQuorum = 1
    placement.writeQuorum = 1
    placement.set([id], 1, () => [[id]])
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))
    return c
  }

  it('says that it lost it, until the row is written anew', async () => {
    for (const tree of ['head', 'body'] as const) {
      const c = await single()
      const { table, tables, db } = c.nodes[0]!
      await flip(c, 0, tree)
      expect(await outcome(c.run(table.get(TOPIC, NAME)))).toEqual(CORRUPTED)
      expect(await c.run(tables.damaged.repairNow())).toBe(1)
      expect(tables.damaged.status()).toEqual({ known: 1, givenUp: 1 })
      expect(await outcome(c.run(table.get(TOPIC, NAME)))).toEqual(CORRUPTED)
      expect(await outcome(c.run(table.range(TOPIC, { limit: 5, body: true })))).toEqual(CORRUPTED)
      expect(await c.run(table.insert(note(TOPIC, 'a', 2, 'new')))).toBe(0)
      expect((await c.run(table.get(TOPIC, NAME)))?.text).toBe('new')
      expect(db.count(DAMAGED_TREE)).toBe(0)
      expect(db.count('note:body')).toBe(0)
      expect(db.count('note:leaf')).toBe(1)
    }
  })

  it('forgets what is lost when it is told to', async () => {
    const c = await single()
    const { table, tables, db } = c.nodes[0]!
    await flip(c, 0, 'head')
    expect(await outcome(c.run(table.get(TOPIC, NAME)))).toEqual(CORRUPTED)
    await c.run(tables.damaged.repairNow())
    expect(await c.run(tables.damaged.forgetGivenUp())).toEqual([
      'the row \\x07\\x07\\x00\\x00\\x01a of table note',
    ])
    expect(await c.run(table.get(TOPIC, NAME))).toBeUndefined()
    for (const tree of ['head', 'body', 'index', 'leaf']) expect(db.count(`note:${tree}`)).toBe(0)
  })
})
