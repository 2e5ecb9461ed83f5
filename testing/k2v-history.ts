import { isNewer, joinClocks, timeOf, type VectorClock } from '../src/model/k2v/causality.js'
import { clockOf, type K2vItem } from '../src/model/k2v/item.js'

/** A write that a client asked for, on one item. */
export interface WriteOp {
  readonly item: string
  /** Each text is written once; null deletes. */
  readonly text: string | null
  /** What its writer had seen; empty without a token. */
  readonly context: VectorClock
  readonly callAt: number
  /** Undefined without an answer, or after an error: it may take effect at any time, or never. */
  returnAt: number | undefined
  readonly note: string
}

/** What a read of one item showed. */
export interface ReadOp {
  readonly item: string
  readonly callAt: number
  readonly returnAt: number
  readonly clock: VectorClock
  /** "origin/time" → text, of each value. */
  readonly values: ReadonlyMap<string, string | null>
  readonly note: string
}

/**
 * Checks histories of K2V items: dots, tokens, and what reads must show.
 *
 *  1. A dot stands for one value, always and everywhere.
 *  2. A read that begins after a write was acknowledged shows its value, unless somebody wrote with a token that has seen it.
 *  3. A token covers no value which its read did not show, unless somebody wrote with a token that has seen that one.
 *  4. A read that begins after a write was acknowledged shows nothing that this write's token has seen.
 *  5. Tokens only grow: a read that begins after another has returned knows all that that one knew.
 *
 * When all of an item is deleted, its traces go, too. So 3 does not hold for a deletion, nor 5 for what was known, if all that is shown was
 * written later.
 */
export class K2vHistory {
  readonly writes: WriteOp[] = []
  readonly reads: ReadOp[] = []
  readonly problems: string[] = []
  readonly #contents = new Map<string, string | null>()
  #moment = 0

  moment(): number {
    return this.#moment++
  }

  write(item: string, text: string | null, context: VectorClock, note: string): WriteOp {
    const op: WriteOp = { item, text, context, callAt: this.moment(), returnAt: undefined, note }
    this.writes.push(op)
    return op
  }

  answered(op: WriteOp): void {
    op.returnAt = this.moment()
  }

  /** Takes note of an item as a client, or a replica itself, has it. @param callAt when the read began */
  read(name: string, item: K2vItem | undefined, callAt: number, note: string): void {
    const values = this.see(name, item, note)
    const clock = item ? clockOf(item) : new Map<string, number>()
    this.reads.push({ item: name, callAt, returnAt: this.moment(), clock, values, note })
  }

  /** Checks that the item's dots stand for what they stood for before. */
  see(name: string, item: K2vItem | undefined, note: string): Map<string, string | null> {
    const values = new Map<string, string | null>()
    for (const { origin, values: own } of item?.entries ?? []) {
      for (const value of own) {
        const dot = `${Buffer.from(origin, 'latin1').toString('hex')}/${value.time}`
        const text = value.content()?.toString() ?? null
        values.set(dot, text)
        const id = `${name} ${dot}`
        const known = this.#contents.get(id)
        if (this.#contents.has(id) && known !== text) {
          this.problems.push(`${note}: the dot ${id} stands for ${text}, and stood for ${known}`)
        }
        this.#contents.set(id, text)
      }
    }
    return values
  }

  /** Descriptions of all that cannot have happened. */
  check(): string[] {
    const items = new Set([...this.writes, ...this.reads].map(({ item }) => item))
    for (const item of items) this.#checkItem(item)
    return this.problems
  }

