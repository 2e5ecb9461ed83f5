import type { Db } from '../../db/db.js'
import type { NodeId, RpcReply, Transport } from '../../net/transport.js'
import type { Clock, Timer } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { bucketPartition, keyAtStart } from '../sort-keys.js'
import { encodeClock, type Origin, originBytes, timeOf, type VectorClock } from './causality.js'
import { originIn } from './dots.js'
import { clockOf, type K2vItem } from './item.js'
import { partitionPrefix } from './table.js'

export const WATCH_METHOD = 'k2v/watch'
export const UNWATCH_METHOD = 'k2v/unwatch'
export const NOTICES_METHOD = 'k2v/notices'

/** How long a call for notices stays open, in ms; and how long a session is kept for the next call. */
export const NOTICES_OPEN_MS = 60_000
const SESSION_KEPT_MS = 30_000
/** Most watches of one node, and notices of one answer. */
export const WATCHES_MAX = 100_000
const NOTICES_MAX = 1000
/** A node that does not come for its notices looks anew rather than that they fill the memory. */
const NOTICES_KEPT_MAX = 20_000
export const WATCHES_PER_CALL_MAX = 1000

/** A change of an item that was committed here. */
export interface Commit {
  readonly sortKey: Buffer
  /** All that the item knows here: a read that knows less comes too early. */
  readonly clock: VectorClock
  /** The origin of this node's copy, and the latest dot of it in the item. */
  readonly own: readonly [Origin, number] | undefined
}

/** Hears of commits. An object, since there are thousands. */
export interface Watcher {
  committed(commit: Commit): void
}

const OF_ITEM = Buffer.from('i')
const OF_PARTITION = Buffer.from('p')
const BUCKET_AT = 1
const PARTITION_KEY_AT = 17

/** What is watched: one item, or all items of a partition key. Behind a letter, both begin with the bucket's id. */
export function itemTopic(bucket: Buffer, partitionKey: Buffer, sortKey: Buffer): string {
  return Buffer.concat([OF_ITEM, bucket, partitionPrefix(partitionKey), sortKey]).toString('latin1')
}

export function partitionTopic(bucket: Buffer, partitionKey: Buffer): string {
  return Buffer.concat([OF_PARTITION, bucket, partitionPrefix(partitionKey)]).toString('latin1')
}

/** What a topic is about; the sort key is empty where it is all of a partition key. */
export function partsOfTopic(topic: string): { bucket: Buffer; partitionKey: Buffer; sortKey: Buffer } {
  const bytes = Buffer.from(topic, 'latin1')
  const keys = bytes.subarray(PARTITION_KEY_AT)
  const partitionKey = keyAtStart(keys)
  const sortKey = keys.subarray(partitionPrefix(partitionKey).length)
  return { bucket: bytes.subarray(BUCKET_AT, PARTITION_KEY_AT), partitionKey, sortKey }
}

/** The watches of one node that are kept here, and what it has not been told yet. */
interface Session {
  readonly node: NodeId
  readonly watches: Map<number, { topic: string; watcher: Watcher }>
  notices: [id: number, sortKey: Buffer, origin: Buffer | null, time: number, clock: Buffer][]
  /** Ends the call that is open. */
  answer: (() => void) | undefined
  expiry: Timer | undefined
}

/**
 * Tells who waits for items of what is committed here. Other nodes keep their watches in a session, and one call open that is
 * answered when something has come. A session that is lost loses no notice unseen: its node notices, and looks anew.
 */
export class Watches {
  readonly #watchers = new Map<string, Watcher | Watcher[]>()
  readonly #sessions = new Map<string, Session>()
  #remote = 0

