import { type NodeId, Priority, type Transport } from '../../net/transport.js'
import { type Backoff, backoffMs } from '../../util/backoff.js'
import type { Clock } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import { sharedAbortController } from '../../util/shared-abort.js'
import { decodeClock } from './causality.js'
import {
  type Commit,
  NOTICES_METHOD,
  NOTICES_OPEN_MS,
  UNWATCH_METHOD,
  WATCH_METHOD,
  WATCHES_PER_CALL_MAX,
} from './watches.js'

const CALL_TIMEOUT_MS = 5_000
const BACKOFF: Backoff = { baseMs: 250, maxMs: 5_000 }

export interface WatchEvents {
  /** From now on, each commit of the topic on that node is told. */
  onArmed(topic: string, node: NodeId): void
  /** Commits may go by untold, until it is armed again. */
  onLost(topic: string, node: NodeId): void
  onCommit(topic: string, commit: Commit): void
}

interface Watch {
  readonly id: number
  isArmed: boolean
}

/** One session on the other node, while it lasts. */
interface Session {
  readonly number: number
  readonly abort: AbortController
  isListening: boolean
}

/** The watches that this node keeps on another one: one session, one call that is open. */
export class RemoteWatches {
  readonly #watches = new Map<string, Watch>()
  readonly #topics = new Map<number, string>()
  #session: Session | undefined
  #nextId = 1
  /** Sessions that were lost one after the other. */
  #failures = 0
  /** Whether the next session is waited for. */
  #isDown = false
  #toAdd: string[] = []
  #toRemove: number[] = []
  #isFlushing = false

  constructor(
    private readonly env: { transport: Transport; clock: Clock; random: Random; log: Log },
    private readonly node: NodeId,
    private readonly events: WatchEvents,
  ) {}

  get size(): number {
    return this.#watches.size
  }

  add(topic: string): void {
    const id = this.#nextId++
    this.#watches.set(topic, { id, isArmed: false })
    this.#topics.set(id, topic)
    this.#toAdd.push(topic)
    this.#flush()
  }

  remove(topic: string): void {
    const watch = this.#watches.get(topic)
    if (!watch) return
    this.#watches.delete(topic)
    this.#topics.delete(watch.id)
    this.#toRemove.push(watch.id)
    if (this.#watches.size === 0) this.#end('nothing is watched any more')
    else this.#flush()
  }

  /** The other node forgets the session when its open call breaks off. */
  #end(why: string): void {
    this.#session?.abort.abort(new CarportError('Closed', why))
    this.#session = undefined
    this.#toAdd = []
    this.#toRemove = []
  }

  /** Sends what has gathered, in the next turn, so that many watches go in one call. */
  #flush(): void {
    if (this.#isFlushing || this.#isDown) return
    this.#isFlushing = true
    this.env.clock.after(0, () => {
      this.#isFlushing = false
      if (!this.#isDown) void this.#send()
    })
  }

  async #send(): Promise<void> {
    if (this.#watches.size === 0) return
    const number = () => this.env.random.bytes(4).readUInt32BE()
    this.#session ??= { number: number(), abort: sharedAbortController(), isListening: false }
    const session = this.#session
    const removed = this.#toRemove.splice(0)
    const added = this.#toAdd.splice(0)
    try {
      if (removed.length > 0) await this.#call(session, UNWATCH_METHOD, [removed], CALL_TIMEOUT_MS)
      for (let at = 0; at < added.length; at += WATCHES_PER_CALL_MAX) {
        const topics = added.slice(at, at + WATCHES_PER_CALL_MAX).filter((topic) => this.#watches.has(topic))
        const ids = topics.map((topic) => this.#watches.get(topic)!.id)
        const list = topics.map((topic, i) => [ids[i], Buffer.from(topic, 'latin1')])
        await this.#call(session, WATCH_METHOD, [list], CALL_TIMEOUT_MS)
        if (session !== this.#session) return
        if (!session.isListening) void this.#listen(session)
        for (const [i, topic] of topics.entries()) this.#arm(topic, ids[i]!)
      }
    } catch (error) {
      this.#lose(session, error)
    }
  }

  #arm(topic: string, id: number): void {
    const watch = this.#watches.get(topic)
    if (watch?.id !== id || watch.isArmed) return
    watch.isArmed = true
    this.events.onArmed(topic, this.node)
  }

  async #listen(session: Session): Promise<void> {
    session.isListening = true
    try {
      while (session === this.#session) {
        const reply = await this.#call(session, NOTICES_METHOD, [], NOTICES_OPEN_MS + 10_000)
        if (!Array.isArray(reply)) throw new CarportError('RemoteError', 'malformed notices')
        if (session !== this.#session) return
        this.#failures = 0
        for (const notice of reply) this.#tell(notice)
      }
    } catch (error) {
      this.#lose(session, error)
    }
  }

  #tell(notice: unknown): void {
    if (!Array.isArray(notice) || notice.length !== 5) return
    const [id, sortKey, origin, time, clock] = notice as [number, unknown, unknown, unknown, unknown]
    const topic = this.#topics.get(id)
    if (topic === undefined || !Buffer.isBuffer(sortKey)) return
    const own: Commit['own'] =
      Buffer.isBuffer(origin) && typeof time === 'number' ? [origin.toString('latin1'), time] : undefined
    this.events.onCommit(topic, { sortKey, own, clock: decodeClock(clock) })
  }

  /** The session is gone, or nobody knows: begins another one with all watches, after a while. */
  #lose(session: Session, error: unknown): void {
    if (session !== this.#session) return
    const { clock, log, random } = this.env
    log.debug({ node: this.node, error }, 'watches on another node are set anew')
    this.#end('the session is lost')
    this.#isDown = true
    for (const [topic, watch] of this.#watches) {
      if (!watch.isArmed) continue
      watch.isArmed = false
      this.events.onLost(topic, this.node)
    }
    clock.after(backoffMs(BACKOFF, this.#failures++, random), () => {
      this.#isDown = false
      this.#toAdd = [...this.#watches.keys()]
      this.#toRemove = []
      void this.#send()
    })
  }

  async #call(session: Session, method: string, more: unknown[], timeoutMs: number): Promise<unknown> {
    const { signal } = session.abort
    const options = { timeoutMs, priority: Priority.high, signal }
    return (await this.env.transport.call(this.node, method, [session.number, ...more], options)).body
  }
}
