import type { Due } from '../../util/deadline-wheel.js'
import { CarportError } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import { decodeClock, EMPTY_CLOCK, encodeClock, isNewer, type Origin, type VectorClock } from './causality.js'
import type { ChangeFinder } from './changes.js'
import { clockOf, type K2vItem, valuesOf } from './item.js'
import type { Group, PollGroups, Waiting } from './poll-groups.js'
import { isWithin, type KeyRange } from './ranges.js'
import type { SeenMarker } from './seen-marker.js'
import type { K2vStore } from './store.js'

/** Changes that one replica tells at once. */
const CHANGES_AT_ONCE = 200
export const READS_AT_ONCE = 16
/** Bytes of values in one answer, after which the rest waits for the next call. */
const ANSWER_BYTES_MAX = 8 << 20

/** Memory for what a poll finds. */
export interface PollMemory {
  take(): Promise<void> | undefined
  /** It has found nothing, and waits. */
  giveBack(): void
}

/** A poll, whatever it waits for. */
export interface OpenPoll extends Waiting, Due {
  /** Set when the wait begins. */
  readonly group: Group | undefined
  /** About how many bytes it keeps while it waits, beside itself. */
  readonly markerBytes: number
  /** Nobody waits for the answer any more, or no polls are to wait any more. */
  end(): void
}

/** Where waits are kept. */
export interface OpenPolls {
  readonly groups: PollGroups
  readonly isStopped: boolean
  /** The wait is over; called once. */
  close(poll: OpenPoll): void
}

/**
 * One who waits. There are ten thousand of them: all that one keeps is in this object, without closures, and without buffers,
 * each of which would take 200 bytes.
 */
export abstract class Poll<T> implements OpenPoll {
  abstract readonly cost: number
  tick = 0
  group: Group | undefined
  resolve: ((value: T | undefined | Promise<never>) => void) | undefined

  constructor(
    protected readonly polls: OpenPolls,
    readonly markerBytes: number,
  ) {}

  abstract judge(items: readonly K2vItem[], covered: ReadonlyMap<Origin, number>): void
  abstract look(): Promise<boolean>
  abstract unsure(): void

  found(value: T): void {
    this.#settle(value)
  }

  fail(error: unknown): void {
    this.#settle(Promise.reject(error))
  }

  end(): void {
    this.#settle(undefined)
  }

  timeOver(): void {
    const isTold = this.polls.isStopped || (this.group && this.polls.groups.isReady(this.group))
    if (isTold) this.end()
    else this.fail(new CarportError('QuorumUnavailable', 'too few replicas tell of changes'))
  }

  #settle(value: T | undefined | Promise<never>): void {
    const { resolve } = this
    if (!resolve) {
      if (value instanceof Promise) value.catch(() => {})
      return
    }
    this.resolve = undefined
    this.polls.close(this)
    resolve(value)
  }
}

/** One who waits for news of an item. */
export class ItemPoll extends Poll<K2vItem> {
  readonly cost = 1
  /** What it has seen, encoded. */
  readonly #seen: string

  constructor(polls: OpenPolls, seen: VectorClock) {
    super(polls, 0)
    this.#seen = encodeClock(seen).toString('latin1')
  }

  judge(items: readonly K2vItem[]): void {
    const seen = decodeClock(Buffer.from(this.#seen, 'latin1'))
    for (const item of items) {
      if (valuesOf(item).length > 0 && isNewer(clockOf(item), seen)) this.found(item)
    }
  }

  async look(): Promise<boolean> {
    const item = await this.polls.groups.readOf(this.group!)
    if (item) this.judge([item])
    return true
  }

  unsure(): void {}
}

/** What a poll of a range has found. */
export interface RangeNews {
  readonly items: K2vItem[]
  readonly marker: SeenMarker
}

/** One who waits for news of a range. */
export class RangePoll extends Poll<RangeNews> {
  /** Origins whose replica has told how far it was, and has told of each commit since. */
  #told = new Set<Origin>()
  #hasFound = false
  readonly #memory: PollMemory | undefined

  constructor(
    polls: OpenPolls,
    private readonly sources: { readonly changes: ChangeFinder; readonly store: K2vStore },
    private readonly place: { bucket: Buffer; partitionKey: Buffer; range: KeyRange },
    private marker: SeenMarker,
    { markerBytes, memory }: { markerBytes: number; memory: PollMemory | undefined },
  ) {
    super(polls, markerBytes)
    this.#memory = memory
  }

  /** What it has seen is gone through, and may be long. */
  get cost(): number {
    return 1 + Math.floor(this.marker.listedCount / 100)
  }

  judge(items: readonly K2vItem[], covered: ReadonlyMap<Origin, number>): void {
    const { range } = this.place
    const news = items.filter((item) => isWithin(item.sortKey, range) && this.marker.isNews(item))
    this.marker = this.marker.withSeen(
      news,
      new Map([...covered].filter(([origin]) => this.#told.has(origin))),
    )
    if (news.length > 0) this.#tell(news)
  }

  async look(): Promise<boolean> {
    await this.#memory?.take()
    const isWhole = await this.#look()
    if (!this.#hasFound) this.#memory?.giveBack()
    return isWhole
  }

  async #look(): Promise<boolean> {
    const { bucket, partitionKey, range } = this.place
    const { marker } = this
    const limit = CHANGES_AT_ONCE + marker.listedCount
    const told = new Set<Origin>()
    this.#told = told
    const changes = await this.sources.changes.find(bucket, partitionKey, range, marker.clock, limit)
    const news: K2vItem[] = []
    let bytes = 0
    let isWhole = true
    let isEarly = false
    await eachLimited([...changes.items.values()], READS_AT_ONCE, async ({ sortKey, clock }) => {
      if (bytes > ANSWER_BYTES_MAX) {
        isWhole = false
        return
      }
      const item = await this.sources.store.read(bucket, { partitionKey, sortKey })
      // A replica has it, and a quorum does not show it yet: nothing may be taken for seen.
      if (isNewer(clock, item ? clockOf(item) : EMPTY_CLOCK)) {
        isEarly = true
        isWhole = false
      }
      if (!item || !this.marker.isNews(item)) return
      for (const { size } of valuesOf(item)) bytes += Math.max(0, size)
      news.push(item)
    })
    const seen = this.marker.withSeen(news, isWhole ? changes.covered : EMPTY_CLOCK)
    this.marker = changes.alive && isWhole && !changes.more ? seen.withOrigins(changes.alive) : seen
    if (isWhole && !changes.more) for (const origin of changes.covered.keys()) told.add(origin)
    if (news.length > 0) this.#tell(news)
    return !isEarly
  }

  unsure(): void {
    this.#told = new Set()
  }

  #tell(news: K2vItem[]): void {
    this.#hasFound = true
    news.sort((a, b) => a.sortKey.compare(b.sortKey))
    this.found({ items: news, marker: this.marker })
  }
}
