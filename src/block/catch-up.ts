import type { Placement } from '../cluster/placement.js'
import type { Transport } from '../net/transport.js'
import type { TableSet } from '../table/tables.js'
import type { Clock } from '../util/clock.js'
import type { BlockManager } from './manager.js'

/** What a node has still to do until it holds all that it must have and nobody waits for it. All zero: it caught up. */
export interface CatchUpState {
  /** Blocks that are referenced here and not stored yet. */
  blocksToFetch: number
  /** Blocks that could not be fetched, or given to their new nodes, at the last attempt; they are tried again. */
  blocksFailed: number
  /** Partitions, of each table, that were not compared with enough replicas yet. */
  partitionsToCompare: number
  /** Partitions, of each table, whose rows are to be handed over to the nodes that have them now. */
  partitionsToHandOver: number
  /** Copies of partitions that do not count in reads yet. */
  copiesJoining: number
  /** Writes that replicas missed and that this node sends to them. */
  writesToSend: number
  /** Blocks fetched since there was last nothing to do, and their bytes. */
  blocksFetched: number
  bytesFetched: number
  /** Blocks and bytes fetched in a second, over the last minute at the most; null while it cannot be told. */
  blocksPerSec: number | null
  bytesPerSec: number | null
  /**
   * Seconds until all blocks are here at that rate. 0 when nothing is to be done, null when it cannot be told: before the first
   * blocks came, while rows may tell of more blocks, and for blocks that could not be fetched.
   */
  secondsLeft: number | null
}

interface Sample {
  atMs: number
  blocks: number
  bytes: number
}

/** The time over which rates are measured, and the least, in ms. */
const WINDOW_MS = 60_000
const WINDOW_MIN_MS = 2_000
/** The least time between two samples, in ms. */
const SAMPLE_EVERY_MS = 1_000
/** Failures that are looked at, to tell those of missing blocks from those of blocks to be given away. */
const ERRORS_MAX = 1000

/** Tells what a node has still to do, and how fast it goes. Measures when it is asked, which its status does all the time. */
export class CatchUp {
  /** Samples since there was last nothing to do, of the last minute; and the first of all these. */
  #samples: Sample[] = []
  #start: Sample | undefined

  constructor(
    private readonly node: {
      tables: TableSet
      blocks: BlockManager
      placement: Placement
      transport: Transport
      clock: Clock
    },
  ) {}

  /** The number of rows, blocks and partitions that are left to do: zero when the node caught up. */
  queueLength(): number {
    const { blocksToFetch, partitionsToCompare, partitionsToHandOver, copiesJoining, writesToSend } =
      this.state()
    const left = partitionsToCompare + partitionsToHandOver + copiesJoining + writesToSend
    return blocksToFetch + this.#failedHandOvers() + left
  }

  state(): CatchUpState {
    const { tables, blocks } = this.node
    const { absent } = blocks.stats()
    const left = {
      blocksToFetch: absent,
      blocksFailed: blocks.resync.stats().errors,
      ...this.#partitions(),
      copiesJoining: tables.standing.joining().length,
      writesToSend: tables.retry.status().entries,
    }
    const isDone = Object.values(left).every((count) => count === 0)
    const now = this.#sample(isDone)
    const first = this.#samples[0] ?? now
    const seconds = (now.atMs - first.atMs) / 1000
    const isMeasured = !isDone && seconds * 1000 >= WINDOW_MIN_MS
    const blocksPerSec = isMeasured ? (now.blocks - first.blocks) / seconds : null
    return {
      ...left,
      blocksFetched: now.blocks - (this.#start ?? now).blocks,
      bytesFetched: now.bytes - (this.#start ?? now).bytes,
      blocksPerSec,
      bytesPerSec: isMeasured ? (now.bytes - first.bytes) / seconds : null,
      secondsLeft: isDone ? 0 : secondsLeft(left, blocksPerSec),
    }
  }

  #partitions(): Pick<CatchUpState, 'partitionsToCompare' | 'partitionsToHandOver'> {
    const { tables, placement, transport } = this.node
    let partitionsToCompare = 0
    let partitionsToHandOver = 0
    if (placement.layoutVersion > 0) {
      for (const { openPartitions, foreignPartitions } of tables.sync.syncStatus()) {
        partitionsToCompare += openPartitions
        partitionsToHandOver += foreignPartitions
      }
      // A node without a role has no copy that counts.
      if (!placement.allNodes().includes(transport.self)) partitionsToCompare = 0
      // All of them once for each node that is up and missed a write, or whose link came up, since the last comparison.
      else
        partitionsToCompare +=
          tables.sync.compared.open().length * Math.max(1, placement.ownPartitions().length)
    }
    return { partitionsToCompare, partitionsToHandOver }
  }

  /** Failures of blocks that are here: they could not be given to the nodes that have them now. */
  #failedHandOvers(): number {
    const { blocks } = this.node
    const { errors } = blocks.resync.stats()
    if (errors === 0) return 0
    return blocks.resync.listErrors(ERRORS_MAX).filter(({ refCount }) => refCount === 0).length
  }

  #sample(isDone: boolean): Sample {
    const { blocks, clock } = this.node
    const { fetched, fetchedBytes } = blocks.resync.stats()
    const now: Sample = { atMs: clock.monotonicMs(), blocks: fetched, bytes: fetchedBytes }
    if (isDone) {
      this.#samples = []
      this.#start = undefined
      return now
    }
    this.#start ??= now
    const last = this.#samples.at(-1)
    if (!last || now.atMs - last.atMs >= SAMPLE_EVERY_MS) this.#samples.push(now)
    while (this.#samples.length > 2 && now.atMs - this.#samples[1]!.atMs >= WINDOW_MS) this.#samples.shift()
    return now
  }
}

/** @param left what is left to do, which is not nothing */
function secondsLeft(
  left: Omit<CatchUpState, 'blocksFetched' | 'bytesFetched' | 'blocksPerSec' | 'bytesPerSec' | 'secondsLeft'>,
  blocksPerSec: number | null,
): number | null {
  const { partitionsToCompare, partitionsToHandOver, copiesJoining, writesToSend } = left
  if (partitionsToCompare + partitionsToHandOver + copiesJoining + writesToSend + left.blocksFailed > 0)
    return null
  return blocksPerSec ? Math.ceil(left.blocksToFetch / blocksPerSec) : null
}
