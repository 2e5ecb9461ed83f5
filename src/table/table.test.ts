import { describe, expect, it } from 'vitest'
import { type Note, note, noteTable } from '../../testing/note-table.js'
import { type ClusterOptions, TableCluster } from '../../testing/table-cluster.js'
import { CarportError } from '../util/errors.js'
import { PAGE_BYTES_MAX } from './replica.js'
import { tableTrees } from './row-keys.js'

const TOPIC = Buffer.from([7, 0, 0, 1])
const LONG = 'a text that is longer than what stands in a head'

function cluster(
  options: Partial<ClusterOptions> & { placement?: 'sharded' | 'full' } = {},
): TableCluster<Note> {
  const schema = noteTable(options.placement ? { placement: options.placement } : {})
  return new TableCluster(() => schema, tableTrees(schema), { nodes: 3, ...options })
}

/** Puts a row on one node only. */
async function plant(c: TableCluster<Note>, node: number, entry: Note): Promise<void> {
  const { db, table } = c.nodes[node]!
  await c.run(db.transact((tx) => table.local.update(tx, entry)))
}

function textsOn(c: TableCluster<Note>, name: string): (string | undefined)[] {
  return c.nodes.map(({ id, db, table }) =>
    c.net.nodes.has(id) ? table.local.get(db, TOPIC, Buffer.from(name))?.load() : undefined,
  )
}

function callsOf(c: TableCluster<Note>, node: number, method: string): number {
  return c.nodes[node]!.transport.calls.filter((call) => call.method === `table/note/${method}`).length
}

