import { describe, expect, it } from 'vitest'
import { type Note, note, noteTable } from '../../testing/note-table.js'
import { type ClusterOptions, TableCluster } from '../../testing/table-cluster.js'
import { GC_TREE, RETRY_TREE, tableTrees } from './row-keys.js'

const TOPIC = Buffer.from([7, 0, 0, 1])
const LONG = 'a text that is longer than what stands in a head'
const HOUR_MS = 3600_000

function cluster(
  options: Partial<ClusterOptions> & { placement?: 'sharded' | 'full' } = {},
): TableCluster<Note> {
  const schema = noteTable(options.placement ? { placement: options.placement } : {})
  return new TableCluster(() => schema, tableTrees(schema), { nodes: 3, ...options })
}

async function plant(c: TableCluster<Note>, node: number, entries: readonly Note[]): Promise<void> {
  const { db, table } = c.nodes[node]!
  await c.run(
    db.transact((tx) => {
      for (const entry of entries) table.local.update(tx, entry)
    }),
  )
}

function textsOn(c: TableCluster<Note>, name: string): (string | undefined)[] {
  return c.nodes.map(({ id, db, table }) =>
    c.net.nodes.has(id) ? table.local.get(db, TOPIC, Buffer.from(name))?.load() : undefined,
  )
}

/** Everything a node holds of the table, fingerprints included. */
function dump(c: TableCluster<Note>, node: number): string[] {
  const { db, table } = c.nodes[node]!
  return Object.values(table.local.trees).flatMap((tree) =>
    [...db.range(tree)].map(({ key, value }) => `${tree} ${key.toString('hex')} ${value.toString('hex')}`),
  )
}

function notes(count: number, prefix: string, timeUs = 1): Note[] {
  return Array.from({ length: count }, (_, i) =>
    note(Buffer.from([i % 5, 0, 0, 0]), `${prefix}${i}`, timeUs, i % 2 ? `${LONG} ${i}` : `${i}`),
  )
}

describe('retry of missed writes', () => {
  it('delivers to a replica what it missed while it was away, also from a node that holds no copy', async () => {
    const c = cluster({ nodes: 4 })
    c.kill(2)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))
    await c.run(c.nodes[3]!.table.insert(note(TOPIC, 'b', 1, LONG)))
    await c.clock.advance(1000)
    expect(c.nodes[0]!.db.count(RETRY_TREE)).toBe(1)
    expect(c.nodes[3]!.db.count(RETRY_TREE)).toBe(1)
    c.revive(2)
    for (const i of [0, 3]) c.nodes[i]!.tables.retry.start()
    await c.clock.advance(5000)
    expect(textsOn(c, 'a')[2]).toBe(LONG)
    expect(textsOn(c, 'b')[2]).toBe(LONG)
    for (const { db } of c.nodes) expect(db.count(RETRY_TREE)).toBe(0)
  })

  it('sends the current row, not the one of the miss, where a copy is at hand', async () => {
    const c = cluster()
    c.kill(2)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, 'first')))
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 2, 'second')))
    await c.clock.advance(1000)
    expect(c.nodes[0]!.db.count(RETRY_TREE)).toBe(1)
    c.revive(2)
    c.nodes[0]!.tables.retry.start()
    await c.clock.advance(5000)
    expect(textsOn(c, 'a')[2]).toBe('second')
  })

  it('survives a restart of the node that keeps it', async () => {
    const c = cluster()
    c.kill(2)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))
    await c.clock.advance(1000)
    c.kill(0)
    c.revive(2)
    c.revive(0).tables.retry.start()
    await c.clock.advance(5000)
    expect(textsOn(c, 'a')[2]).toBe(LONG)
  })

  it('keeps nothing of a write that was not acknowledged', async () => {
    const c = cluster()
    c.kill(2)
    c.kill(1)
    await expect(c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))).rejects.toThrow()
    await c.clock.advance(1000)
    expect(c.nodes[0]!.db.count(RETRY_TREE)).toBe(0)
  })

  it('is bounded, and lets entries expire', async () => {
    const c = cluster({ retryEntriesMax: 10 })
    c.kill(2)
    await c.run(c.nodes[0]!.table.insertMany(notes(50, 'n')))
    await c.clock.advance(1000)
    expect(c.nodes[0]!.db.count(RETRY_TREE)).toBe(10)
    await c.clock.advance(60_000)
    const { waitingMs } = c.nodes[0]!.tables.retry.status()
    expect(waitingMs).toBeGreaterThanOrEqual(60_000)
    expect(waitingMs).toBeLessThanOrEqual(61_000)
    c.nodes[0]!.tables.retry.start()
    await c.clock.advance(7 * HOUR_MS)
    expect(c.nodes[0]!.tables.retry.status()).toEqual({ entries: 0, bytes: 0, waitingMs: 0 })
  })
})

