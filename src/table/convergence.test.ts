/**
 * Three nodes under random writes, deletions, reads, broken links, power losses and collection of tombstones.
 * Invariants: a read that starts after a write was acknowledged, or after another read, never shows anything older;
 * a deleted row never comes back; when all is healed, the copies and their fingerprints are equal.
 */
import { describe, expect, it } from 'vitest'
import { type Note, note, noteTable } from '../../testing/note-table.js'
import { TableCluster } from '../../testing/table-cluster.js'
import { tableTrees } from './row-keys.js'

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
const TOPIC = Buffer.from([7, 0, 0, 1])
const LONG = 'a text that is longer than what stands in a head'

interface Floor {
  timeUs: number
}

const CRASHED = new Error('the node that was asked crashed')

class Run {
  readonly c: TableCluster<Note>
  /** The oldest state that a read of a name may show from now on. */
  readonly floors = new Map<string, Floor>()
  readonly deletedAtUs = new Map<string, number[]>()
  readonly violations: string[] = []
  acknowledged = 0
  reads = 0
  refused = 0

  constructor(seed: number) {
    const schema = noteTable()
    this.c = new TableCluster(() => schema, tableTrees(schema), {
      nodes: 3,
      seed,
      tombstoneDelayMs: 60_000,
      syncIntervalMs: 20_000,
      syncSoonMs: 500,
    })
    this.c.net.latencyMs = () => 1 + Math.floor(this.c.random.float() * 20)
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.c.random.float() * items.length)]!
  }

  /** A writer whose clock is off by up to a second; it writes again when it is told it was late. */
  async write(node: number): Promise<void> {
    const { table } = this.c.nodes[node]!
    const name = this.pick(NAMES)
    let timeUs = Math.floor((this.c.clock.monotonicMs() + this.c.random.float() * 1000) * 1000)
    const deletes = this.c.random.float() < 0.3
    const long = this.c.random.float() < 0.5
    for (let attempt = 0; attempt < 10; attempt++) {
      const text = deletes ? '' : long ? `${timeUs} ${node} ${LONG}` : `${timeUs} ${node}`
      if (deletes) this.deletedAtUs.set(name, [...(this.deletedAtUs.get(name) ?? []), timeUs])
      const later = await table.insert(note(TOPIC, name, timeUs, text))
      if (later === 0) {
        this.acknowledged++
        this.raise(name, timeUs)
        return
      }
      timeUs = later + 1
    }
  }

  async read(node: number): Promise<void> {
    const { table } = this.c.nodes[node]!
    const name = this.pick(NAMES)
    const floor = this.floors.get(name)?.timeUs ?? 0
    const row = await table.get(TOPIC, Buffer.from(name))
    this.judge(`get on ${node}`, name, floor, row)
  }

  async range(node: number): Promise<void> {
    const { table } = this.c.nodes[node]!
    const floors = new Map(NAMES.map((name) => [name, this.floors.get(name)?.timeUs ?? 0]))
    const rows = await table.range(TOPIC, { limit: 20, body: true, reverse: this.c.random.float() < 0.5 })
    for (const name of NAMES)
      this.judge(
        `range on ${node}`,
        name,
        floors.get(name)!,
        rows.find((r) => r.name === name),
      )
  }

  judge(how: string, name: string, floor: number, row: Note | undefined): void {
    this.reads++
    if (row) {
      if (row.timeUs < floor) this.violations.push(`${how}: ${name} went back from ${floor} to ${row.timeUs}`)
      if (row.load() === '(no body)') this.violations.push(`${how}: ${name} has no body`)
      this.raise(name, row.timeUs)
    } else if (floor > 0 && !this.deletedAtUs.get(name)?.some((timeUs) => timeUs >= floor)) {
      this.violations.push(`${how}: ${name} of ${floor} is gone`)
    }
  }

  raise(name: string, timeUs: number): void {
    const floor = this.floors.get(name)
    if (!floor || timeUs > floor.timeUs) this.floors.set(name, { timeUs })
  }

  /** One random step of an operation or of a fault. */
  async step(dead: Set<number>): Promise<void> {
    const { c } = this
    const chance = c.random.float()
    const alive = [0, 1, 2].filter((i) => !dead.has(i))
    const node = this.pick(alive)
    if (chance < 0.04) {
      const [a, b] = [this.pick(c.ids()), this.pick(c.ids())]
      if (a !== b) c.net.cut(a, b)
    } else if (chance < 0.12) {
      for (const a of c.ids()) for (const b of c.ids()) if (a !== b) c.net.heal(a, b)
      for (const i of alive) c.connect(c.nodes[i]!.id)
    } else if (chance < 0.14 && dead.size === 0) {
      dead.add(node)
      c.kill(node)
    } else if (chance < 0.18 && dead.size > 0) {
      for (const i of dead) await c.revive(i).tables.start()
      dead.clear()
    } else if (chance < 0.2) {
      await c.clock.advance(c.random.float() * 40_000)
    } else {
      const operations = Array.from({ length: 1 + Math.floor(c.random.float() * 4) }, () => {
        const on = this.pick(alive)
        const kind = c.random.float()
        const operation = kind < 0.5 ? this.write(on) : kind < 0.85 ? this.read(on) : this.range(on)
        return Promise.race([operation, c.nodes[on]!.died.then(() => Promise.reject(CRASHED))])
      })
      // Sometimes a node loses its power while they are under way.
      const crashes = dead.size === 0 && c.random.float() < 0.05
      if (crashes) c.clock.after(c.random.float() * 40, () => c.kill(node))
      // Sometimes a link breaks while they are under way.
      if (c.random.float() < 0.1)
        c.clock.after(15, () => c.net.unlink(this.pick(c.ids()), this.pick(c.ids())))
      const results = await c.run(Promise.allSettled(operations))
      if (crashes) {
        dead.add(node)
        await c.clock.advance(40)
      }
      for (const result of results) {
        if (result.status === 'fulfilled') continue
        this.refused++
        if (result.reason !== CRASHED && result.reason?.code !== 'QuorumUnavailable')
          this.violations.push(`unexpected: ${result.reason?.stack}`)
      }
    }
  }
}

