import { majority } from '../../cluster/placement.js'
import { type NodeId, Priority, type RpcReply } from '../../net/transport.js'
import type { Table, TableEnv } from '../../table/table.js'
import type { TableSet } from '../../table/tables.js'
import { CarportError, errorCode } from '../../util/errors.js'
import type { Service } from '../../util/service.js'
import { Worker } from '../../util/worker.js'
import type { FieldRow } from './control-rows.js'

/**
 * How long after a comparison began the own copies are answered from, in ms: the longest time for which a node may
 * honour what was revoked.
 */
export const CURRENT_MS = 3_000
const ROUND_EVERY_MS = 1_000
/** How long a request waits for a comparison, in ms. */
const ROUND_MAX_MS = 5_000
const ROOTS_METHOD = 'control/roots'

export interface FreshnessOptions {
  /** Time between two comparisons in the background, in ms (default a second). */
  roundEveryMs?: number
  /**
   * Whether this node answers from its copies all the same where too few nodes can be asked: for consistency modes
   * that read what may be old.
   */
  mayBeOld?: boolean
}

/**
 * Knows whether this node's copies of buckets, names and keys may be answered from without asking anybody. They may for
 * a few seconds after a comparison with so many nodes that whatever was acknowledged before it began is here. Every
 * node compares in the background, which takes one small message as long as nothing changed. A node that was cut off,
 * asleep or switched off has no recent comparison: requests wait for a new one there, and fail with QuorumUnavailable
 * where too few nodes can be asked. So what was revoked is revoked everywhere after CURRENT_MS.
 */
export class ControlFreshness implements Service {
  readonly name = 'control-rows'
  readonly #worker: Worker
  #abort = new AbortController()
  /** When the last comparison that went through began, monotonic ms. */
  #currentSinceMs = Number.NEGATIVE_INFINITY
  #round: { sinceMs: number; done: Promise<void> } | undefined
  /** Of the own copies: made anew after each change of a row. */
  #roots: (Buffer | null)[] | undefined
  #changes = 0
  /** Without a row at the start, this node may have lost some that it acknowledged: it does not count itself then. */
  #startedEmpty: boolean
  #unsubscribe: (() => void) | undefined