describe('anti-entropy', () => {
  it('makes two copies the same, both ways, with conflicts merged', async () => {
    const c = cluster()
    await plant(c, 0, notes(700, 'left'))
    await plant(c, 1, notes(3000, 'right'))
    await plant(c, 0, notes(300, 'both', 5))
    await plant(c, 1, notes(300, 'both', 6))
    await plant(c, 1, notes(100, 'other', 5))
    await plant(c, 0, notes(100, 'other', 6))
    expect(await c.run(c.nodes[0]!.tables.sync.syncNow())).toBe(true)
    expect(c.nodes[0]!.db.count('note:head')).toBe(4100)
    expect(dump(c, 0)).toEqual(dump(c, 1))
    expect(await c.run(c.nodes[2]!.tables.sync.syncNow())).toBe(true)
    expect(dump(c, 2)).toEqual(dump(c, 0))
    const [status] = c.nodes[0]!.tables.sync.syncStatus()
    expect(status).toMatchObject({ table: 'note', rowsPulled: 3400, failedPeers: [], running: false })
  })

  it('exchanges no rows between equal copies', async () => {
    const c = cluster()
    await c.run(c.nodes[0]!.table.insertMany(notes(100, 'n')))
    await c.clock.advance(100)
    const before = c.nodes[0]!.transport.calls.length
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    const methods = c.nodes[0]!.transport.calls.slice(before).map((call) => call.method)
    expect(new Set(methods)).toEqual(new Set(['table/standing', 'table/note/roots']))
  })

  it('moves only the rows that differ', async () => {
    const c = cluster()
    await c.run(c.nodes[0]!.table.insertMany(notes(500, 'n')))
    await c.clock.advance(100)
    await plant(c, 1, [note(TOPIC, 'new', 1, LONG)])
    await plant(c, 0, [note(TOPIC, 'own', 1, LONG)])
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    expect(c.nodes[0]!.tables.sync.syncStatus()[0]).toMatchObject({ rowsPulled: 1, rowsPushed: 3 })
  })

  it('handles rows that are large each', async () => {
    const c = cluster()
    const big = Array.from({ length: 5 }, (_, i) => note(TOPIC, `n${i}`, 1, `${i}`.repeat(700_000)))
    await plant(c, 1, big)
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    expect(dump(c, 0)).toEqual(dump(c, 1))
  })

  it('runs by itself: after the start, and when a link comes up', async () => {
    const c = cluster()
    await plant(c, 1, notes(10, 'n'))
    c.nodes[0]!.tables.sync.start()
    await c.clock.advance(20_000)
    expect(c.nodes[0]!.db.count('note:head')).toBe(10)
    c.kill(1)
    await c.clock.advance(20_000)
    c.revive(1)
    await plant(c, 1, notes(10, 'm'))
    await c.clock.advance(20_000)
    expect(c.nodes[0]!.db.count('note:head')).toBe(20)
    await c.run(c.nodes[0]!.tables.sync.stop())
    expect(c.clock.pendingTimers).toBeLessThanOrEqual(1)
  })

  it('reports peers that are away and goes on with the others', async () => {
    const c = cluster()
    await plant(c, 2, notes(10, 'n'))
    c.kill(1)
    expect(await c.run(c.nodes[0]!.tables.sync.syncNow())).toBe(false)
    expect(c.nodes[0]!.db.count('note:head')).toBe(10)
    expect(c.nodes[0]!.tables.sync.syncStatus()[0]!.failedPeers).toEqual([c.nodes[1]!.id])
  })

  it('keeps full copies on all nodes, gateways included', async () => {
    const c = cluster({ nodes: 5, placement: 'full' })
    await plant(c, 0, notes(50, 'n'))
    await plant(c, 4, notes(50, 'm'))
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    for (const i of [1, 2, 3, 4]) expect(dump(c, i)).toEqual(dump(c, 0))
  })

  it('declares a layout synced once enough replicas of every live version were compared', async () => {
    const c = cluster({ nodes: 6 })
    const ids = c.ids()
    const sets = [ids.slice(0, 3), ids.slice(3, 6)]
    await plant(c, 0, notes(20, 'n'))
    await plant(c, 1, notes(20, 'n'))
    for (const { placement } of c.nodes) placement.set(ids, 2, () => sets)
    c.kill(0)
    c.kill(2)
    await c.run(c.nodes[3]!.tables.sync.syncNow())
    expect(c.nodes[3]!.placement.synced.size).toBe(0)
    c.revive(0).placement.set(ids, 2, () => sets)
    await c.run(c.nodes[3]!.tables.sync.syncNow())
    // The other new replicas have not caught up yet: they might have been the ones that took a write.
    expect(c.nodes[3]!.placement.synced.size).toBe(0)
    await c.run(c.nodes[4]!.tables.sync.syncNow())
    await c.run(c.nodes[3]!.tables.sync.syncNow())
    expect(c.nodes[3]!.placement.synced.get('note')).toBe(2)
    expect(c.nodes[3]!.db.count('note:head')).toBe(20)
  })
})

