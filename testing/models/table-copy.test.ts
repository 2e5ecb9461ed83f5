/**
 * The reference model of a node's own copy of a table (src/table/local.ts): a map from keys to the latest note, from which all
 * that the copy keeps beside its rows is derived anew: fingerprints of leaves, the index of hashes, the queue of tombstones,
 * and what the table's hook counts. fast-check drives both with the same transactions, and crashes between and within them.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Tx } from '../../src/db/db.js'
import { LeafChanges } from '../../src/table/leaves.js'
import { LocalTable } from '../../src/table/local.js'
import { GC_TREE, hash16, leafOf, rowHashOf, rowKeyOf, tableTrees } from '../../src/table/row-keys.js'
import { MemoryDb } from '../memory-db.js'
import { type Note, note, noteTable, TOPIC_BYTES } from '../note-table.js'
import { SeededRandom } from '../seeded-random.js'
import { SimClock } from '../sim-clock.js'

const COUNTS = 'counts'
const DUE_MS = 1000
const LONG = 'a text that is longer than what stands in a head'

const isLive = (row: Note | undefined) => row !== undefined && row.text !== ''
/** Counts the live notes of a topic, as the hooks of real tables count objects. */
const schema = noteTable({
  onUpdate(tx, before, after) {
    const change = Number(isLive(after)) - Number(isLive(before))
    const { topic } = (after ?? before)!
    const counted = tx.get(COUNTS, topic)?.readInt32BE() ?? 0
    const next = Buffer.alloc(4)
    next.writeInt32BE(counted + change)
    tx.put(COUNTS, topic, next)
  },
})

interface Fields {
  topic: number
  name: string
  timeUs: number
  text: string
}
type Action = { do: 'update'; row: Fields } | { do: 'drop'; row: Fields; isSame: boolean }
type Step =
  | { do: 'transact'; actions: Action[]; together: boolean; throws: boolean }
  | { do: 'wait'; ms: number }
  | { do: 'crash' }

const TEXTS = ['', 'x', 'y', `${LONG} x`, `${LONG} y`]
/** Notes of one time have one text, as rows of one id have one content. */
const row: fc.Arbitrary<Fields> = fc
  .record({ topic: fc.nat(2), name: fc.constantFrom('a', 'b', 'c', 'd'), time: fc.nat(6), text: fc.nat(4) })
  .map(({ topic, name, time, text }) => ({
    topic,
    name,
    timeUs: time * TEXTS.length + text,
    text: TEXTS[text]!,
  }))
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('update' as const), row }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), row, isSame: fc.boolean() }) },
)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('transact' as const),
      actions: fc.array(action, { minLength: 1, maxLength: 5 }),
      together: fc.boolean(),
      throws: fc.nat(9).map((n) => n === 0),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
)

const topicOf = (n: number) => Buffer.from([n, 0, 0, 1])
const noteOf = ({ topic, name, timeUs, text }: Fields): Note => note(topicOf(topic), name, timeUs, text)
const keyOf = ({ topic, name }: Fields) => rowKeyOf(topic, topicOf(topic), Buffer.from(name))
const idOf = (fields: Fields) => keyOf(fields).toString('latin1')

type Rows = ReadonlyMap<string, Fields>

/** The later note wins. Nothing of the table's code is used. */
function merged(current: Fields | undefined, incoming: Fields): Fields {
  return current && current.timeUs >= incoming.timeUs ? current : incoming
}

function apply(rows: Rows, actions: readonly Action[]): Rows {
  const next = new Map(rows)
  for (const { do: what, row: fields, ...rest } of actions) {
    const id = idOf(fields)
    const current = next.get(id)
    if (what === 'update') next.set(id, merged(current, fields))
    else if (current && ('isSame' in rest && rest.isSame ? true : isEqual(current, fields))) next.delete(id)
  }
  return next
}

function isEqual(a: Fields, b: Fields): boolean {
  return idOf(a) === idOf(b) && a.timeUs === b.timeUs && a.text === b.text
}

const headOf = (fields: Fields) => schema.encode(noteOf(fields)).head
const hashOf = (fields: Fields) => rowHashOf(keyOf(fields), headOf(fields))

