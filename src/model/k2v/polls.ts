import type { TableEnv } from '../../table/table.js'
import { DeadlineWheel } from '../../util/deadline-wheel.js'
import { eachLimited } from '../../util/limited.js'
import { bucketPartition } from '../sort-keys.js'
import { EMPTY_CLOCK, isNewer, type VectorClock } from './causality.js'
import { ChangeFinder } from './changes.js'
import { clockOf, type K2vItem } from './item.js'
import { type Group, PollGroups, type Waiting } from './poll-groups.js'
import { type KeyQuery, type KeyRange, rangeOf } from './ranges.js'
import { SeenMarker } from './seen-marker.js'
import { type K2vStore, ReadBudget } from './store.js'
import { checkKeys } from './table.js'
import {
  ItemPoll,
  type OpenPoll,
  type OpenPolls,
  type Poll,
  type PollMemory,
  type RangeNews,
  RangePoll,
  READS_AT_ONCE,
} from './waiting-polls.js'
import { itemTopic, partitionTopic, Watches } from './watches.js'

/** Items that one replica tells at the first call, most of which are shown anyway. */
const FIRST_CHANGES_MAX = 5000

export interface PollOptions {
  readonly timeoutMs: number
  /** Has `poll.end` called when nobody waits for the answer any more, or later. An AbortSignal would cost each poll 1 KB. */
  readonly whenGone?: (poll: { end(): void }) => void
  /** Called once if there is nothing yet, so that the wait begins. */
  readonly onWaiting?: () => void
  /** About how many bytes the poll keeps while it waits. */
  readonly markerBytes?: number
  /** Asked for before a range is read; what was found counts until its answer is sent. */
  readonly memory?: PollMemory
}

/**
 * Waits for changes of items, wherever they are written. First the replicas are asked to tell of each commit, then the items
 * are read, so that nothing goes by between. Nothing is asked again until somebody tells of something.
 */
export class Polls implements OpenPolls {
  readonly groups: PollGroups
  readonly #watches: Watches
  readonly #changes: ChangeFinder
  readonly #open: DeadlineWheel<OpenPoll>
  #markerBytes = 0
  #isStopped = false

  constructor(
    env: TableEnv,
    private readonly store: K2vStore,
  ) {
    this.#open = new DeadlineWheel(env.clock)
    this.#watches = new Watches(env)
    this.groups = new PollGroups(env, this.#watches, store)
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

  get isStopped(): boolean {
    return this.#isStopped
  }

  /** Ends all polls as if their time was over. */
  stop(): void {
    this.#isStopped = true
    for (const poll of [...this.#open]) poll.end()
    this.groups.stop()
    this.#watches.stop()
  }

  close(poll: OpenPoll): void {
    this.#open.delete(poll)
    this.#markerBytes -= poll.markerBytes
    if (poll.group) this.groups.leave(poll.group, poll)
  }

  /**
   * The item, as soon as it has something that `seen` does not know; undefined when the time is over.
   * @throws CarportError InvalidArgument, QuorumUnavailable if too few replicas tell of changes, LayoutNotReady
   */
  pollItem(
    bucket: Buffer,
    key: Pick<K2vItem, 'partitionKey' | 'sortKey'>,
    seen: VectorClock,
    options: PollOptions,
  ): Promise<K2vItem | undefined> {
    const { partitionKey, sortKey } = key
    checkKeys(partitionKey, sortKey)
    return this.#wait(bucket, itemTopic(bucket, partitionKey, sortKey), options, new ItemPoll(this, seen))
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
    const sources = { changes: this.#changes, store: this.store }
    const { markerBytes = 0 } = options
    const poll = new RangePoll(this, sources, { bucket, partitionKey, range }, seen, { markerBytes, memory })
    return this.#wait(bucket, partitionTopic(bucket, partitionKey), options, poll)
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

  #wait<T>(bucket: Buffer, topic: string, options: PollOptions, poll: Poll<T>): Promise<T | undefined> {
    if (this.#isStopped) return Promise.resolve(undefined)
    const { timeoutMs, whenGone, onWaiting } = options
    return new Promise<T | undefined>((resolve) => {
      poll.resolve = resolve
      poll.group = this.groups.join(topic, bucketPartition(bucket), poll)
      this.#open.add(poll, timeoutMs)
      this.#markerBytes += poll.markerBytes
      whenGone?.(poll)
      this.#begin(poll.group, poll, onWaiting).catch((error: unknown) => poll.fail(error))
    })
  }

  async #begin(group: Group, waiting: Waiting, onWaiting?: () => void): Promise<void> {
    const ready = this.groups.ready(group)
    if (ready) await ready
    if (group.waiting.has(waiting)) await this.groups.lookOf(group, waiting)
    if (group.waiting.has(waiting)) onWaiting?.()
  }
}

const EMPTY_RANGE: KeyRange = { start: Buffer.of(0), end: Buffer.of(0) }