describe('a partition that moves', () => {
  it('is handed over whole, and only then dropped, while writes go on', async () => {
    const c = cluster({ nodes: 6 })
    const ids = c.ids()
    const [before, after] = [ids.slice(0, 3), ids.slice(3, 6)]
    await c.run(c.nodes[0]!.table.insertMany(notes(1000, 'n')))
    await c.clock.advance(100)
    for (const { placement } of c.nodes) placement.set(ids, 2, () => [before, after])
    await c.run(c.nodes[5]!.table.insertMany(notes(10, 'during')))
    for (const i of [3, 4, 5]) await c.run(c.nodes[i]!.tables.sync.syncNow())
    for (const i of [3, 4, 5]) {
      expect(await c.run(c.nodes[i]!.tables.sync.syncNow())).toBe(true)
      expect(c.nodes[i]!.placement.synced.get('note')).toBe(2)
    }
    for (const { placement } of c.nodes) placement.set(ids, 3, () => [after])
    // A row that reached only one of the old replicas.
    await plant(c, 0, [note(TOPIC, 'late', 1, LONG)])

    c.kill(4)
    expect(await c.run(c.nodes[0]!.tables.sync.syncNow())).toBe(false)
    expect(c.nodes[0]!.db.count('note:head')).toBe(1011)
    expect(c.nodes[0]!.tables.sync.syncStatus()[0]!.foreignPartitions).toBe(6)

    c.revive(4).placement.set(ids, 3, () => [after])
    for (const i of [0, 1, 2]) {
      expect(await c.run(c.nodes[i]!.tables.sync.syncNow())).toBe(true)
      expect(dump(c, i)).toEqual([])
    }
    for (const i of [3, 4, 5]) expect(c.nodes[i]!.db.count('note:head')).toBe(1011)
    expect(dump(c, 4)).toEqual(dump(c, 3))
    expect((await c.run(c.nodes[1]!.table.get(TOPIC, Buffer.from('late'))))?.load()).toBe(LONG)
  })

  it('is not dropped by a node that knows no layout', async () => {
    const c = cluster()
    await plant(c, 0, notes(10, 'n'))
    c.nodes[0]!.placement.set([], 0, () => [])
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    expect(c.nodes[0]!.db.count('note:head')).toBe(10)
  })

  it('is kept if it comes back during the hand-over', async () => {
    const c = cluster({ nodes: 6 })
    const ids = c.ids()
    for (const { placement } of c.nodes) placement.set(ids, 2, () => [ids.slice(0, 3), ids.slice(3, 6)])
    for (const i of [3, 4, 5]) await c.run(c.nodes[i]!.tables.sync.syncNow())
    for (const { placement } of c.nodes) placement.set(ids, 3, () => [ids.slice(3, 6)])
    await plant(c, 0, notes(900, 'n'))
    const pass = c.nodes[0]!.tables.sync.syncNow()
    await c.clock.until(() => c.nodes[0]!.db.count('note:head') < 900, 10_000, 1)
    c.nodes[0]!.placement.set(ids, 4, () => [ids.slice(0, 3)])
    const left = c.nodes[0]!.db.count('note:head')
    await c.run(pass)
    expect(left).toBeGreaterThan(0)
    expect(c.nodes[0]!.db.count('note:head')).toBe(left)
  })
})

