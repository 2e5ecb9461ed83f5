import { majority } from '../cluster/placement.js'
import { Priority } from '../net/transport.js'
import { type Backoff, backoffMs } from '../util/backoff.js'
import { errorCode } from '../util/errors.js'
import { eachLimited } from '../util/limited.js'
import type { Service } from '../util/service.js'
import { Worker, type WorkerStats } from '../util/worker.js'
import type { DamagedRow } from './damage.js'
import type { LocalTable } from './local.js'
import { methodOf } from './replica.js'
import { replicasOf } from './replicas.js'
import { parseCopy } from './replies.js'
import { DAMAGED_TREE } from './row-keys.js'
import type { Row } from './rows.js'
import { describeRow } from './stored-rows.js'
import type { TableEnv } from './table.js'

/** Rows that are waiting to be looked at; the scrub finds the others again. */
const NOTED_MAX = 10_000
const QUARANTINE_BATCH = 50
const REPAIR_BATCH = 100
const REPAIRS_IN_FLIGHT = 8
const CALL_TIMEOUT_MS = 10_000
/** The waits after passes that left rows to be repaired. */
const BACKOFF: Backoff = { baseMs: 2_000, maxMs: 10 * 60_000 }
/** Rows of one pass that get a log line each. */
const LINES_MAX = 50

/** Counts since the start of the process. */
export interface DamageCounts {
  /** Damaged rows that were found. */
  found: number
  /** Rows of which the very copy that was here came from another replica, or a body of the same. */
  repaired: number
  /** Rows that were made anew from what the other replicas hold. */
  replaced: number
  /** Rows of which no replica holds anything, or whose partition moved away. */
  discarded: number
}

type Outcome = 'repaired' | 'replaced' | 'discarded' | 'given up' | 'waiting'

/**
 * Repairs damaged rows (see RowDamage) from the other replicas, as soon as a read or the scrub has found them.
 *
 * What one other replica holds may be older than what this node acknowledged. A row is therefore taken over in one of two
 * cases: its hash is the one that the index had for the damaged row, or so many replicas of each live layout version
 * answered that every write quorum which this node may have been part of has one of them.
 */
export class DamagedRows implements Service {
  readonly name = 'table-repair'
  readonly counts: DamageCounts = { found: 0, repaired: 0, replaced: 0, discarded: 0 }
  readonly #worker: Worker
  readonly #locals: LocalTable<unknown>[] = []
  #noted = new Map<string, { local: LocalTable<unknown>; rowKey: Buffer }>()
  /** Passes in a row that left rows to be repaired. */
  #unfinished = 0
  #givenUp = 0
  #unsubscribe: (() => void) | undefined

