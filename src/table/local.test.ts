import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../testing/cluster-fakes.js'
import { MemoryDb } from '../../testing/memory-db.js'
import { type Note, note, noteTable } from '../../testing/note-table.js'
import type { Tx } from '../db/db.js'
import { LeafChanges } from './leaves.js'
import { LocalTable } from './local.js'
import { applyRows } from './replica.js'
import { GC_TREE, leafKeyOf, leafOf, rowHashOf, rowKeyOf, tableTrees, xorInto } from './row-keys.js'

const TOPIC = Buffer.from([7, 0, 0, 1])
const LONG = 'a text that is longer than what stands in a head'

function open(onUpdate?: (tx: Tx, before: Note | undefined, after: Note | undefined) => void) {
  const schema = noteTable(onUpdate ? { onUpdate } : {})
  return {
    db: new MemoryDb({ trees: tableTrees(schema), random: new SeededRandom(1) }),
    local: new LocalTable(schema, () => 1000),
  }
}

/** Fingerprints made anew from the heads alone. */
function recomputed(db: MemoryDb, local: LocalTable<Note>): Map<string, string> {
  const sums = new Map<string, Buffer>()
  for (const { rowKey, head } of local.walk(db, {})) {
    const id = leafKeyOf(rowKey[0]!, leafOf(rowKey)).toString('hex')
    const sum = sums.get(id) ?? Buffer.alloc(16)
    xorInto(sum, rowHashOf(rowKey, head))
    sums.set(id, sum)
  }
  return new Map([...sums].map(([id, sum]) => [id, sum.toString('hex')]))
}

function stored(db: MemoryDb, local: LocalTable<Note>): Map<string, string> {
  return new Map(
    [...db.range(local.trees.leaf)].map(({ key, value }) => [key.toString('hex'), value.toString('hex')]),
  )
}