describe('collection of tombstones', () => {
  const DELAY_MS = 24 * HOUR_MS

  async function withTombstone(): Promise<TableCluster<Note>> {
    const c = cluster({ tombstoneDelayMs: DELAY_MS })
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 2, '')))
    await c.clock.advance(100)
    return c
  }

  it('removes them from every replica after the delay, not before', async () => {
    const c = await withTombstone()
    for (const { tables } of c.nodes) expect(await c.run(tables.gc.collectNow())).toBe(0)
    await c.clock.advance(DELAY_MS)
    expect(await c.run(c.nodes[0]!.tables.gc.collectNow())).toBe(1)
    for (const i of [0, 1, 2]) expect(dump(c, i)).toEqual([])
    await c.clock.advance(DELAY_MS)
    for (const { tables, db } of c.nodes) {
      expect(await c.run(tables.gc.collectNow())).toBe(0)
      expect(db.count(GC_TREE)).toBe(0)
    }
  })

  it('waits for a replica that is away, so that its old row never comes back', async () => {
    const delayMs = HOUR_MS / 4
    const c = cluster({ tombstoneDelayMs: delayMs })
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))
    await c.clock.advance(100)
    c.kill(2)
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 2, '')))
    for (const i of [0, 1]) await c.nodes[i]!.tables.start()
    await c.clock.advance(10 * delayMs)
    expect(textsOn(c, 'a')).toEqual(['', '', undefined])
    await c.revive(2).tables.start()
    await c.clock.advance(2 * delayMs)
    expect(textsOn(c, 'a')).toEqual([undefined, undefined, undefined])
    await c.clock.advance(2 * delayMs)
    for (const { db } of c.nodes) expect(db.count(GC_TREE)).toBe(0)
    for (const { tables } of c.nodes) await c.run(tables.stop())
  })

  it('gives a replica the tombstone first that it does not have yet', async () => {
    const c = await withTombstone()
    await plant(c, 1, [])
    const { db, table } = c.nodes[2]!
    const key = table.local.codec.keyOf(TOPIC, Buffer.from('a'))
    await c.run(db.transact((tx) => table.local.drop(tx, key, table.local.rowHash(tx, key)!)))
    await plant(c, 2, [note(TOPIC, 'a', 1, LONG)])
    await c.clock.advance(DELAY_MS)
    expect(await c.run(c.nodes[0]!.tables.gc.collectNow())).toBe(1)
    expect(textsOn(c, 'a')).toEqual([undefined, undefined, undefined])
  })

  it('spares a row that was written again on some replica', async () => {
    const c = await withTombstone()
    await plant(c, 1, [note(TOPIC, 'a', 3, 'again')])
    await c.clock.advance(DELAY_MS)
    await c.run(c.nodes[0]!.tables.gc.collectNow())
    expect(textsOn(c, 'a')[1]).toBe('again')
    await c.run(c.nodes[0]!.tables.sync.syncNow())
    expect(textsOn(c, 'a')).toEqual(['again', 'again', 'again'])
  })

  it('forgets queue entries of rows that were overwritten', async () => {
    const c = await withTombstone()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 3, 'again')))
    await c.clock.advance(DELAY_MS)
    expect(await c.run(c.nodes[0]!.tables.gc.collectNow())).toBe(0)
    expect(c.nodes[0]!.db.count(GC_TREE)).toBe(0)
    expect(textsOn(c, 'a')).toEqual(['again', 'again', 'again'])
  })
})
