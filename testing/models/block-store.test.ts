/**
 * The reference model of one node's blocks (src/block/local-blocks.ts over files, counts and claims): for each block the owners
 * that refer to it, the claims on it and how long they hold, and whether it must be here. fast-check drives both with the
 * same operations, and the machine loses its power at any step of any of them, with all that was not synced.
 *
 * They agree: a block that must be here is read; no read ever gives other bytes; and what nobody wants is gone, file and
 * record, once its graces are over.
 */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DataDirs } from '../../src/block/data-dirs.js'
import { makeBlock } from '../../src/block/format.js'
import { LocalBlocks } from '../../src/block/local-blocks.js'
import { RC_TREES, RefCounts } from '../../src/block/rc.js'
import { BlockStore } from '../../src/block/store.js'
import { silentLog } from '../../src/util/log.js'
import { MemoryDb } from '../memory-db.js'
import { MemoryDisk } from '../memory-disk.js'
import { SeededRandom } from '../seeded-random.js'
import { SimClock } from '../sim-clock.js'

const UNREFERENCED_MS = 1000
const UNCLAIMED_MS = 5000
const BLOCKS = 2
const OWNERS = 3
/** Longer than any operation takes. */
const LIMIT_MS = 60_000
const ROUNDS_TO_COLLECT = 4

const codec = {
  enabled: false,
  compress: (data: Buffer) => data,
  decompress: (data: Buffer) => data,
}

type Operation =
  | { do: 'put' | 'reference' | 'unreference' | 'release'; block: number; owner: number }
  | { do: 'read'; block: number }
  | { do: 'collect' }
  | { do: 'wait'; ms: number }
/** An operation, and the power that goes off so many ms after it began; undefined if it does not. */
type Step = Operation & { crashAfterMs: number | undefined }

const block = fc.nat(BLOCKS - 1)
const owner = fc.nat(OWNERS - 1)
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('put' as const), block, owner }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('reference' as const), block, owner }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unreference' as const), block, owner }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), block, owner }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('read' as const), block }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('collect' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(UNCLAIMED_MS) }) },
)
const crashAfterMs = fc.oneof(
  { weight: 4, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.double({ min: 0, max: 20, noNaN: true }) },
)
const step: fc.Arbitrary<Step> = fc
  .tuple(operation, crashAfterMs)
  .map(([what, afterMs]) => ({ ...what, crashAfterMs: afterMs }))

const CONTENTS = Array.from({ length: BLOCKS }, (_, i) => Buffer.alloc(300 + i, `block ${i} `))
const HASHES = CONTENTS.map((content) => createHash('sha256').update(content).digest())
const storedBlock = (i: number) => makeBlock(CONTENTS[i]!, CONTENTS[i]!.length, false)
const ownerId = (n: number) => Buffer.alloc(16, n + 1)

class BlockModel {
  readonly owners = new Set<number>()
  /** Owners whose references were deleted: they have none ever again. */
  readonly retired = new Set<number>()
  /** Claims that were acknowledged, by owner: until when they hold. */
  readonly claims = new Map<number, number>()
  keepUntilMs = 0
  /** Whether it was acknowledged here, and nothing allowed its deletion since. */
  isHere = false

  isWanted(nowMs: number): boolean {
    if (this.owners.size > 0 || this.keepUntilMs > nowMs) return true
    return [...this.claims.values()].some((untilMs) => untilMs > nowMs)
  }

  refer(n: number): void {
    this.owners.add(n)
    this.claims.delete(n)
  }

  unrefer(n: number, nowMs: number): void {
    this.owners.delete(n)
    this.retired.add(n)
    if (this.owners.size === 0) this.keepUntilMs = nowMs + UNREFERENCED_MS
  }
}

class Run {
  readonly clock = new SimClock()
  readonly model = Array.from({ length: BLOCKS }, () => new BlockModel())
  #db: MemoryDb
  #disk: MemoryDisk
  #blocks: LocalBlocks

  constructor(seed: number) {
    const { clock } = this
    this.#db = new MemoryDb({ trees: RC_TREES, clock, random: new SeededRandom(`db ${seed}`) })
    this.#disk = new MemoryDisk({ clock, random: new SeededRandom(`disk ${seed}`) })
    this.#blocks = this.#open()
  }