describe('Table', () => {
  it('writes to every replica and reads the body back from any node', async () => {
    const c = cluster({ nodes: 4 })
    expect(await c.run(c.nodes[3]!.table.insert(note(TOPIC, 'a', 1, LONG)))).toBe(0)
    await c.clock.advance(100)
    expect(textsOn(c, 'a').slice(0, 3)).toEqual([LONG, LONG, LONG])
    for (const { table } of c.nodes) {
      expect((await c.run(table.get(TOPIC, Buffer.from('a'))))?.load()).toBe(LONG)
      expect(await c.run(table.get(TOPIC, Buffer.from('absent')))).toBeUndefined()
    }
  })

  it('tells a writer the time of the row that hides its own', async () => {
    const c = cluster()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 50, 'later')))
    expect(await c.run(c.nodes[1]!.table.insert(note(TOPIC, 'a', 10, 'earlier')))).toBe(50)
    expect(await c.run(c.nodes[1]!.table.insert(note(TOPIC, 'a', 51, 'latest')))).toBe(0)
  })

  it('keeps one of two rows that were written at the same time, with bodies that differ at their end only', async () => {
    const c = cluster()
    const texts = [`${LONG} 0`, `${LONG} 1`]
    const writers = [0, 1].map((i) => c.nodes[i]!.table.insert(note(TOPIC, 'a', 10, texts[i]!)))
    expect(await c.run(Promise.all(writers))).toEqual([0, 0])
    await c.clock.advance(100)
    const [kept] = textsOn(c, 'a')
    expect(texts).toContain(kept)
    expect(textsOn(c, 'a')).toEqual([kept, kept, kept])
  })

  it('is content with a quorum when another writer was earlier on the rest', async () => {
    const c = cluster()
    await plant(c, 1, note(TOPIC, 'a', 50, 'concurrent'))
    expect(await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 10, 'earlier')))).toBe(0)
  })

  it('tells the later time as soon as no quorum can have had the row', async () => {
    const c = cluster()
    for (const node of [0, 1]) await plant(c, node, note(TOPIC, 'a', 50, 'later'))
    c.net.latencyMs = (_, to) => (to === c.nodes[2]!.id ? 5000 : 1)
    const startMs = c.clock.monotonicMs()
    expect(await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 10, 'earlier')))).toBe(50)
    expect(c.clock.monotonicMs() - startMs).toBeLessThan(1000)
  })

  it('does not have a row written again that came to a quorum by a read, and was replaced there', async () => {
    const c = cluster({ nodes: 4 })
    const [a, b, d, other] = c.nodes
    // The writer's messages to two replicas are slow, and overtaken by a read and another write.
    c.net.latencyMs = (from, to) => (from === other!.id && to !== a!.id ? 1000 : 1)
    const writing = c.run(other!.table.insert(note(TOPIC, 'a', 10, 'slow')))
    await c.clock.advance(50)
    c.net.cut(a!.id, d!.id)
    expect((await c.run(a!.table.get(TOPIC, Buffer.from('a'))))?.text).toBe('slow')
    c.net.heal(a!.id, d!.id)
    expect(await c.run(b!.table.insert(note(TOPIC, 'a', 20, 'fast')))).toBe(0)
    expect(await writing).toBe(0)
  })

  it('shows no row that later ones keep from a quorum', async () => {
    const c = cluster()
    await plant(c, 0, note(TOPIC, 'a', 10, 'earlier'))
    for (const node of [1, 2]) c.net.cut(c.nodes[0]!.id, c.nodes[node]!.id)
    const reading = c.run(c.nodes[1]!.table.get(TOPIC, Buffer.from('a')))
    expect((await reading)?.text).toBeUndefined()
    c.net.heal(c.nodes[0]!.id, c.nodes[1]!.id)
    c.net.link(c.nodes[0]!.id, c.nodes[1]!.id)
    // While the first two are asked for the row, the third and, a moment later, the second get a later one.
    const { table, transport } = c.nodes[1]!
    await plant(c, 2, note(TOPIC, 'a', 50, 'later'))
    let late: Promise<void> | undefined
    const call = transport.call.bind(transport)
    transport.call = (to, method, ...rest) => {
      if (method === 'table/note/insert' && !late) late = plant(c, 1, note(TOPIC, 'a', 50, 'later'))
      return call(to, method, ...rest)
    }
    expect((await c.run(table.get(TOPIC, Buffer.from('a'))))?.text).toBe('later')
    await late
  })

  it('does not know the outcome when one replica hides the row and another does not answer', async () => {
    const c = cluster()
    await plant(c, 1, note(TOPIC, 'a', 50, 'later'))
    c.kill(2)
    await expect(c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 10, 'x')))).rejects.toMatchObject({
      code: 'QuorumUnavailable',
    })
    expect(await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 51, 'latest')))).toBe(0)
  })

  it('finds a row that some replica has not moved here yet, if told what replaced it there', async () => {
    const elsewhere: (Note | undefined)[] = [note(TOPIC, 'b', 1, LONG), undefined, undefined]
    const current = Buffer.from('newer')
    const schemaOf = (node: number) => ({
      ...noteTable(),
      moving: (_reader: unknown, _topic: Buffer, _sortKey: Buffer, replacedBy: Buffer) =>
        replacedBy.equals(current) ? elsewhere[node] : undefined,
    })
    const c = new TableCluster<Note>(schemaOf, tableTrees(noteTable()), { nodes: 3 })
    for (const name of ['a', 'c']) await c.run(c.nodes[0]!.table.insert(note(TOPIC, name, 1, 'x')))
    await c.clock.advance(100)
    const { table } = c.nodes[2]!
    const names = async (query: { limit: number; reverse?: boolean; replacedBy?: Buffer }) =>
      (await c.run(table.range(TOPIC, { start: Buffer.from('a'), ...query }))).map(({ name }) => name)
    c.net.cut(c.nodes[2]!.id, c.nodes[1]!.id)
    expect(await names({ limit: 9 })).toEqual(['a', 'c'])
    expect(await c.run(table.get(TOPIC, Buffer.from('b')))).toBeUndefined()
    expect(await names({ limit: 2, replacedBy: current })).toEqual(['a', 'b'])
    expect(await names({ limit: 2, reverse: true, replacedBy: current })).toEqual(['c', 'b'])
    const found = await c.run(table.get(TOPIC, Buffer.from('b'), { replacedBy: current }))
    expect(found?.load()).toBe(LONG)
    // A row that was read once is there for every reader.
    expect((await c.run(table.get(TOPIC, Buffer.from('b'))))?.load()).toBe(LONG)
  })

  it('works with one replica of three away, and refuses with two away', async () => {
    const c = cluster()
    c.kill(2)
    expect(await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))).toBe(0)
    expect((await c.run(c.nodes[1]!.table.get(TOPIC, Buffer.from('a'))))?.load()).toBe(LONG)
    c.kill(1)
    await expect(c.run(c.nodes[0]!.table.insert(note(TOPIC, 'b', 1, 'x')))).rejects.toMatchObject({
      code: 'QuorumUnavailable',
    })
    await expect(c.run(c.nodes[0]!.table.get(TOPIC, Buffer.from('a')))).rejects.toMatchObject({
      code: 'QuorumUnavailable',
    })
  })

  it('asks one round trip of a read when the replicas agree, and writes nothing back', async () => {
    const c = cluster()
    await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))
    await c.clock.advance(100)
    const before = c.nodes[1]!.transport.calls.length
    await c.run(c.nodes[1]!.table.get(TOPIC, Buffer.from('a')))
    await c.run(c.nodes[1]!.table.range(TOPIC, { limit: 10 }))
    expect(c.nodes[1]!.transport.calls.length - before).toBe(4)
  })

  it('writes back what only a minority had before it answers', async () => {
    const c = cluster()
    await plant(c, 1, note(TOPIC, 'a', 5, LONG))
    await plant(c, 0, note(TOPIC, 'a', 3, 'older'))
    c.kill(2)
    expect((await c.run(c.nodes[0]!.table.get(TOPIC, Buffer.from('a'))))?.load()).toBe(LONG)
    expect(textsOn(c, 'a').slice(0, 2)).toEqual([LONG, LONG])
  })

  it('fetches the body from another replica when the nearest one has an older row, or none', async () => {
    const c = cluster()
    await plant(c, 1, note(TOPIC, 'a', 5, LONG))
    c.kill(2)
    const row = await c.run(c.nodes[0]!.table.get(TOPIC, Buffer.from('a'), { body: true }))
    expect(row?.load()).toBe(LONG)
    expect(textsOn(c, 'a')[0]).toBe(LONG)
  })

  it('answers a read only with what is durable on the replica', async () => {
    const c = cluster()
    const { id, db, table, transport } = c.nodes[0]!
    const { codec } = table.local
    const key = codec.keyOf(TOPIC, Buffer.from('a'))
    const rows = [codec.toWire(codec.encode(note(TOPIC, 'a', 1, LONG)))]
    const order: string[] = []
    const call = (method: string, body: unknown) =>
      transport.call(id, `table/note/${method}`, body, { timeoutMs: 1000 }).then(() => order.push(method))
    const insert = call('insert', [1, rows])
    // The row is committed and visible, but not yet on the disk.
    await c.clock.until(() => db.has(table.local.trees.head, key), 10, 0)
    const get = call('get', [TOPIC, Buffer.from('a'), id])
    const range = call('range', [TOPIC, null, null, false, 10, false, null])
    await c.clock.advance(0)
    expect(order).toEqual([])
    await c.run(Promise.all([insert, get, range]))
    expect(order.toSorted()).toEqual(['get', 'insert', 'range'])
  })

  it('does not answer a read whose write-back finds no quorum', async () => {
    const c = cluster()
    await plant(c, 1, note(TOPIC, 'a', 5, 'only here'))
    c.kill(2)
    const { table, transport } = c.nodes[0]!
    const call = transport.call.bind(transport)
    transport.call = (to, method, ...rest) =>
      method === 'table/note/insert'
        ? Promise.reject(new CarportError('Timeout', 'too slow'))
        : call(to, method, ...rest)
    await expect(c.run(table.get(TOPIC, Buffer.from('a')))).rejects.toMatchObject({
      code: 'QuorumUnavailable',
    })
  })

  it('inserts many rows of many partitions', async () => {
    const c = cluster()
    const notes = Array.from({ length: 2500 }, (_, i) =>
      note(Buffer.from([i % 3, 0, 0, 0]), `n${i}`, 1, i % 2 ? LONG : 'x'),
    )
    await c.run(c.nodes[0]!.table.insertMany(notes))
    await c.clock.advance(100)
    for (const { db, table } of c.nodes) expect(db.count(table.local.trees.head)).toBe(2500)
    expect(callsOf(c, 0, 'insert')).toBe(9)
  })

  it('reads ranges both ways, with bounds, limits and bodies', async () => {
    const c = cluster()
    const names = ['a', 'b', 'c', 'd', 'e']
    await c.run(c.nodes[0]!.table.insertMany(names.map((name) => note(TOPIC, name, 1, `${name} ${LONG}`))))
    await c.clock.advance(100)
    const { table } = c.nodes[2]!
    const namesOf = async (query: Parameters<typeof table.range>[1]) =>
      (await c.run(table.range(TOPIC, query))).map((row) => row.name).join('')
    expect(await namesOf({ limit: 10 })).toBe('abcde')
    expect(await namesOf({ limit: 2 })).toBe('ab')
    expect(await namesOf({ limit: 2, reverse: true })).toBe('ed')
    expect(await namesOf({ limit: 9, start: Buffer.from('b'), end: Buffer.from('d') })).toBe('bc')
    const rows = await c.run(table.range(TOPIC, { limit: 10, body: true }))
    expect(rows.map((row) => row.load())).toEqual(names.map((name) => `${name} ${LONG}`))
  })

  it('merges ranges of replicas that differ, and writes back what is missing', async () => {
    const c = cluster()
    for (const [i, name] of ['a', 'b', 'c', 'd', 'e', 'f'].entries()) {
      await plant(c, i % 2, note(TOPIC, name, 1, `${name} ${LONG}`))
    }
    await plant(c, 1, note(TOPIC, 'a', 2, ''))
    c.kill(2)
    const rows = await c.run(c.nodes[0]!.table.range(TOPIC, { limit: 5, body: true }))
    expect(rows.map((row) => row.load())).toEqual([
      '',
      ...['b', 'c', 'd', 'e'].map((name) => `${name} ${LONG}`),
    ])
    for (const name of ['b', 'c', 'd', 'e']) {
      expect(textsOn(c, name).slice(0, 2)).toEqual([`${name} ${LONG}`, `${name} ${LONG}`])
    }
    expect(textsOn(c, 'f')[0]).toBeUndefined()
  })

  it('goes on where a page was cut off by its size', async () => {
    const c = cluster()
    const big = 'x'.repeat(PAGE_BYTES_MAX / 3)
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
    await c.run(c.nodes[0]!.table.insertMany(names.map((name) => note(TOPIC, name, 1, big))))
    const before = callsOf(c, 0, 'range')
    const rows = await c.run(c.nodes[0]!.table.range(TOPIC, { limit: 100, body: true }))
    expect(rows.map((row) => row.name)).toEqual(names)
    expect((callsOf(c, 0, 'range') - before) / 2).toBe(4)
  })

  it('refuses rows that do not decode without touching the others of the message', async () => {
    const c = cluster()
    const { codec } = c.nodes[0]!.table.local
    const good = codec.toWire(codec.encode(note(TOPIC, 'a', 1, 'x')))
    const bad = [7, TOPIC, Buffer.from('b'), Buffer.from([0xc1]), null]
    for (const body of [[1, [good, bad]], [1, 'rows'], null, [good]]) {
      const call = c.nodes[0]!.transport.call(c.nodes[1]!.id, 'table/note/insert', body, { timeoutMs: 1000 })
      await expect(c.run(call)).rejects.toMatchObject({ code: 'InvalidArgument' })
    }
    expect(textsOn(c, 'a')).toEqual([undefined, undefined, undefined])
  })

  it('does not answer for a partition that is not on the node, and takes no write of an older layout for it', async () => {
    const c = cluster({ nodes: 4 })
    const ids = c.ids()
    const { transport, placement } = c.nodes[3]!
    const get = transport.call(ids[3]!, 'table/note/get', [TOPIC, Buffer.from('a'), null], {
      timeoutMs: 1000,
    })
    await expect(c.run(get)).rejects.toMatchObject({ code: 'LayoutNotReady' })
    placement.set(ids, 2, () => [ids.slice(0, 3)])
    const { codec } = c.nodes[0]!.table.local
    const rows = [codec.toWire(codec.encode(note(TOPIC, 'a', 1, 'x')))]
    const old = transport.call(ids[3]!, 'table/note/insert', [1, rows], { timeoutMs: 1000 })
    await expect(c.run(old)).rejects.toMatchObject({ code: 'LayoutNotReady' })
    await c.run(transport.call(ids[3]!, 'table/note/insert', [3, rows], { timeoutMs: 1000 }))
  })

  it('without a layout neither reads nor writes', async () => {
    const c = cluster()
    for (const { placement } of c.nodes) placement.set([], 0, () => [])
    const { table } = c.nodes[0]!
    const refused = { code: 'LayoutNotReady' }
    await expect(c.run(table.insert(note(TOPIC, 'a', 1, 'x')))).rejects.toMatchObject(refused)
    await expect(c.run(table.get(TOPIC, Buffer.from('a')))).rejects.toMatchObject(refused)
    await expect(c.run(table.range(TOPIC, { limit: 1 }))).rejects.toMatchObject(refused)
  })

  it('shows no row that only the older layout has, and that the newer one might not show', async () => {
    const c = cluster({ nodes: 7 })
    const ids = c.ids()
    const [old, next] = [ids.slice(0, 3), ids.slice(3, 6)]
    for (const { placement } of c.nodes) placement.set(ids, 2, () => [old, next], 0)
    // A writer that reaches two of the old replicas, and none of the new ones.
    const writer = c.nodes[6]!
    for (const i of [2, 3, 4, 5]) c.net.cut(writer.id, ids[i]!)
    await expect(c.run(writer.table.insert(note(TOPIC, 'a', 10, 'x')))).rejects.toMatchObject({
      code: 'QuorumUnavailable',
    })
    const reader = c.nodes[5]!
    expect((await c.run(reader.table.get(TOPIC, Buffer.from('a'))))?.text).toBe('x')
    // And once read, it stays so with the newer layout.
    for (const i of [3, 4, 5]) await c.run(c.nodes[i]!.tables.sync.syncNow())
    for (const { placement } of c.nodes) placement.set(ids, 2, () => [old, next], 1)
    for (const i of [3, 4, 5]) {
      expect((await c.run(c.nodes[i]!.table.get(TOPIC, Buffer.from('a'))))?.text).toBe('x')
      const range = await c.run(c.nodes[i]!.table.range(TOPIC, { limit: 9 }))
      expect(range.map(({ text }) => text)).toEqual(['x'])
    }
  })

  it('writes back bodies with rows, to nodes that are still copying, also for readers that do not want them', async () => {
    const c = cluster({ nodes: 6 })
    const ids = c.ids()
    const [old, next] = [ids.slice(0, 3), ids.slice(3, 6)]
    for (const name of ['a', 'b']) await c.run(c.nodes[0]!.table.insert(note(TOPIC, name, 10, LONG)))
    await c.clock.advance(100)
    for (const { placement } of c.nodes) placement.set(ids, 2, () => [old, next])
    const { table } = c.nodes[1]!
    await c.run(table.get(TOPIC, Buffer.from('a'), { body: false }))
    await c.run(table.range(TOPIC, { limit: 9 }))
    await c.clock.advance(100)
    for (const i of [3, 4, 5]) {
      const { db, table: copy } = c.nodes[i]!
      for (const name of ['a', 'b']) expect(copy.local.get(db, TOPIC, Buffer.from(name))?.load()).toBe(LONG)
    }
  })

  it('refuses writers with a layout that no other node uses any more, which take the newer one and write again', async () => {
    const c = cluster({ nodes: 6 })
    const ids = c.ids()
    const [old, next] = [ids.slice(0, 3), ids.slice(3, 6)]
    for (const { placement } of c.nodes.slice(1)) {
      placement.completeUpTo = 2
      placement.set(ids, 2, () => [next])
      placement.writersMark = 2
    }
    const { placement, table } = c.nodes[0]!
    placement.set(ids, 1, () => [old])
    await expect(c.run(table.insert(note(TOPIC, 'a', 10, 'x')))).rejects.toMatchObject({
      code: 'LayoutNotReady',
    })
    expect(textsOn(c, 'a').slice(1)).toEqual([undefined, undefined, undefined, undefined, undefined])
    placement.onOutdated = () => placement.set(ids, 2, () => [next])
    expect(await c.run(table.insert(note(TOPIC, 'a', 11, 'y')))).toBe(0)
    await c.clock.advance(100)
    expect(textsOn(c, 'a').slice(3)).toEqual(['y', 'y', 'y'])
  })

  it('refuses writers with a layout that lost against another one of its number, but none that tells the number alone', async () => {
    const c = cluster({ nodes: 6 })
    const ids = c.ids()
    for (const { placement } of c.nodes) {
      placement.completeUpTo = 2
      placement.set(ids, 2, () => [ids.slice(3, 6)])
      placement.markFraction = 0.5
      placement.writersMark = 2.5
    }
    const { placement, table } = c.nodes[0]!
    placement.markFraction = 0.25
    await expect(c.run(table.insert(note(TOPIC, 'a', 10, 'x')))).rejects.toMatchObject({
      code: 'LayoutNotReady',
    })
    expect(textsOn(c, 'a')).toEqual(Array(6).fill(undefined))
    for (const [i, fraction] of [0.5, 0].entries()) {
      placement.markFraction = fraction
      expect(await c.run(table.insert(note(TOPIC, 'a', 11 + i, `y${i}`)))).toBe(0)
    }
    // Of a later layout.
    placement.set(ids, 3, () => [ids.slice(3, 6)])
    placement.markFraction = 0.25
    expect(await c.run(table.insert(note(TOPIC, 'a', 13, 'z')))).toBe(0)
  })

  describe('when it is to win over everything before', () => {
    const latest = (c: TableCluster<Note>, node: number, text: string) => {
      const times: number[] = []
      const written = c.nodes[node]!.table.insertLatest(async (laterUs) => {
        times.push(laterUs)
        return { entry: note(TOPIC, 'a', laterUs + 1, text) }
      })
      return { times, written: c.run(written) }
    }

    it('writes once if nothing is later, and twice if something was acknowledged', async () => {
      const c = cluster()
      expect((await latest(c, 0, 'first').written).replaced).toBe(false)
      await plant(c, 0, note(TOPIC, 'a', 20, 'later'))
      for (const node of [1, 2]) await plant(c, node, note(TOPIC, 'a', 50, 'latest'))
      const { times, written } = latest(c, 0, 'second')
      expect((await written).entry.timeUs).toBe(51)
      // The own copy hides it, then those of the others.
      expect(times).toEqual([0, 20, 50])
      expect((await c.run(c.nodes[1]!.table.get(TOPIC, Buffer.from('a'))))?.text).toBe('second')
    })

    it('shows its row at its own replica only once others have it, and not at all if it is written again', async () => {
      const c = cluster()
      await plant(c, 1, note(TOPIC, 'a', 50, 'later'))
      c.kill(2)
      const { id, db, table, transport } = c.nodes[0]!
      const call = transport.call.bind(transport)
      const shown = async () => {
        const options = { timeoutMs: 1000 }
        const { body } = await call(id, 'table/note/get', [TOPIC, Buffer.from('a'), null], options)
        return body === null
          ? null
          : table.local.codec.decodeStored((body as [Buffer])[0], () => undefined).text
      }
      c.net.latencyMs = () => 100
      const { times, written } = latest(c, 0, 'mine')
      await c.clock.advance(50)
      expect(table.local.get(db, TOPIC, Buffer.from('a'))?.text).toBe('mine')
      expect(await shown()).toBeNull()
      expect((await table.local.heads(db, TOPIC, {}).next()).done).toBe(true)
      expect((await written).replaced).toBe(false)
      expect(times).toEqual([0, 50])
      expect(await shown()).toBe('mine')
      expect(table.local.votes!.size).toBe(0)
    })

    it('lets nobody bring its row to its own replica before it is decided', async () => {
      const c = cluster()
      await plant(c, 1, note(TOPIC, 'a', 50, 'later'))
      c.net.latencyMs = (from, to) => (from === c.nodes[0]!.id && to === c.nodes[1]!.id ? 200 : 1)
      const { written } = latest(c, 0, 'mine')
      await c.clock.advance(10)
      // The third replica has it, takes it for good, and is gone before it tells.
      const { codec } = c.nodes[0]!.table.local
      const wire = [codec.toWire(codec.encode(note(TOPIC, 'a', 1, 'mine')))]
      const options = { timeoutMs: 5000 }
      const brought = c.nodes[2]!.transport.call(c.nodes[0]!.id, 'table/note/insert', [1, wire], options)
      expect((await written).entry.timeUs).toBeGreaterThan(0)
      expect((await c.run(brought)).body).toBeNull()
    })

    it('asks for the time first when a replica is away and it is none itself', async () => {
      const c = cluster({ nodes: 4 })
      await plant(c, 1, note(TOPIC, 'a', 50, 'later'))
      c.kill(2)
      c.net.unlink(c.nodes[3]!.id, c.ids()[2]!)
      const { times, written } = latest(c, 3, 'mine')
      expect((await written).entry.timeUs).toBe(51)
      expect(times).toEqual([0, 50])
    })

    it('is read from as many as acknowledge a write if that is asked for, where reads ask one replica', async () => {
      const c = cluster({ nodes: 4 })
      for (const { placement } of c.nodes) placement.readQuorum = 1
      for (const i of [0, 1]) await plant(c, i, note(TOPIC, 'a', 50, 'before'))
      for (const i of [1, 2]) await plant(c, i, note(TOPIC, 'a', 60, 'since'))
      const { table } = c.nodes[0]!
      const name = Buffer.from('a')
      expect((await c.run(table.get(TOPIC, name)))?.text).toBe('before')
      expect((await c.run(table.get(TOPIC, name, { certain: true })))?.text).toBe('since')
    })

    it('asks as many for the time as acknowledge a write, where reads ask one replica, which may be old', async () => {
      const c = cluster({ nodes: 4 })
      for (const { placement } of c.nodes) placement.readQuorum = 1
      // Acknowledged by the other replica and the one that is away now.
      await plant(c, 1, note(TOPIC, 'a', 50, 'before'))
      c.kill(2)
      c.net.unlink(c.nodes[3]!.id, c.ids()[2]!)
      expect((await latest(c, 3, 'mine').written).entry.timeUs).toBe(51)
      expect(textsOn(c, 'a').slice(0, 2)).toEqual(['mine', 'mine'])
    })
  })

  describe('of full copies', () => {
    it('is written to a majority of all nodes and read without a call', async () => {
      const c = cluster({ nodes: 5, placement: 'full' })
      c.kill(4)
      c.kill(3)
      await c.run(c.nodes[0]!.table.insert(note(TOPIC, 'a', 1, LONG)))
      await c.clock.advance(100)
      for (const { table, transport } of c.nodes.slice(0, 3)) {
        const before = transport.calls.length
        expect((await table.get(TOPIC, Buffer.from('a')))?.load()).toBe(LONG)
        expect((await table.range(TOPIC, { limit: 9, body: true })).map((row) => row.load())).toEqual([LONG])
        expect(transport.calls.length).toBe(before)
      }
    })

    it('asks a majority for what the own copy does not know, and keeps the answer', async () => {
      const c = cluster({ nodes: 5, placement: 'full' })
      for (const node of [0, 1, 2]) await plant(c, node, note(TOPIC, 'a', 1, LONG))
      const { db, table } = c.nodes[4]!
      expect(await table.get(TOPIC, Buffer.from('a'))).toBeUndefined()
      expect((await c.run(table.getFromQuorum(TOPIC, Buffer.from('a'))))?.load()).toBe(LONG)
      expect(table.local.get(db, TOPIC, Buffer.from('a'))?.load()).toBe(LONG)
      expect(await c.run(table.getFromQuorum(TOPIC, Buffer.from('b')))).toBeUndefined()
    })
  })
})