  constructor(private readonly env: TableEnv) {
    this.#worker = new Worker(this.name, env, (signal) => this.#work(signal), {
      queueLength: () => env.db.count(DAMAGED_TREE),
    })
  }

  addTable(local: LocalTable<unknown>): void {
    this.#locals.push(local)
    local.stored.onDamaged = (rowKey) => this.note(local, rowKey)
  }

  start(): void {
    this.#unsubscribe = this.env.placement.onChange(() => this.#soon())
    this.#worker.start()
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    await this.#worker.stop()
  }

  workerStats(): WorkerStats {
    return this.#worker.stats()
  }

  /** Rows that are damaged now, and how many of them no other replica could help with at the last try. */
  status(): { known: number; givenUp: number } {
    return { known: this.env.db.count(DAMAGED_TREE), givenUp: this.#givenUp }
  }

  /** A row was found damaged; it may have been before. */
  note(local: LocalTable<unknown>, rowKey: Buffer): void {
    if (this.#noted.size >= NOTED_MAX) return
    const id = `${local.schema.name}\0${rowKey.toString('latin1')}`
    // A row that is known has its turn: those who go on asking for it must not make that come sooner.
    if (this.#noted.has(id) || local.damage.isKnown(this.env.db, rowKey)) return
    this.#noted.set(id, { local, rowKey: Buffer.from(rowKey) })
    this.#soon()
  }

  /** Rows were marked by somebody else. */
  marked(rows: number): void {
    this.counts.found += rows
    this.env.log.error({ found: rows }, 'bodies of stored rows do not match their heads')
    this.#soon()
  }

  /** One pass over all that is known, now. Resolves with the number of rows that are still damaged. */
  async repairNow(signal?: AbortSignal): Promise<number> {
    await this.#quarantine()
    let givenUp = 0
    let waiting = 0
    let lines = 0
    for (const local of this.#locals) {
      let after: Buffer | undefined
      while (!signal?.aborted) {
        const rows = local.damage.known(this.env.db, after, REPAIR_BATCH)
        if (rows.length === 0) break
        await eachLimited(rows, REPAIRS_IN_FLIGHT, async (row) => {
          const outcome = await this.#repair(local, row)
          if (outcome === 'given up') givenUp++
          else if (outcome === 'waiting') waiting++
          else this.counts[outcome]++
          const isNews = outcome !== 'waiting' && !(outcome === 'given up' && row.givenUp)
          if (isNews && ++lines <= LINES_MAX) this.#tell(local, row, outcome)
        })
        after = rows.at(-1)!.rowKey
      }
    }
    this.#givenUp = givenUp
    return givenUp + waiting
  }

  /** Lets go of every row that is given up: reads then say that there is nothing. Returns their names. */
  async forgetGivenUp(): Promise<string[]> {
    const forgotten: string[] = []
    for (const local of this.#locals) {
      let after: Buffer | undefined
      for (;;) {
        const rows = local.damage.known(this.env.db, after, REPAIR_BATCH)
        if (rows.length === 0) break
        const names = await this.env.db.transact((tx) => {
          const gone: string[] = []
          for (const { rowKey, givenUp } of rows) {
            if (!givenUp) continue
            local.damage.discard(tx, rowKey)
            gone.push(describeRow(local.schema.name, rowKey))
          }
          return gone
        })
        for (const row of names) this.env.log.warn({ row }, 'a damaged row that no replica has was let go of')
        forgotten.push(...names)
        after = rows.at(-1)!.rowKey
      }
    }
    this.#givenUp = 0
    return forgotten
  }

  #soon(): void {
    this.#unfinished = 0
    this.#worker.wake()
  }

  async #work(signal: AbortSignal): Promise<number> {
    if (this.#noted.size === 0 && this.env.db.count(DAMAGED_TREE) === 0) {
      this.#givenUp = 0
      return Number.POSITIVE_INFINITY
    }
    const left = await this.repairNow(signal)
    if (this.#noted.size > 0) return 0
    if (left === 0) return Number.POSITIVE_INFINITY
    return backoffMs(BACKOFF, this.#unfinished++, this.env.random)
  }

  /** Marks the rows that were noted, if they are damaged indeed. */
  async #quarantine(): Promise<void> {
    const { clock, db, log } = this.env
    const noted = [...this.#noted.values()]
    this.#noted = new Map()
    let found = 0
    for (let at = 0; at < noted.length; at += QUARANTINE_BATCH) {
      const batch = noted.slice(at, at + QUARANTINE_BATCH)
      const marked = await db.transact((tx) =>
        batch.map(({ local, rowKey }) => {
          const isNew = !local.damage.isKnown(tx, rowKey)
          const what = local.damage.quarantine(tx, rowKey, clock.nowMs())
          return isNew ? what : undefined
        }),
      )
      for (const [i, { local, rowKey }] of batch.entries()) {
        if (!marked[i]) continue
        this.counts.found++
        if (++found > LINES_MAX) continue
        const fields = { row: describeRow(local.schema.name, rowKey), damaged: marked[i] }
        log.error(
          fields,
          'a stored row does not match its checksum: reads of it fail here until it is repaired',
        )
      }
    }
    if (found > LINES_MAX) log.error({ found }, 'more stored rows do not match their checksums')
  }

  async #repair(local: LocalTable<unknown>, { rowKey }: DamagedRow): Promise<Outcome> {
    const { clock, db, placement, transport } = this.env
    const { schema, damage } = local
    const partition = rowKey[0]!
    const version = placement.layoutVersion
    if (version === 0 && schema.placement !== 'full') return 'waiting'
    const replicas = replicasOf(placement, schema, partition)
    if (replicas.length > 0 && !replicas.includes(transport.self)) {
      // What the new replicas of the partition hold is theirs to vouch for.
      await db.transact((tx) => damage.discard(tx, rowKey))
      return 'discarded'
    }
    const others = replicas.filter((node) => node !== transport.self)
    const answers = await Promise.all(others.map((node) => this.#ask(local, node, rowKey)))
    const rows = answers.flatMap((answer) => (typeof answer === 'object' ? [answer] : []))
    const answered = others.filter((_, i) => answers[i] !== 'away' && answers[i] !== 'damaged')
    const isWhole = this.#isEnough(local, partition, answered)
    const isLast = !answers.includes('away')
    return local.underWay.follow(
      [rowKey],
      db.transact((tx): Outcome => {
        for (const row of rows) local.apply(tx, row)
        if (!damage.quarantine(tx, rowKey, clock.nowMs())) return 'repaired'
        if (placement.layoutVersion !== version) return 'waiting'
        if (isWhole) {
          local.replaceDamaged(tx, rowKey, rows)
          return rows.length > 0 ? 'replaced' : 'discarded'
        }
        if (isLast) damage.giveUp(tx, rowKey)
        return isLast ? 'given up' : 'waiting'
      }),
    )
  }

  /** Asks another replica for a row: what it holds, that it holds nothing, or why it does not say. */
  async #ask(
    local: LocalTable<unknown>,
    node: string,
    rowKey: Buffer,
  ): Promise<Row<unknown> | 'absent' | 'damaged' | 'away'> {
    const at = 1 + local.schema.partitionKeyBytes
    const query = [rowKey.subarray(1, at), rowKey.subarray(at), node]
    try {
      const options = { timeoutMs: CALL_TIMEOUT_MS, priority: Priority.background }
      const reply = await this.env.quorum.call(node, methodOf(local.schema.name, 'get'), query, options)
      const { head, body } = parseCopy(node, reply.body)
      return head ? local.codec.parseParts(rowKey, head, body) : 'absent'
    } catch (error) {
      if (errorCode(error) === 'Closed') throw error
      return errorCode(error) === 'Corrupted' ? 'damaged' : 'away'
    }
  }

  /** Whether every write quorum that this node may have been part of has one of the nodes that answered. */
  #isEnough(local: LocalTable<unknown>, partition: number, answered: readonly string[]): boolean {
    const { placement } = this.env
    const isFull = local.schema.placement === 'full'
    const sets = isFull ? placement.controlSets() : placement.writeSets(partition)
    // A node whose copies nobody counts, a gateway, takes what any other has.
    if (sets.length === 0) return isFull && answered.length > 0
    return sets.every((set) => {
      const quorum = isFull ? majority(set.length) : placement.writeQuorum
      return set.filter((node) => answered.includes(node)).length > set.length - quorum
    })
  }

  #tell(local: LocalTable<unknown>, { rowKey }: DamagedRow, outcome: Outcome): void {
    const row = describeRow(local.schema.name, rowKey)
    if (outcome === 'repaired') this.env.log.warn({ row }, 'a damaged row was fetched from another replica')
    else if (outcome === 'replaced') {
      this.env.log.warn({ row }, 'a damaged row was made anew from what the other replicas hold')
    } else if (outcome === 'discarded') {
      this.env.log.warn({ row }, 'a damaged row that no other replica has was let go of')
    } else {
      this.env.log.error(
        { row },
        'a damaged row is lost: no other replica has it intact. Reads of it fail until it is written or deleted',
      )
    }
  }
}
