import { majority, type QuorumWriteOptions } from '../cluster/placement.js'
import { type NodeId, Priority } from '../net/transport.js'
import { CarportError, errorCode } from '../util/errors.js'
import { KeyLock } from '../util/key-lock.js'
import { inTheWay, Retry, untilDone } from './attempts.js'
import { BALLOT_RANDOM_BYTES, type Ballot, ballotTimeUs, laterBallot, makeBallot } from './ballot.js'
import { layoutNotReady, type MissedWrites, type TableEnv } from './env.js'
import { type Fates, Proposals, unknownOutcome } from './fates.js'
import type { LocalTable } from './local.js'
import type { Promises } from './promises.js'
import type { RowWriter } from './quorum-write.js'
import { methodOf } from './replica.js'
import { parseCopy } from './replies.js'
import type { Row } from './rows.js'
import { isUnknownMethod } from './standing-rpc.js'
import { type Prepared, parsePrepared, parseTestimony, parseVote } from './votes.js'

/** Deadline of one call, in ms; and how long a write goes on trying, which is what a client waits for an answer. */
const CALL_TIMEOUT_MS = 5_000
const DEADLINE_MS = 15_000
/** Changes of one key that wait on this node. */
export const CHANGES_MAX = 100
/** How often replicas are asked what became of a proposal, when those who answered cannot tell. */
const ASKS_MAX = 4
/** How long those who have not answered yet are waited for then, in ms. */
const LATE_MS = 500

/** What a conditional write does with its key. It is asked again for each attempt. */
export interface Change<E> {
  /**
   * The row to write in place of `base`, which a quorum has; it has the ballot. 'again' if the base has changed meanwhile. It
   * throws if the condition does not hold: nothing was written then.
   * @param dead rows of earlier attempts, which never took effect and never will
   */
  decide(base: E | undefined, ballot: Ballot, dead: readonly E[]): Promise<E | 'again'>
  /** Takes back what was written for rows that never took effect; they may be on replicas that were away. */
  abandon?(dead: readonly E[]): Promise<void>
}

interface Attempt<E> {
  readonly partition: number
  readonly key: Buffer
  readonly ballot: Ballot
  /** Of the moment in which it began: see Placement. */
  readonly layoutMark: number
  readonly sets: readonly (readonly NodeId[])[]
  /** Successes needed in each set. */
  readonly needed: number[]
  readonly prepared: readonly Prepared<E>[]
}

/**
 * Conditional writes of single rows, without a leader: CASPaxos (Rystsov, 2018) for what depends on what is there, beside
 * plain writes that do not, in the order of Gryff's carstamps (Burke et al., NSDI 2020).
 *
 * 1. *Prepare*: a quorum of each live layout version promises to take no conditional row with an earlier ballot, and says
 *    which row it has. The newest one is the base; where no quorum has it, it is *finished* first: accepted again under this
 *    ballot, or, if it is plain, written back. So it stays, whatever is decided about it.
 * 2. The condition is judged on the base.
 * 3. *Accept*: the new row has the base's place in the order, one generation later. Once a quorum has taken it, every later
 *    prepare meets it. Replicas that have a plain row of a later time vote as well: the new row comes before that.
 *
 * Two rows with one base have the same generation, and the later ballot wins: its prepare met no quorum for the other one, and
 * keeps it from getting one. Plain writes need none of this: they are later or earlier than all of a chain. All that brings
 * conditional rows to replicas in other ways (write-backs, hints, anti-entropy) is refused where a promise forbids it; then the
 * row is finished under a new ballot.
 *
 * The layout: both phases go to the same sets, of all versions that were live when the attempt began, and no version that is
 * newer is acknowledged by this node before the attempt has ended. So attempts at the same time have a version in common.
 *
 * An attempt that fails after its accept was sent may still succeed, by somebody who finishes it. So nothing is said of the
 * condition before the fate of all earlier attempts is known: see `Proposals`. testing/conditional is the model of all this.
 */