  #open(): LocalBlocks {
    const { clock } = this
    const dirs = new DataDirs([{ path: '/data', capacity: 1, readOnly: false }])
    const store = new BlockStore(this.#disk, dirs, clock, { fsync: true, reserveBytes: 0, codec })
    const graces = { unreferencedMs: UNREFERENCED_MS, unclaimedMs: UNCLAIMED_MS }
    return new LocalBlocks(this.#db, store, new RefCounts(clock, graces), clock, silentLog)
  }

  async step({ crashAfterMs: afterMs, ...what }: Step): Promise<void> {
    if (!this.#isPossible(what)) return
    const done = this.#perform(what)
    if (afterMs === undefined) {
      await this.clock.runUntil(done, LIMIT_MS)
    } else {
      // Whatever it comes to, nobody hears of it.
      done.catch(() => {})
      await this.clock.run(afterMs)
      this.#db.crash()
      this.#disk.crash()
      this.#db = this.#db.reopen()
      this.#disk = this.#disk.reopen()
      this.#blocks = this.#open()
      this.#learn(what)
    }
    for (let i = 0; i < BLOCKS; i++) await this.#checkRead(i)
  }

  /** Whether the layers above would do that now. */
  #isPossible(what: Operation): boolean {
    if (!('owner' in what)) return true
    const { owners, retired } = this.model[what.block]!
    if (what.do === 'unreference') return owners.has(what.owner)
    return !owners.has(what.owner) && !retired.has(what.owner)
  }

  /** Does it, and notes in the model what is certain once it is done. */
  async #perform(what: Operation): Promise<void> {
    const blocks = this.#blocks
    const { db, counts } = blocks
    const beganMs = this.clock.nowMs()
    if (what.do === 'wait') return this.clock.sleep(what.ms)
    if (what.do === 'collect') return this.#collect()
    if (what.do === 'read') return
    const hash = HASHES[what.block]!
    const id = ownerId(what.owner)
    const model = this.model[what.block]!
    switch (what.do) {
      case 'put':
        await blocks.put(hash, id, storedBlock(what.block))
        // An earlier process may have been told of a later one.
        if (blocks !== this.#blocks) return
        model.claims.set(what.owner, beganMs + UNCLAIMED_MS)
        model.isHere = true
        return
      case 'reference':
        await db.transact((tx) => counts.referenced(tx, hash, id))
        if (blocks === this.#blocks) model.refer(what.owner)
        return
      case 'unreference':
        await db.transact((tx) => counts.unreferenced(tx, hash))
        if (blocks === this.#blocks) model.unrefer(what.owner, beganMs)
        return
      case 'release':
        // From now on nothing is promised; see `isWanted` for the others.
        model.claims.delete(what.owner)
        await blocks.release([hash], id)
        return
    }
  }

  /** After a crash it is seen from the counts whether a reference came or went: the row is in the same transaction. */
  #learn(what: Operation): void {
    if (what.do !== 'reference' && what.do !== 'unreference') return
    const model = this.model[what.block]!
    const count = this.#blocks.counts.get(this.#db, HASHES[what.block]!)?.count ?? 0
    const { size } = model.owners
    if (what.do === 'reference' && !model.owners.has(what.owner)) {
      expect([size, size + 1]).toContain(count)
      if (count > size) model.refer(what.owner)
    } else if (what.do === 'unreference' && model.owners.has(what.owner)) {
      expect([size - 1, size]).toContain(count)
      if (count < size) model.unrefer(what.owner, this.clock.nowMs())
    }
  }

  /** What resync does with the blocks that are due; a block that lacks its file comes from another replica. */
  async #collect(): Promise<void> {
    const blocks = this.#blocks
    const { db, counts, store } = blocks
    for (const { hash } of counts.due(db, this.clock.nowMs(), 100)) {
      const i = HASHES.findIndex((each) => each.equals(hash))
      const verdict = counts.judge(db, hash, await store.has(hash))
      const model = this.model[i]!
      if (verdict.kind === 'delete') {
        expect(model.isWanted(this.clock.nowMs()), `block ${i} is deleted, and wanted`).toBe(false)
        model.isHere = false
        await blocks.delete(hash)
      } else if (verdict.kind === 'fetch') {
        await blocks.putFetched(hash, storedBlock(i))
        if (blocks === this.#blocks) model.isHere = true
      } else if (verdict.kind === 'forget') {
        model.isHere = false
        await db.transact((tx) => counts.forget(tx, hash))
      } else if (verdict.kind === 'keep') await db.transact((tx) => counts.settle(tx, hash))
      else await db.transact((tx) => counts.enqueue(tx, hash, verdict.untilMs, true))
    }
  }

  async #checkRead(i: number): Promise<void> {
    const found = await this.clock.runUntil(this.#blocks.read(HASHES[i]!), LIMIT_MS)
    const model = this.model[i]!
    if (found) expect(found.payload.equals(CONTENTS[i]!), `block ${i} has its bytes`).toBe(true)
    else if (model.isHere && model.isWanted(this.clock.nowMs()))
      expect.fail(`block ${i} was acknowledged, is wanted, and is not here`)
    const count = this.#blocks.counts.get(this.#db, HASHES[i]!)?.count ?? 0
    expect(count, `references of block ${i}`).toBe(model.owners.size)
  }

  /** Takes all references away, and waits until nothing may be left. */
  async end(): Promise<void> {
    const { clock } = this
    for (const [i, { owners }] of this.model.entries())
      for (const n of [...owners])
        await this.step({ do: 'unreference', block: i, owner: n, crashAfterMs: undefined })
    for (let round = 0; round < ROUNDS_TO_COLLECT; round++) {
      // The scrub finds files of which a crash left no record, and those that were being written.
      for (const path of this.#disk.paths()) {
        const hash = HASHES.find((each) => path.endsWith(each.toString('hex')))
        const { db, counts } = this.#blocks
        if (hash)
          await clock.runUntil(
            db.transact((tx) => void counts.adopt(tx, hash)),
            LIMIT_MS,
          )
      }
      await clock.run(UNCLAIMED_MS + UNREFERENCED_MS + LIMIT_MS)
      await clock.runUntil(this.#collect(), LIMIT_MS)
    }
    expect(this.#disk.paths().filter((path) => !path.endsWith('.tmp'))).toEqual([])
    expect(this.#blocks.counts.sizes(this.#db)).toEqual({ queued: 0, known: 0, claims: 0, absent: 0 })
  }
}

describe("a node's blocks and their model", () => {
  it('agree, with power cuts at any step', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.array(step, { minLength: 5, maxLength: 25 }), async (seed, steps) => {
        const run = new Run(seed)
        for (const each of steps) await run.step(each)
        await run.end()
      }),
      { numRuns: 150 },
    )
  })
})