  constructor(
    private readonly env: TableEnv,
    private readonly set: TableSet,
    private readonly tables: readonly Table<FieldRow>[],
    private readonly options: FreshnessOptions = {},
  ) {
    this.#worker = new Worker(this.name, env, () => this.#work())
    this.#startedEmpty = tables.every(({ local }) => !local.hasPartition(env.db, 0))
    env.transport.handle(ROOTS_METHOD, () => this.#serveRoots())
  }

  start(): void {
    this.#abort = new AbortController()
    this.#unsubscribe = this.env.placement.onChange(() => this.#worker.wake())
    this.#worker.start()
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    this.#abort.abort(new CarportError('Closed', 'the node is shutting down'))
    await this.#worker.stop()
  }

  /** To be called when a row of these tables changed here, once that is durable. */
  readonly changed = (): void => {
    this.#roots = undefined
    this.#changes++
  }

  /** Grows with each change of a row of these tables here. */
  get changes(): number {
    return this.#changes
  }

  /** Whether the own copies may be answered from now. */
  isCurrent(): boolean {
    return this.env.clock.monotonicMs() - this.#currentSinceMs <= CURRENT_MS
  }

  /**
   * Resolves once the own copies have everything that was acknowledged before this call. Callers that wait at the same
   * time share a comparison.
   * @throws QuorumUnavailable (unless `mayBeOld`), LayoutNotReady
   */
  async catchUp(): Promise<void> {
    const calledMs = this.env.clock.monotonicMs()
    // One that began before this call may have missed what was acknowledged since: the next one is waited for.
    if (this.#round && this.#round.sinceMs < calledMs) await this.#round.done.catch(() => {})
    try {
      await this.#compare()
    } catch (error) {
      if (!this.options.mayBeOld || errorCode(error) !== 'QuorumUnavailable') throw error
    }
  }

  /** Resolves once this node has what it acknowledged before its database was lost, if it was. @throws as `catchUp` */
  async whenWhole(): Promise<void> {
    if (this.#startedEmpty) await this.#compare()
  }

  async #work(): Promise<number> {
    try {
      await this.#compare()
    } catch (error) {
      if (this.#abort.signal.aborted) throw error
      this.env.log.debug({ error }, 'buckets and keys could not be compared with other nodes')
    }
    const { roundEveryMs = ROUND_EVERY_MS } = this.options
    return roundEveryMs * (0.75 + this.env.random.float() / 2)
  }

  #compare(): Promise<void> {
    const sinceMs = this.env.clock.monotonicMs()
    if (this.#round) return this.#round.done
    const done = this.#compareOnce(sinceMs).finally(() => {
      this.#round = undefined
    })
    this.#round = { sinceMs, done }
    return done
  }

  async #compareOnce(sinceMs: number): Promise<void> {
    const { clock, placement, quorum } = this.env
    const nodes = placement.controlReadSet()
    if (nodes.length === 0)
      throw new CarportError('LayoutNotReady', 'this node has no role in a cluster layout')
    const others = nodes.filter((node) => node !== quorum.self)
    const counted = others.length < nodes.length && !this.#startedEmpty ? 1 : 0
    // So many that every majority has one of them.
    const needed = Math.min(others.length, nodes.length - majority(nodes.length) + 1 - counted)
    if (needed > 0) {
      const tooLong = new AbortController()
      const timer = clock.after(ROUND_MAX_MS, () =>
        tooLong.abort(new CarportError('QuorumUnavailable', 'buckets and keys were not compared in time')),
      )
      const signal = AbortSignal.any([tooLong.signal, this.#abort.signal])
      try {
        await this.#takeFrom(others, needed, signal)
      } finally {
        timer.cancel()
      }
    }
    // Rows that only a copy which went back in time has may be ones that were deleted since.
    this.#checkVote()
    this.#startedEmpty = false
    this.#currentSinceMs = sinceMs
  }

  /** Fetches what `needed` of the nodes have and this one lacks. @throws QuorumUnavailable */
  async #takeFrom(nodes: readonly NodeId[], needed: number, signal: AbortSignal): Promise<void> {
    const { quorum } = this.env
    const options = { timeoutMs: ROUND_MAX_MS, priority: Priority.high }
    try {
      const replies = await quorum.read(nodes, ROOTS_METHOD, null, { ...options, quorum: needed })
      await Promise.all(replies.map(({ node, body }) => this.#take(node, body, signal)))
    } catch (error) {
      // One by one: a node of an earlier version does not know the call, but takes part in anti-entropy.
      let taken = 0
      for (const node of quorum.nearestFirst(nodes)) {
        if (taken === needed || signal.aborted) break
        try {
          const reply = await quorum.call(node, ROOTS_METHOD, null, { ...options, signal })
          await this.#take(node, reply.body, signal)
          taken++
        } catch (failure) {
          if (errorCode(failure) !== 'RemoteError' || signal.aborted) continue
          const compared = this.tables.map(({ local }) => this.set.compareWith(local, node, 0, signal))
          if ((await Promise.allSettled(compared)).every(({ status }) => status === 'fulfilled')) taken++
        }
      }
      if (taken < needed) throw error
    }
  }

  /** Fetches what a node has and this one lacks. */
  async #take(node: NodeId, body: unknown, signal: AbortSignal): Promise<void> {
    if (!Array.isArray(body) || body.length < this.tables.length) {
      throw new CarportError('RemoteError', `malformed reply to ${ROOTS_METHOD}`)
    }
    for (const [i, { local }] of this.tables.entries()) {
      const own = this.#ownRoots()[i]!
      const theirs: unknown = body[i]
      if (theirs === null || (Buffer.isBuffer(theirs) && own?.equals(theirs))) continue
      await this.set.compareWith(local, node, 0, signal)
    }
  }

  #checkVote(): void {
    this.tables[0]?.checkVote(Buffer.alloc(0))
  }

  /**
   * nothing → for each table the root of the own copy, null for an empty one
   * @throws CarportError NotCaughtUp if these copies may lack what was acknowledged
   */
  #serveRoots(): RpcReply {
    this.#checkVote()
    return { body: this.#ownRoots() }
  }

  #ownRoots(): (Buffer | null)[] {
    const { db } = this.env
    this.#roots ??= this.tables.map(({ local }) => local.root(db, 0) ?? null)
    return this.#roots
  }
}