/** What the copy must hold, as text: of its rows, and of all that follows from them. */
function expected(rows: Rows): Record<string, unknown> {
  const all = [...rows.values()].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1))
  const leaves = new Map<number, Map<number, Buffer>>()
  for (const fields of all) {
    const ofTopic = leaves.get(fields.topic) ?? new Map<number, Buffer>()
    leaves.set(fields.topic, ofTopic)
    const leaf = leafOf(keyOf(fields))
    const sum = ofTopic.get(leaf) ?? Buffer.alloc(16)
    const hash = hashOf(fields)
    ofTopic.set(leaf, Buffer.from(sum.map((byte, i) => byte ^ hash[i]!)))
  }
  const roots = [0, 1, 2].map((topic) => {
    const parts = [...(leaves.get(topic) ?? [])]
      .sort(([a], [b]) => a - b)
      .map(([leaf, sum]) => Buffer.concat([Buffer.of(leaf >> 8, leaf & 255), sum]))
    return parts.length > 0 ? hash16(Buffer.concat(parts)).toString('hex') : undefined
  })
  return {
    rows: all.map(({ topic, name, timeUs, text }) => [topic, name, timeUs, text]),
    hashes: all.map((fields) => hashOf(fields).toString('hex')),
    roots,
    live: [0, 1, 2].map((topic) => all.filter((each) => each.topic === topic && each.text !== '').length),
    tombstones: all.filter(({ text }) => text === '').map((fields) => hashOf(fields).toString('hex')),
  }
}

class Copy {
  db: MemoryDb
  readonly local: LocalTable<Note>

  constructor(
    readonly clock: SimClock,
    seed: number,
  ) {
    const trees = [...tableTrees(schema), COUNTS]
    this.db = new MemoryDb({ trees, clock, random: new SeededRandom(seed) })
    this.local = new LocalTable(schema, () => DUE_MS, clock)
  }

  run(tx: Tx, actions: readonly Action[], together: boolean): void {
    const { local } = this
    const leaves = together ? new LeafChanges() : undefined
    for (const { do: what, row: fields, ...rest } of actions) {
      if (what === 'update') local.apply(tx, local.codec.encode(noteOf(fields)), leaves)
      else {
        const isSame = 'isSame' in rest && rest.isSame
        const hash = isSame ? local.rowHash(tx, keyOf(fields)) : hashOf(fields)
        if (hash) local.drop(tx, keyOf(fields), hash, leaves)
      }
    }
    leaves?.flush(tx, local.trees)
  }

  /** The same as `expected`, as the copy has it. */
  found(): Record<string, unknown> {
    const { db, local } = this
    const rows: unknown[] = []
    const hashes: (string | undefined)[] = []
    const tombstones: (string | undefined)[] = []
    for (const topic of [0, 1, 2]) {
      for (const each of local.range(db, topicOf(topic), {})) {
        const hash = local
          .rowHash(db, rowKeyOf(topic, topicOf(topic), Buffer.from(each.name)))
          ?.toString('hex')
        rows.push([topic, each.name, each.timeUs, each.load()])
        hashes.push(hash)
        if (each.text === '') tombstones.push(hash)
      }
    }
    return {
      rows,
      hashes,
      roots: [0, 1, 2].map((topic) => local.root(db, topic)?.toString('hex')),
      live: [0, 1, 2].map((topic) => db.get(COUNTS, topicOf(topic))?.readInt32BE() ?? 0),
      tombstones,
    }
  }

  /** The hashes of tombstones that wait to be collected; those of rows that were replaced since may be among them. */
  queued(): Set<string> {
    return new Set([...this.db.range(GC_TREE)].map(({ value }) => value.subarray(0, 16).toString('hex')))
  }
}

async function play(seed: number, steps: readonly Step[]): Promise<void> {
  expect(topicOf(0).length).toBe(TOPIC_BYTES)
  const clock = new SimClock()
  const copy = new Copy(clock, seed)
  let states: Rows[] = [new Map()]
  let acknowledged = 0
  const check = (rows: Rows) => {
    const wanted = expected(rows)
    expect(copy.found()).toEqual(wanted)
    const queued = copy.queued()
    for (const hash of wanted.tombstones as string[]) expect(queued).toContain(hash)
  }
  for (const step of steps) {
    if (step.do === 'wait') await clock.run(step.ms)
    else if (step.do === 'crash') {
      copy.db.crash()
      copy.db = copy.db.reopen()
      const found = JSON.stringify(copy.found())
      const left = states.slice(acknowledged).filter((rows) => JSON.stringify(expected(rows)) === found)
      expect(left, 'the copy is what it was after some transaction that was not lost').not.toEqual([])
      check(left[0]!)
      states = [left[0]!]
      acknowledged = 0
    } else {
      const { actions, together, throws } = step
      const failure = new Error('to be undone')
      const done = copy.db.transact((tx) => {
        copy.run(tx, actions, together)
        if (throws) throw failure
      })
      if (throws) {
        // After a crash it never settles.
        void done.catch((error: unknown) => expect(error).toBe(failure))
        continue
      }
      const number = states.push(apply(states.at(-1)!, actions)) - 1
      const ofThisLife = states
      void done.then(() => {
        if (ofThisLife === states) acknowledged = number
      })
    }
  }
  await clock.run(1000)
  check(states.at(-1)!)
}

describe("a table's local copy and its model", () => {
  it('agree, with crashes at any moment', async () => {
    await fc.assert(fc.asyncProperty(fc.nat(), fc.array(step, { minLength: 5, maxLength: 25 }), play), {
      numRuns: 120,
    })
  })
})