describe('tables under faults', () => {
  it.each([1, 2, 3, 4, 5, 6])('lose nothing, never go back and converge (seed %i)', async (seed) => {
    const run = new Run(seed)
    const { c } = run
    for (const { tables } of c.nodes) await tables.start()
    const dead = new Set<number>()
    for (let i = 0; i < 400 && run.violations.length === 0; i++) await run.step(dead)
    expect(run.violations).toEqual([])
    expect(run.acknowledged).toBeGreaterThan(50)
    expect(run.reads).toBeGreaterThan(100)

    // Mend the last broken links first.
    await c.clock.advance(100)
    for (const a of c.ids()) for (const b of c.ids()) if (a !== b) c.net.heal(a, b)
    for (const i of dead) await c.revive(i).tables.start()
    for (const id of c.ids()) c.connect(id)
    // Wait for the deadlines of calls to nodes that crashed, and for another pass after them.
    await c.clock.advance(120_000)
    const liveOn = (i: number) => {
      const { db, table } = c.nodes[i]!
      return [...table.local.range(db, TOPIC, {})]
        .filter((row) => row.text !== '')
        .map((row) => [row.name, row.load()])
    }
    const live = liveOn(0)
    expect([liveOn(1), liveOn(2)]).toEqual([live, live])
    for (let i = 0; i < 3; i++) await c.run(run.range(i))

    // All tombstones go in the end, and nothing else; then the copies are the same to the byte.
    await c.clock.advance(1_200_000)
    for (let i = 0; i < 3; i++) await c.run(run.range(i))
    expect(run.violations).toEqual([])
    expect(liveOn(0)).toEqual(live)
    const trees = Object.values(c.nodes[0]!.table.local.trees)
    const dumps = c.nodes.map(({ db }) =>
      trees.flatMap((tree) =>
        [...db.range(tree)].map(
          ({ key, value }) => `${tree} ${key.toString('hex')} ${value.toString('hex')}`,
        ),
      ),
    )
    expect([dumps[1], dumps[2]]).toEqual([dumps[0], dumps[0]])
    expect(c.nodes[0]!.db.count(trees[0]!)).toBe(live.length)
    for (const { tables } of c.nodes) await c.run(tables.stop())
  })
})