export class ConditionalWriter<E> {
  readonly #prepareMethod: string
  readonly #acceptMethod: string
  readonly #getMethod: string
  /** Changes of one key (latin1) on this node go one after the other: they would only get into each other's way. */
  readonly #keys = new KeyLock()
  /** The process of each replica that answered last: what it had since, it remembers. */
  readonly #processes = new Map<NodeId, string>()

  constructor(
    private readonly local: LocalTable<E>,
    private readonly promises: Promises<E>,
    private readonly env: TableEnv,
    private readonly missed: MissedWrites,
    private readonly writer: RowWriter<E>,
  ) {
    const { name } = local.schema
    this.#prepareMethod = methodOf(name, 'prepare')
    this.#acceptMethod = methodOf(name, 'accept')
    this.#getMethod = methodOf(name, 'get')
  }

  /**
   * Writes a row that depends on the one before it.
   * @returns the row that took effect
   * @throws what `decide` throws, if nothing was written; CarportError Conflict if others kept being in the way, and nothing
   * was written; QuorumUnavailable if it may or may not take effect; LayoutNotReady, ClockSkew, NotSupported
   */
  change(key: Buffer, change: Change<E>): Promise<E> {
    const name = key.toString('latin1')
    const untilMs = this.env.clock.monotonicMs() + DEADLINE_MS
    // One key that all want must not take all of the requests that the node has room for.
    if (this.#keys.size(name) >= CHANGES_MAX) return Promise.reject(inTheWay())
    return this.#keys.run(name, () => this.#change(key, change, untilMs))
  }

  /**
   * Makes the newest row of a key the copy of a quorum, under a new ballot.
   * @throws CarportError QuorumUnavailable, also if others kept being in the way; LayoutNotReady, NotSupported
   */
  finish(key: Buffer): Promise<void> {
    return this.#keys.run(key.toString('latin1'), async () => {
      const untilMs = this.env.clock.monotonicMs() + DEADLINE_MS
      const none = this.#proposals()
      await untilDone(this.env, untilMs, none, (bound) =>
        this.#attempt(key, bound, none, async (attempt) => {
          await this.#finished(attempt, true)
          return true
        }),
      ).catch((error: unknown) => {
        // Readers wait for it, to whom a conflict means nothing.
        throw errorCode(error) === 'Conflict' ? unknownOutcome(error) : error
      })
    })
  }

  async #change(key: Buffer, change: Change<E>, untilMs: number): Promise<E> {
    this.env.mayChange?.()
    this.env.hlc.peers.checkMayStamp()
    const proposals = this.#proposals()
    let asks = 0
    const entry = await untilDone(this.env, untilMs, proposals, (bound) =>
      this.#attempt(key, bound, proposals, async (attempt) => {
        const { base, wasThere } = await this.#finished(attempt, false)
        let fates = proposals.fates(base, attempt, wasThere)
        // The slowest replica may be the one that knows.
        const lateMs = this.env.clock.monotonicMs() + LATE_MS
        while (fates.isUnknown && wasThere && (await proposals.hearsMore(this.env.clock, lateMs)))
          fates = proposals.fates(base, attempt, wasThere)
        if (fates.chosen) return fates.chosen
        if (fates.isUnknown) {
          if (++asks === ASKS_MAX) throw unknownOutcome(undefined)
          throw new Retry(attempt.ballot, undefined)
        }
        const next = await this.#decide(change, base?.entry, attempt.ballot, fates)
        if (next === 'again') return undefined
        const row = this.local.codec.encode(next)
        proposals.add(row, attempt.ballot, attempt)
        await this.#accept(attempt, row, proposals)
        return next
      }),
    ).catch((error: unknown) => {
      // A replica of an earlier release has no vote, but others may have what was proposed.
      throw errorCode(error) === 'NotSupported' && proposals.size > 0 ? unknownOutcome(error) : error
    })
    const dead = proposals.entries.filter((other) => !this.promises.rows.isSame(other, entry))
    if (dead.length > 0) {
      change.abandon?.(dead).catch((error: unknown) => {
        this.env.log.info({ error }, 'an attempt of a conditional write that lost was not taken back')
      })
    }
    return entry
  }

  #proposals(): Proposals<E> {
    return new Proposals(this.promises.rows, this.#processes, () => this.env.clock.monotonicMs())
  }

  /** @throws what `decide` throws, once earlier attempts are taken back; QuorumUnavailable if one may still succeed */
  async #decide(
    change: Change<E>,
    base: E | undefined,
    ballot: Ballot,
    { dead, isOpen }: Fates<E>,
  ): Promise<E | 'again'> {
    try {
      return await change.decide(base, ballot, dead)
    } catch (error) {
      if (isOpen) throw unknownOutcome(error)
      if (dead.length > 0) await change.abandon?.(dead)
      throw error
    }
  }

  /** One attempt: prepares, and runs `then` with the promises, all with the sets of the moment in which it began. */
  async #attempt<T>(
    key: Buffer,
    bound: Ballot | undefined,
    proposals: Proposals<E>,
    then: (attempt: Attempt<E>) => Promise<T>,
  ): Promise<T> {
    const { placement, quorum, hlc, random } = this.env
    const partition = key[0]!
    const end = quorum.beginWrite()
    const sets = placement.writeSets(partition)
    const readSet = placement.readSet(partition)
    const { layoutMark } = placement
    try {
      if (sets.length === 0 || sets[0]!.length === 0) throw layoutNotReady()
      const needed = sets.map((set) => Math.max(placement.writeQuorum, majority(set.length)))
      const timeUs = bound ? hlc.after(ballotTimeUs(bound)) : hlc.now()
      const ballot = makeBallot(timeUs, random.bytes(BALLOT_RANDOM_BYTES))
      const attempt = { partition, key, ballot, layoutMark, sets, needed }
      const ids = proposals.entries.map((entry) => this.promises.rows.idOf(entry))
      const replies = await this.#ask(attempt, this.#prepareMethod, [layoutMark, key, ballot, ids], {
        onReply: (node, reply) => proposals.heard(node, parseTestimony(reply, ids.length, ballot)),
      })
      const prepared = replies.map((reply) => parsePrepared(this.local.codec, key, reply))
      const voting = prepared.filter(({ node, votes }) => votes && readSet.includes(node)).length
      if (voting < majority(readSet.length)) throw new Retry(undefined, layoutNotReady())
      return await then({ ...attempt, prepared })
    } finally {
      end()
    }
  }

  /**
   * The votes of a quorum of each set.
   * @throws Retry if they did not come together; CarportError NotSupported if a replica does not know the method
   */
  async #ask(
    { sets, needed, layoutMark }: Omit<Attempt<E>, 'prepared'>,
    method: string,
    body: unknown,
    { onReply, onFailure }: Pick<QuorumWriteOptions, 'onReply' | 'onFailure'>,
  ): Promise<{ node: NodeId; body: unknown }[]> {
    const { placement, quorum, hlc } = this.env
    let bound: Ballot | undefined
    let newer: NodeId | undefined
    let isUnknown = false
    const judge = (reply: unknown) => {
      const refusal = parseVote(reply)
      if (!refusal) return 'taken'
      bound = laterBallot(bound, refusal)
      return 'unknown'
    }
    const options = {
      quorum: needed,
      timeoutMs: CALL_TIMEOUT_MS,
      priority: Priority.high,
      judge,
      ...(onReply && { onReply }),
      onFailure: (node: NodeId, error: unknown) => {
        if (errorCode(error) === 'LayoutOutdated') newer ??= node
        if (isUnknownMethod(error)) isUnknown = true
        onFailure?.(node, error)
      },
    } as const
    let cause: unknown
    try {
      const replies = await quorum.write(sets, method, body, options)
      if (replies.every((reply) => judge(reply.body) === 'taken')) return replies
    } catch (error) {
      cause = error
    }
    if (isUnknown) throw notSupported()
    if (bound) hlc.observe(ballotTimeUs(bound))
    if (newer !== undefined) {
      await placement.catchUp(newer)
      if (placement.layoutMark > layoutMark) throw new Retry(bound ?? makeBallot(0, Buffer.alloc(8)), cause)
    }
    throw new Retry(bound, cause)
  }

  /**
   * The newest row of those that promised, once a quorum of each set has it.
   * @param again whether it is accepted anew in any case
   * @returns `wasThere`: whether whoever prepares later than this attempt meets it
   */
  async #finished(
    attempt: Attempt<E>,
    again: boolean,
  ): Promise<{ base: Row<E> | undefined; wasThere: boolean }> {
    const { sets, needed, prepared, ballot } = attempt
    const { rows } = this.promises
    const found = prepared.flatMap(({ row }) => (row ? [row] : []))
    const [first, ...others] = found
    if (!first) return { base: undefined, wasThere: true }
    const newest = others.reduce((a, b) => (rows.compare(b.entry, a.entry) > 0 ? b : a), first)
    const holders = prepared.filter(({ row }) => row && rows.compare(row.entry, newest.entry) === 0)
    const isOnQuorum = sets.every(
      (set, i) => holders.filter(({ node }) => set.includes(node)).length >= needed[i]!,
    )
    const isPlain = rows.ballotOf(newest.entry) === undefined
    if (isOnQuorum && (isPlain || !again)) return { base: newest, wasThere: true }
    const row = await this.#withBody(attempt, newest, holders)
    if (isPlain) {
      const { verdict } = await this.writer.write(row, { mayRepeat: true }).catch((error: unknown) => {
        throw new Retry(undefined, error)
      })
      if (verdict === 'taken') return { base: row, wasThere: false }
      throw new Retry(ballot, undefined)
    }
    const finished = this.local.codec.encode(rows.underBallot(row.entry, ballot))
    await this.#accept(attempt, finished)
    return { base: finished, wasThere: true }
  }

  async #withBody(
    { key, ballot }: Attempt<E>,
    row: Row<E>,
    holders: readonly Prepared<E>[],
  ): Promise<Row<E>> {
    const { quorum } = this.env
    const { rows } = this.promises
    if (!holders.some(({ hasBody }) => hasBody)) return row
    const at = 1 + this.local.schema.partitionKeyBytes
    let cause: unknown
    for (const node of quorum.nearestFirst(holders.map((holder) => holder.node))) {
      try {
        const options = { timeoutMs: CALL_TIMEOUT_MS, priority: Priority.high }
        const reply = await quorum.call(
          node,
          this.#getMethod,
          [key.subarray(1, at), key.subarray(at), node],
          options,
        )
        const copy = parseCopy(node, reply.body)
        const found = copy.head && this.local.codec.parseParts(key, copy.head, copy.body)
        if (found && rows.isSame(found.entry, row.entry)) return found
      } catch (error) {
        cause = error
      }
    }
    // Without an error, they have something later by now.
    if (cause === undefined) throw new Retry(ballot, undefined)
    const unavailable = new CarportError('QuorumUnavailable', 'no replica gives the content of a row', {
      cause,
    })
    throw new Retry(undefined, unavailable)
  }

  /** @param proposals whose last one it is, if it is a new row */
  async #accept(attempt: Attempt<E>, row: Row<E>, proposals?: Proposals<E>): Promise<void> {
    const { name } = this.local.schema
    const wire = this.local.codec.toWire(row)
    let isTaken = false
    const failed: NodeId[] = []
    const at = proposals ? proposals.size - 1 : 0
    const onReply = (node: NodeId, reply: unknown) => {
      if (reply === null) proposals?.voted(node, at)
      else proposals?.heard(node, parseTestimony(reply, 1, attempt.ballot), at)
    }
    const onFailure = (node: NodeId, error: unknown) => {
      if (errorCode(error) === 'InvalidArgument') return
      if (isTaken) this.missed.add(node, name, [wire])
      else failed.push(node)
    }
    await this.#ask(attempt, this.#acceptMethod, [attempt.layoutMark, wire], { onReply, onFailure })
    isTaken = true
    for (const node of failed) this.missed.add(node, name, [wire])
  }
}

export function notSupported(): CarportError {
  return new CarportError(
    'NotSupported',
    'conditional writes need all nodes to run a release that knows them: upgrade the others first',
  )
}