describe('LocalTable', () => {
  it('keeps what wins and leaves what does not', async () => {
    const { db, local } = open()
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 2, 'second')))
    const merged = await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 1, 'first')))
    expect(merged.text).toBe('second')
    expect(local.get(db, TOPIC, Buffer.from('a'))?.load()).toBe('second')
    expect(local.peekHead(db, TOPIC, Buffer.from('b'))).toBeUndefined()
  })

  it('stores the bytes of a winning row as they came, not encoded again', async () => {
    const { db, local } = open()
    const row = local.codec.encode(note(TOPIC, 'a', 1, LONG))
    const padded = {
      ...row,
      head: Buffer.concat([row.head]),
      entry: { ...row.entry, load: () => 'must not be asked' },
    }
    await db.transact((tx) => local.apply(tx, padded))
    expect(local.encoded(db, row.key)).toEqual({ head: row.head, body: Buffer.from(LONG) })
  })

  it('writes a new row with looks at the head, the index and the leaf, and four puts, fingerprint included', async () => {
    const { db, local } = open()
    const row = local.codec.encode(note(TOPIC, 'a', 1, LONG))
    const operations: string[] = []
    await db.transact((tx) => {
      operations.length = 0
      const noting = new Proxy(tx, {
        get: (target, name: keyof Tx) => (tree: string, key: Buffer, value: Buffer) => {
          operations.push(`${name} ${tree}`)
          return (target[name] as (...args: unknown[]) => unknown)(tree, key, value)
        },
      })
      local.apply(noting, row)
    })
    expect(operations.sort()).toEqual([
      'get note:head',
      'has note:index',
      'peek note:leaf',
      'put note:body',
      'put note:head',
      'put note:index',
      'put note:leaf',
    ])
  })

  it('shows the hook the body of the row that was replaced', async () => {
    const seen: (string | undefined)[][] = []
    const { db, local } = open((tx, before, after) => {
      const pair = [before?.load(), after?.load()]
      tx.onCommit(() => seen.push(pair))
    })
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 1, LONG)))
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 2, 'short')))
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 1, LONG)))
    expect(seen).toEqual([
      [undefined, LONG],
      [LONG, 'short'],
    ])
    expect(db.count(local.trees.body)).toBe(0)
  })

  it('lets go of a row only while it has the given hash, and tells the hook', async () => {
    const dropped: (string | undefined)[] = []
    const { db, local } = open((tx, before, after) => {
      const text = before?.load()
      if (!after) tx.onCommit(() => dropped.push(text))
    })
    const row = local.codec.encode(note(TOPIC, 'a', 1, LONG))
    const hash = rowHashOf(row.key, row.head)
    await db.transact((tx) => local.apply(tx, row))
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 2, `${LONG}!`)))
    expect(await db.transact((tx) => local.drop(tx, row.key, hash))).toBe(false)
    const current = local.rowHash(db, row.key)!
    expect(await db.transact((tx) => local.drop(tx, row.key, current))).toBe(true)
    expect(dropped).toEqual([`${LONG}!`])
    for (const tree of Object.values(local.trees)) expect(db.count(tree)).toBe(0)
  })

  it('queues tombstones', async () => {
    const { db, local } = open()
    await db.transact((tx) => local.update(tx, note(TOPIC, 'a', 1, '')))
    await db.transact((tx) => local.update(tx, note(TOPIC, 'b', 1, 'live')))
    expect(db.count(GC_TREE)).toBe(1)
  })

  it('undoes everything when a hook throws', async () => {
    const { db, local } = open(() => {
      throw new Error('hook')
    })
    await expect(db.transact((tx) => local.update(tx, note(TOPIC, 'a', 1, LONG)))).rejects.toThrow('hook')
    for (const tree of Object.values(local.trees)) expect(db.count(tree)).toBe(0)
  })

  it('walks a range both ways within its bounds, and stays within the partition key', async () => {
    const { db, local } = open()
    const other = Buffer.from([7, 0, 0, 2])
    await db.transact((tx) => {
      for (const name of ['a', 'b', 'c', 'd']) local.update(tx, note(TOPIC, name, 1, name))
      local.update(tx, note(other, 'b', 1, 'other'))
    })
    const names = (query: Parameters<typeof local.range>[2]) =>
      [...local.range(db, TOPIC, query)].map((n) => n.name)
    expect(names({})).toEqual(['a', 'b', 'c', 'd'])
    expect(names({ start: Buffer.from('b'), end: Buffer.from('d') })).toEqual(['b', 'c'])
    expect(names({ start: Buffer.from('b'), end: Buffer.from('d'), reverse: true })).toEqual(['c', 'b'])
    expect(names({ reverse: true, limit: 1 })).toEqual(['d'])
    expect(names({ start: Buffer.from('d'), end: Buffer.from('b') })).toEqual([])
    expect([...local.heads(db, TOPIC, { limit: 1 })][0]?.sortKey.toString()).toBe('a')
  })

  it('keeps fingerprints equal to their recomputation, whatever is written and dropped', async () => {
    const step = fc.record({
      names: fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), fc.nat(5), fc.boolean()), {
        minLength: 1,
      }),
      drop: fc.boolean(),
      together: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const { db, local } = open()
        for (const { names, drop, together } of steps) {
          const rows = names.map(([name, time, live]) =>
            local.codec.encode(
              note(Buffer.from([7, 0, 0, time % 2]), name, time, live ? LONG.slice(time) : ''),
            ),
          )
          await db.transact((tx) => {
            if (together) applyRows(tx, local, rows)
            else for (const row of rows) local.apply(tx, row)
            const leaves = new LeafChanges()
            const hash = local.rowHash(tx, rows[0]!.key)!
            if (drop) local.drop(tx, rows[0]!.key, hash, leaves)
            leaves.flush(tx, local.trees)
          })
        }
        expect(stored(db, local)).toEqual(recomputed(db, local))
        expect(db.count(local.trees.index)).toBe(db.count(local.trees.head))
      }),
      { numRuns: 60 },
    )
  })

  it('lists the hashes of some leaves in chunks without gaps or doubles', async () => {
    const { db, local } = open()
    await db.transact((tx) => {
      for (let i = 0; i < 300; i++) local.update(tx, note(TOPIC, `n${i}`, 1, 'x'))
    })
    const leaves = [...Array(4096).keys()]
    const keys: string[] = []
    let after: Buffer | undefined
    do {
      const found = local.hashes(db, 7, leaves, { after, limit: 17 })
      for (const key of found.keys) keys.push(key.toString('hex'))
      after = found.next
    } while (after)
    expect(new Set(keys).size).toBe(300)
    expect(keys.length).toBe(300)
  })

  it('refuses keys and heads that do not fit', () => {
    const { local } = open()
    const row = local.codec.toWire(local.codec.encode(note(TOPIC, 'a', 1, 'x')))
    const bad: unknown[] = [
      null,
      [],
      [8, row[1], row[2], row[3], null],
      [7, Buffer.alloc(3), row[2], row[3], null],
      [7, row[1], Buffer.alloc(1851), row[3], null],
      [7, row[1], Buffer.from('b'), row[3], null],
      [7, row[1], row[2], Buffer.from([0xc1]), null],
      [7, row[1], row[2], row[3], 'text'],
    ]
    for (const value of bad) {
      expect(() => local.codec.parse(value)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
    }
    expect(local.codec.parse(row).key).toEqual(rowKeyOf(7, TOPIC, Buffer.from('a')))
  })
})
