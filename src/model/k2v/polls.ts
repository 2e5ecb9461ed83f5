import type { TableEnv } from '../../table/table.js'
import { CarportError } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import { bucketPartition } from '../sort-keys.js'
import { EMPTY_CLOCK, isNewer, type Origin, type VectorClock } from './causality.js'
import { ChangeFinder } from './changes.js'
import { clockOf, type K2vItem, valuesOf } from './item.js'
import { type Group, PollGroups, type Waiting } from './poll-groups.js'
import { isWithin, type KeyQuery, type KeyRange, rangeOf } from './ranges.js'
import { SeenMarker } from './seen-marker.js'
import { type K2vStore, ReadBudget } from './store.js'
import { checkKeys } from './table.js'
import { itemTopic, partitionTopic, Watches } from './watches.js'

/** Items that one replica tells at the first call, most of which are shown anyway. */
const FIRST_CHANGES_MAX = 5000
/** Changes that one replica tells at once. */
const CHANGES_AT_ONCE = 200
const READS_AT_ONCE = 16
/** Bytes of values in one answer, after which the rest waits for the next call. */
const ANSWER_BYTES_MAX = 8 << 20

/** Memory for what a poll finds. */
export interface PollMemory {
  take(): Promise<void> | undefined
  /** It has found nothing, and waits. */
  giveBack(): void
}

export interface PollOptions {
  readonly timeoutMs: number
  /** Has `end` called when nobody waits for the answer any more, or later. An AbortSignal would cost each poll 1 KB. */
  readonly whenGone?: (end: () => void) => void
  /** Called once if there is nothing yet, so that the wait begins. */
  readonly onWaiting?: () => void
  /** About how many bytes the poll keeps while it waits. */
  readonly markerBytes?: number
  /** Asked for before a range is read; what was found counts until its answer is sent. */
  readonly memory?: PollMemory
}

/** What a poll of a range has found. */
export interface RangeNews {
  readonly items: K2vItem[]
  readonly marker: SeenMarker
}

/**
 * Waits for changes of items, wherever they are written. First the replicas are asked to tell of each commit, then the items
 * are read, so that nothing goes by between. Nothing is asked again until somebody tells of something.
 */
export class Polls {
  readonly #groups: PollGroups
  readonly #watches: Watches
  readonly #changes: ChangeFinder
  readonly #open = new Set<() => void>()
  #markerBytes = 0
  #isStopped = false

  constructor(
    private readonly env: TableEnv,
    private readonly store: K2vStore,
  ) {
    this.#watches = new Watches(env)
    this.#groups = new PollGroups(env, this.#watches)
    this.#changes = new ChangeFinder(env, store.items)
    store.onCommitted = (item) => this.#watches.committed(item)
  }

  /** Polls that are waiting. */
  get size(): number {
    return this.#open.size
  }

  /** About how many bytes the markers of those that are waiting take. */
  get markerBytes(): number {
    return this.#markerBytes
  }

  /** Ends all polls as if their time was over. */
  stop(): void {
    this.#isStopped = true
    for (const end of [...this.#open]) end()
    this.#groups.stop()
    this.#watches.stop()
  }

  /**
   * The item, as soon as it has something that `seen` does not know; undefined when the time is over.
   * @throws CarportError InvalidArgument, QuorumUnavailable if too few replicas tell of changes, LayoutNotReady
   */
  async pollItem(
    bucket: Buffer,
    key: Pick<K2vItem, 'partitionKey' | 'sortKey'>,
    seen: VectorClock,
    options: PollOptions,
  ): Promise<K2vItem | undefined> {
    const { partitionKey, sortKey } = key
    checkKeys(partitionKey, sortKey)
    const name = itemTopic(bucket, partitionKey, sortKey)
    const read = () => this.store.read(bucket, { partitionKey, sortKey })
    return this.#wait(bucket, partitionKey, name, options, (found) => new ItemPoll(read, seen, found))
  }

  /**
   * What has changed in a range since `marker`, as soon as something has; undefined when the time is over. Without a marker, or with one
   * of a first call that could not show all: at once what is there, deletions included.
   * @throws as `pollItem`
   */
  async pollRange(
    bucket: Buffer,
    partitionKey: Buffer,
    query: KeyQuery,
    marker: SeenMarker | undefined,
    options: PollOptions,
  ): Promise<RangeNews | undefined> {
    const range = rangeOf(query) ?? EMPTY_RANGE
    checkKeys(partitionKey, range.start)
    const { memory } = options
    if (!marker || marker.next) await memory?.take()
    if (!marker) return this.#first(bucket, partitionKey, query, range)
    let seen = marker.within(range, marker.next)
    if (seen.next) {
      const news = await this.#rest(bucket, partitionKey, range, seen)
      if (news.items.length > 0) return news
      seen = news.marker
      memory?.giveBack()
    }
    return this.#wait<RangeNews>(
      bucket,
      partitionKey,
      partitionTopic(bucket, partitionKey),
      options,
      (found) =>
        new RangePoll(this.#changes, this.store, { bucket, partitionKey, range }, seen, found, memory),
    )
  }

  /** What is there, with a marker that takes for seen what the replicas have of it. */
  async #first(bucket: Buffer, partitionKey: Buffer, query: KeyQuery, range: KeyRange): Promise<RangeNews> {
    const listed = { ...query, partitionKey, reverse: false, tombstones: true }
    const { items, nextStart } = await this.store.list(bucket, listed, new ReadBudget())
    const shown = new Map(items.map((item) => [item.sortKey.toString('latin1'), item]))
    const part = nextStart ? { ...range, end: nextStart } : range
    const changes = await this.#changes.find(bucket, partitionKey, part, EMPTY_CLOCK, FIRST_CHANGES_MAX)
    const knows = (name: string, clock: VectorClock) => {
      const item = shown.get(name)
      return !isNewer(clock, item ? clockOf(item) : EMPTY_CLOCK)
    }
    let isWhole = true
    // What was written while the items were read, or is not on a quorum yet.
    const missing = [...changes.items].filter(([name, { clock }]) => !knows(name, clock))
    await eachLimited(missing, READS_AT_ONCE, async ([name, { sortKey, clock }]) => {
      const item = await this.store.read(bucket, { partitionKey, sortKey })
      if (item) shown.set(name, item)
      isWhole &&= knows(name, clock)
    })
    const all = [...shown.values()].sort((a, b) => a.sortKey.compare(b.sortKey))
    const marker = SeenMarker.nothing().withSeen(all, isWhole ? changes.covered : EMPTY_CLOCK)
    const isSure = changes.alive && isWhole && !changes.more
    return {
      items: all,
      marker: (isSure ? marker.withOrigins(changes.alive) : marker).within(range, nextStart),
    }
  }

  /** The next part of what was there at the first call. Its marker stays where it was: changes since then are to be told. */
  async #rest(bucket: Buffer, partitionKey: Buffer, range: KeyRange, marker: SeenMarker): Promise<RangeNews> {
    const start = marker.next!.compare(range.start) > 0 ? marker.next! : range.start
    const query = { partitionKey, start, ...(range.end && { end: range.end }), tombstones: true }
    const { items, nextStart } = await this.store.list(bucket, query, new ReadBudget())
    return { items, marker: marker.withSeen(items, EMPTY_CLOCK).within(range, nextStart) }
  }