  constructor(private readonly env: { db: Db; transport: Transport; clock: Clock }) {
    const { transport } = env
    transport.handle(WATCH_METHOD, (body, { from }) => this.#serveWatch(body, from))
    transport.handle(UNWATCH_METHOD, (body, { from }) => this.#serveUnwatch(body, from))
    transport.handle(NOTICES_METHOD, (body, { from, signal }) => this.#serveNotices(body, from, signal))
  }

  /** Watches, of this node and of others. */
  get size(): number {
    return this.#watchers.size
  }

  /** Calls `watcher` after each commit. */
  add(topic: string, watcher: Watcher): void {
    const known = this.#watchers.get(topic)
    if (known === undefined) this.#watchers.set(topic, watcher)
    else if (Array.isArray(known)) known.push(watcher)
    else this.#watchers.set(topic, [known, watcher])
  }

  remove(topic: string, watcher: Watcher): void {
    const known = this.#watchers.get(topic)
    const left = Array.isArray(known) ? known.filter((other) => other !== watcher) : []
    if (left.length === 0 && (Array.isArray(known) || known === watcher)) this.#watchers.delete(topic)
    else if (left.length > 0) this.#watchers.set(topic, left)
  }

  /** To be called when a change of an item is durable here. */
  committed(item: K2vItem): void {
    if (this.#watchers.size === 0) return
    const { bucket, partitionKey, sortKey } = item
    const watchers = [itemTopic(bucket, partitionKey, sortKey), partitionTopic(bucket, partitionKey)].flatMap(
      (topic) => this.#watchers.get(topic) ?? [],
    )
    if (watchers.length === 0) return
    const origin = originIn(this.env.db, bucketPartition(bucket))
    const clock = clockOf(item)
    const time = origin === undefined ? 0 : timeOf(clock, origin)
    const commit: Commit = {
      sortKey,
      clock,
      own: origin !== undefined && time > 0 ? [origin, time] : undefined,
    }
    for (const watcher of watchers) watcher.committed(commit)
  }

  stop(): void {
    for (const id of [...this.#sessions.keys()]) this.#drop(id)
  }

  /** [session, [[watch, topic] …]] → null */
  #serveWatch(body: unknown, from: NodeId): RpcReply {
    const [number, list] = parse(body)
    if (!Array.isArray(list) || list.length > WATCHES_PER_CALL_MAX) throw malformed()
    const id = idOf(from, number)
    let session = this.#sessions.get(id)
    if (!session) {
      session = { node: from, watches: new Map(), notices: [], answer: undefined, expiry: undefined }
      this.#sessions.set(id, session)
      this.#expireLater(id, session)
    }
    if (this.#remote + list.length > WATCHES_MAX) throw new CarportError('Conflict', 'too many watches')
    for (const entry of list) {
      const [watch, topic] = Array.isArray(entry) ? (entry as unknown[]) : []
      if (typeof watch !== 'number' || !Buffer.isBuffer(topic) || topic.length < 18) throw malformed()
      if (session.watches.has(watch)) continue
      const kept = session
      const watcher: Watcher = {
        committed: ({ sortKey, clock, own }) => {
          const origin = own ? originBytes(own[0]) : null
          kept.notices.push([watch, sortKey, origin, own?.[1] ?? 0, encodeClock(clock)])
          if (kept.notices.length > NOTICES_KEPT_MAX) this.#drop(id)
          else kept.answer?.()
        },
      }
      const name = topic.toString('latin1')
      session.watches.set(watch, { topic: name, watcher })
      this.#remote++
      this.add(name, watcher)
    }
    return { body: null }
  }

  /** [session, [watch …]] → null */
  #serveUnwatch(body: unknown, from: NodeId): RpcReply {
    const [number, list] = parse(body)
    const session = this.#sessions.get(idOf(from, number))
    if (!Array.isArray(list)) throw malformed()
    if (session) for (const watch of list) this.#unwatch(session, watch as number)
    return { body: null }
  }

  #unwatch(session: Session, watch: number): void {
    const known = session.watches.get(watch)
    if (!known) return
    session.watches.delete(watch)
    this.#remote--
    this.remove(known.topic, known.watcher)
  }

  /** [session] → notices [watch, sort key, own origin | null, its time, clock], perhaps none after a while */
  #serveNotices(body: unknown, from: NodeId, signal: AbortSignal): RpcReply | Promise<RpcReply> {
    const [number] = parse(body)
    const id = idOf(from, number)
    const session = this.#sessions.get(id)
    if (!session) throw new CarportError('NotFound', 'there is no such session of watches')
    session.answer?.()
    session.expiry?.cancel()
    const take = (): RpcReply => {
      const notices = session.notices.splice(0, NOTICES_MAX)
      this.#expireLater(id, session)
      return { body: notices }
    }
    if (session.notices.length > 0) return take()
    return new Promise((resolve) => {
      const end = () => {
        if (session.answer !== end) return
        session.answer = undefined
        timer.cancel()
        signal.removeEventListener('abort', gone)
        resolve(take())
      }
      // The caller takes a new session when it comes back.
      const gone = () => {
        session.answer = undefined
        timer.cancel()
        this.#drop(id)
        resolve({ body: [] })
      }
      const timer = this.env.clock.after(NOTICES_OPEN_MS, end)
      session.answer = end
      signal.addEventListener('abort', gone, { once: true })
    })
  }

  #expireLater(id: string, session: Session): void {
    session.expiry?.cancel()
    session.expiry = this.env.clock.after(SESSION_KEPT_MS, () => this.#drop(id))
  }

  #drop(id: string): void {
    const session = this.#sessions.get(id)
    if (!session) return
    this.#sessions.delete(id)
    session.expiry?.cancel()
    for (const watch of [...session.watches.keys()]) this.#unwatch(session, watch)
    session.answer?.()
  }
}

function idOf(from: NodeId, session: number): string {
  return `${from} ${session}`
}

function parse(body: unknown): [session: number, list: unknown] {
  if (!Array.isArray(body) || typeof body[0] !== 'number') throw malformed()
  return [body[0], body[1]]
}

function malformed(): CarportError {
  return new CarportError('InvalidArgument', 'malformed call about watches')
}
