/**
 * The reference model of the database with crashes: a list of states, one after each transaction. A store that is opened after
 * a crash shows one of them, not before the last transaction that was acknowledged: all of a transaction or nothing, and no
 * later one without the earlier ones.
 *
 * The database under test is the simulator's (testing/memory-db.ts), on which all other models and simulations stand; that it
 * and LMDB are the same without crashes is what their contract tests hold (testing/db-contract.ts).
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Tx } from '../../src/db/db.js'
import { MemoryDb } from '../memory-db.js'
import { SeededRandom } from '../seeded-random.js'
import { SimClock } from '../sim-clock.js'

const TREE = 't'
const LONGEST_COMMIT_MS = 5

type Write = { key: number; value: number | null }
type Step =
  | { do: 'transact'; writes: Write[]; throws: boolean }
  | { do: 'wait'; ms: number }
  | { do: 'crash' }
  | { do: 'close' }

const write = fc.record({ key: fc.nat(5), value: fc.option(fc.nat(99)) })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('transact' as const),
      writes: fc.array(write, { maxLength: 4 }),
      throws: fc.nat(9).map((n) => n === 0),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(LONGEST_COMMIT_MS) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const) }) },
)

/** What the trees hold, as text. */
type State = string

function stateOf(entries: ReadonlyMap<number, number>): State {
  return [...entries].sort(([a], [b]) => a - b).join(' ')
}

class Model {
  /** The state after each transaction that went through, the one at the opening first. */
  readonly states: Map<number, number>[]
  /** How many of these transactions were acknowledged. */
  acknowledged = 0

  constructor(opened: ReadonlyMap<number, number> = new Map()) {
    this.states = [new Map(opened)]
  }

  /** Returns the number of the transaction. */
  transact(writes: readonly Write[]): number {
    const next = new Map(this.states.at(-1))
    for (const { key, value } of writes) {
      if (value === null) next.delete(key)
      else next.set(key, value)
    }
    this.states.push(next)
    return this.states.length - 1
  }

  /** The states that a crash now may leave. */
  possible(): State[] {
    return this.states.slice(this.acknowledged).map(stateOf)
  }
}

function read(db: MemoryDb): Map<number, number> {
  return new Map([...db.range(TREE)].map(({ key, value }) => [key[0]!, value[0]!]))
}

async function play(seed: number, steps: readonly Step[]): Promise<void> {
  const clock = new SimClock()
  let db = new MemoryDb({ trees: [TREE], clock, random: new SeededRandom(seed) })
  let model = new Model()
  for (const step of steps) {
    if (step.do === 'transact') transact(db, model, step.writes, step.throws)
    else if (step.do === 'wait') await clock.run(step.ms)
    else if (step.do === 'close') {
      await clock.runUntil(db.close(), 1000)
      db = db.reopen()
      expect(stateOf(read(db))).toBe(stateOf(model.states.at(-1)!))
      model = new Model(read(db))
    } else {
      db.crash()
      db = db.reopen()
      expect(model.possible()).toContain(stateOf(read(db)))
      model = new Model(read(db))
    }
  }
  await clock.run(100 * LONGEST_COMMIT_MS)
  expect(stateOf(read(db))).toBe(stateOf(model.states.at(-1)!))
  expect(model.acknowledged).toBe(model.states.length - 1)
}

function transact(db: MemoryDb, model: Model, writes: readonly Write[], throws: boolean): void {
  const failure = new Error('to be undone')
  const done = db.transact((tx: Tx) => {
    for (const { key, value } of writes) {
      if (value === null) tx.delete(TREE, Buffer.of(key))
      else tx.put(TREE, Buffer.of(key), Buffer.of(value))
    }
    if (throws) throw failure
  })
  if (throws) {
    // After a crash it never settles.
    void done.catch((error: unknown) => expect(error).toBe(failure))
    return
  }
  const number = model.transact(writes)
  void done.then(() => {
    // Promises of one batch resolve in the order of its transactions.
    expect(number).toBe(model.acknowledged + 1)
    model.acknowledged = number
  })
}

describe('the database and its model', () => {
  it('agree, with crashes at any moment', async () => {
    await fc.assert(fc.asyncProperty(fc.nat(), fc.array(step, { minLength: 5, maxLength: 30 }), play), {
      numRuns: 200,
    })
  })
})