  #wait<T>(
    bucket: Buffer,
    partitionKey: Buffer,
    name: string,
    { timeoutMs, whenGone, onWaiting, markerBytes = 0 }: PollOptions,
    make: (found: (value: T) => void) => Waiting,
  ): Promise<T | undefined> {
    if (this.#isStopped) return Promise.resolve(undefined)
    return new Promise<T | undefined>((resolve, reject) => {
      const settle = () => {
        if (this.#open.delete(timeOver)) this.#markerBytes -= markerBytes
        timer.cancel()
        leave()
      }
      const found = (value: T) => {
        settle()
        resolve(value)
      }
      const fail = (error: unknown) => {
        settle()
        reject(error)
      }
      const timeOver = () => {
        const isTold = this.#isStopped || this.#groups.isReady(group)
        settle()
        if (isTold) resolve(undefined)
        else reject(new CarportError('QuorumUnavailable', 'too few replicas tell of changes'))
      }
      const waiting = make(found)
      const read = (sortKey: Buffer) => this.store.read(bucket, { partitionKey, sortKey })
      const { group, leave } = this.#groups.join({ name, partition: bucketPartition(bucket), read }, waiting)
      const timer = this.env.clock.after(timeoutMs, timeOver)
      this.#open.add(timeOver)
      this.#markerBytes += markerBytes
      whenGone?.(() => {
        settle()
        resolve(undefined)
      })
      this.#begin(group, waiting, onWaiting).catch(fail)
    })
  }

  async #begin(group: Group, waiting: Waiting, onWaiting?: () => void): Promise<void> {
    const ready = this.#groups.ready(group)
    if (ready) await ready
    if (group.waiting.has(waiting)) await this.#groups.lookOf(group, waiting)
    if (group.waiting.has(waiting)) onWaiting?.()
  }
}

const EMPTY_RANGE: KeyRange = { start: Buffer.of(0), end: Buffer.of(0) }

/** One who waits for news of an item. */
class ItemPoll implements Waiting {
  readonly cost = 1

  constructor(
    private readonly read: () => Promise<K2vItem | undefined>,
    private readonly seen: VectorClock,
    private readonly found: (item: K2vItem) => void,
  ) {}

  judge(items: readonly K2vItem[]): void {
    for (const item of items) {
      if (valuesOf(item).length > 0 && isNewer(clockOf(item), this.seen)) this.found(item)
    }
  }

  async look(): Promise<boolean> {
    const item = await this.read()
    if (item) this.judge([item])
    return true
  }

  unsure(): void {}
}

/** One who waits for news of a range. */
class RangePoll implements Waiting {
  /** Origins whose replica has told how far it was, and has told of each commit since. */
  #told = new Set<Origin>()
  #hasFound = false

  constructor(
    private readonly changes: ChangeFinder,
    private readonly store: K2vStore,
    private readonly place: { bucket: Buffer; partitionKey: Buffer; range: KeyRange },
    private marker: SeenMarker,
    private readonly found: (news: RangeNews) => void,
    private readonly memory: PollMemory | undefined,
  ) {}

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
    await this.memory?.take()
    const isWhole = await this.#look()
    if (!this.#hasFound) this.memory?.giveBack()
    return isWhole
  }

  async #look(): Promise<boolean> {
    const { bucket, partitionKey, range } = this.place
    const { marker } = this
    const limit = CHANGES_AT_ONCE + marker.listedCount
    const told = new Set<Origin>()
    this.#told = told
    const changes = await this.changes.find(bucket, partitionKey, range, marker.clock, limit)
    const news: K2vItem[] = []
    let bytes = 0
    let isWhole = true
    let isEarly = false
    await eachLimited([...changes.items.values()], READS_AT_ONCE, async ({ sortKey, clock }) => {
      if (bytes > ANSWER_BYTES_MAX) {
        isWhole = false
        return
      }
      const item = await this.store.read(bucket, { partitionKey, sortKey })
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