  #checkItem(item: string): void {
    const writes = this.writes.filter((op) => op.item === item)
    const reads = this.reads.filter((op) => op.item === item)
    const prefix = `${item} `
    const dots = [...this.#contents].flatMap(([id, text]) => {
      if (!id.startsWith(prefix)) return []
      const [hex, time] = id.slice(prefix.length).split('/') as [string, string]
      return [
        {
          origin: Buffer.from(hex, 'hex').toString('latin1'),
          time: Number(time),
          name: `${hex}/${time}`,
          text,
        },
      ]
    })
    type Dot = (typeof dots)[number]
    const covers = (clock: VectorClock, { origin, time }: Dot) => timeOf(clock, origin) >= time
    const dotsOf = new Map<string | null, Dot[]>()
    for (const dot of dots) dotsOf.set(dot.text, [...(dotsOf.get(dot.text) ?? []), dot])
    /** When somebody first asked for a write that makes the dot obsolete. */
    const obsoleteFrom = new Map(
      dots.map((dot) => [
        dot.name,
        Math.min(...writes.filter((w) => covers(w.context, dot)).map((w) => w.callAt)),
      ]),
    )

    for (const read of reads) {
      const texts = new Set(read.values.values())
      const mayLack = (dot: Dot) => obsoleteFrom.get(dot.name)! < read.returnAt
      for (const write of writes) {
        if (write.text === null || write.returnAt === undefined || write.returnAt > read.callAt) continue
        if (texts.has(write.text) || dotsOf.get(write.text)?.some(mayLack)) continue
        this.problems.push(`${describe(read)} lacks what was acknowledged: ${describe(write)}`)
      }
      const oldest = oldestOf(read)
      for (const dot of dots) {
        if (!covers(read.clock, dot) || read.values.has(dot.name) || mayLack(dot)) continue
        if (dot.text === null && dot.time < oldest) continue
        this.problems.push(
          `${describe(read)} has a token for ${dot.text} (${dot.name}), which it does not show`,
        )
      }
      for (const write of writes) {
        if (write.returnAt === undefined || write.returnAt > read.callAt) continue
        for (const dot of dots) {
          if (!read.values.has(dot.name) || !covers(write.context, dot)) continue
          this.problems.push(`${describe(read)} shows ${dot.text}, which ${describe(write)} had seen`)
        }
      }
    }
    const deletionAt = Math.min(...writes.filter(({ text }) => text === null).map(({ callAt }) => callAt))
    this.#checkGrowth(reads, deletionAt)
  }

  /** @param deletionAt when somebody first asked for a deletion */
  #checkGrowth(reads: readonly ReadOp[], deletionAt: number): void {
    const byReturn = [...reads].sort((a, b) => a.returnAt - b.returnAt)
    const byCall = [...reads].sort((a, b) => a.callAt - b.callAt)
    let known: VectorClock = new Map()
    /** Whether the item may have been gone before what it shows was written. */
    const isAnew = (read: ReadOp) =>
      deletionAt < read.returnAt && oldestOf(read) > Math.max(...known.values())
    let at = 0
    for (const read of byCall) {
      for (; at < byReturn.length && byReturn[at]!.returnAt < read.callAt; at++) {
        const before = byReturn[at]!
        // What is deleted may be forgotten later.
        const isDeleted = [...before.values.values()].every((text) => text === null)
        if (isDeleted) known = new Map()
        else known = joinClocks(isAnew(before) ? new Map() : known, before.clock)
      }
      const isGone = [...read.values.values()].every((text) => text === null)
      if (!isGone && !isAnew(read) && isNewer(known, read.clock) && this.#keptSince(byReturn, read)) {
        this.problems.push(`${describe(read)} knows less than a read before it`)
      }
    }
  }

  /** Whether no read that overlaps with, or came right before, found nothing but deletions: then traces may be gone. */
  #keptSince(reads: readonly ReadOp[], read: ReadOp): boolean {
    return !reads.some(
      ({ values, callAt, item }) =>
        item === read.item && callAt < read.returnAt && [...values.values()].every((text) => text === null),
    )
  }
}

/** The earliest time of a value that a read showed. */
function oldestOf({ values }: ReadOp): number {
  return Math.min(...[...values.keys()].map((dot) => Number(dot.split('/')[1])))
}

function describe(op: WriteOp | ReadOp): string {
  const [kind, what] = 'values' in op ? ['read', [...op.values.values()].join(' | ')] : ['write', op.text]
  return `${kind} ${op.item} ${what} [${op.callAt}, ${op.returnAt ?? '?'}] ${op.note}`
}
