import { describe, expect, it } from 'vitest'
import { type Note, note, noteTable } from '../../testing/note-table.js'
import { TableCluster, type TableNode } from '../../testing/table-cluster.js'
import { tableTrees } from './row-keys.js'

const TOPIC = Buffer.from([7, 0, 0, 1])
const NAME = 'a'
const SLOW_MS = 100

type Four = [TableNode<Note>, TableNode<Note>, TableNode<Note>, TableNode<Note>]

function write({ table }: TableNode<Note>, timeUs: number, text: string): Promise<unknown> {
  return table.insertLatest(async (laterUs) => ({
    entry: note(TOPIC, NAME, Math.max(timeUs, laterUs + 1), text),
  }))
}

describe('a write that another one hides, which its node does not show yet', () => {
  it('is acknowledged once every read meets one of the two', async () => {
    const schema = noteTable()
    const c = new TableCluster(() => schema, tableTrees(schema), { nodes: 4 })
    // Three replicas, and a node that is none of them.
    const [a, b, x, outside] = c.nodes as Four
    await c.run(write(a, 1, 'base'))
    await c.clock.advance(100)
    // One replica hears nothing from the writer, and its reads ask the one that has the later row.
    c.net.cut(outside.id, x.id)
    c.net.cut(a.id, x.id)
    c.net.latencyMs = (from, to) => (from === b.id && to !== outside.id ? SLOW_MS : 1)
    const later = write(b, 20, 'later')
    await c.clock.advance(10)
    const textOf = ({ db, table }: TableNode<Note>) => table.local.get(db, TOPIC, Buffer.from(NAME))?.text
    expect([a, b, x].map(textOf)).toEqual(['base', 'later', 'base'])

    await c.run(write(outside, 10, 'hidden'))
    const read = await c.run(x.table.get(TOPIC, Buffer.from(NAME)))
    expect(read?.text).toBe('later')
    await c.run(later)
  })
})
