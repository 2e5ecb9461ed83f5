import type { BlockManager } from '../../../block/manager.js'
import type { Db } from '../../../db/db.js'
import type { Model } from '../../../model/model.js'
import { GC_TREE } from '../../../table/row-keys.js'
import type { TableSet } from '../../../table/tables.js'
import type { Clock, Timer } from '../../../util/clock.js'
import type { QueueFact } from '../types.js'

/** The lengths of queues are kept of the last hour, one each quarter. */
const SAMPLE_EVERY_MS = 15 * 60_000
const SAMPLES = 4

type Queue = QueueFact['name']

interface QueueDeps {
  db: Db
  tables: TableSet
  model: Model
  blocks: BlockManager
  clock: Clock
}

/** The lengths of a node's queues. Each is known without a walk. */
export function queueLengths({ db, tables, model, blocks }: QueueDeps): Record<Queue, number> {
  return {
    missedWrites: tables.retry.status().entries,
    blockReferences: blocks.refs.stats().queued,
    blockResync: blocks.resync.stats().queued,
    purge: model.purge.backlog,
    tombstones: db.count(GC_TREE),
  }
}

/** Remembers how long a node's queues were in the last hour, so that one that grows is told from one that is long. */
export class QueueHistory {
  readonly #samples: Record<Queue, number>[] = []
  #timer: Timer | undefined

  constructor(private readonly deps: QueueDeps) {}

  start(): void {
    this.#timer = this.deps.clock.after(SAMPLE_EVERY_MS, () => {
      this.#samples.push(queueLengths(this.deps))
      if (this.#samples.length > SAMPLES) this.#samples.shift()
      this.start()
    })
  }

  stop(): void {
    this.#timer?.cancel()
  }

  facts(): QueueFact[] {
    const { blocks, db, clock } = this.deps
    const nextDueMs = blocks.local.counts.nextDueMs(db)
    const ages: Partial<Record<Queue, number>> = {
      blockReferences: blocks.refs.oldestAgeMs(),
      ...(nextDueMs !== undefined && { blockResync: Math.max(0, clock.nowMs() - nextDueMs) }),
    }
    return Object.entries(queueLengths(this.deps)).map(([name, length]) => {
      const ageMs = ages[name as Queue]
      return {
        name: name as Queue,
        length,
        oldestSecs: ageMs === undefined ? null : ageMs / 1000,
        before: this.#samples.map((sample) => sample[name as Queue]),
      }
    })
  }
}
