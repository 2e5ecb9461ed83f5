import type { NodeId, RpcReply, Transport } from '../net/transport.js'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { JudgedWriteOptions, NodeReply, QuorumWriteOptions, WriteVerdict } from './placement.js'
import { quorumsOf } from './quorum-sizes.js'
import { discardStream, HEDGE_MS_MIN, NO_ROLE, quorumUnavailable, RTT_MS_UNKNOWN } from './read-call.js'
import type { SilentNodes } from './silent-nodes.js'

export interface WriteEnv {
  readonly transport: Transport
  readonly clock: Clock
  readonly silent: SilentNodes
}

/** What a node answers to a write that it took. */
const HELD: RpcReply = { body: null }

type Options = Omit<QuorumWriteOptions, 'judge'> & Partial<JudgedWriteOptions>

/**
 * One write to several sets; a node that is in more than one gets it once and counts in each. See QuorumCaller for the
 * verdicts.
 *
 * Why a write that is 'overruled' cannot have been read, and one that is 'replaced' need not be written again (N: the
 * replicas of a set, W: the quorum; what is said of sets holds for all of them, since some live version is known to every
 * reader and writer, but this one may not know yet which):
 *  - A read shows a row only when W replicas of each set had it as their copy and said so. A replica that had something
 *    later, and never had this row, will never have it. The own node says that it has the row only once the outcome is
 *    known (see OwnVotes), so until then nobody has it from there. If fewer than W are left, nobody has read the row,
 *    and nobody will: the writer may take a later time and write again.
 *  - A row's time is *safe* if it is later than that of every write that was acknowledged before this one began. Such a
 *    write is on W replicas. So the time is safe if N - W + 1 of them had nothing later, since they meet every quorum:
 *    those that took the row had not, nor had the own node when the write began, which looked. A replica that may lack
 *    what was acknowledged, since it lost its database, says nothing by that (it is *blind*): it has the row durably, and no more.
 *  - What hides a row with a safe time was written at the same time as it, and may be ordered after it. Once W
 *    replicas show the row or something later, every read meets them: the write took effect, and was replaced. A replica
 *    that hides it by a write of its own, which it does not show yet, says so only when it does.
 *  - After a verdict 'overruled' the writer has heard of the latest row on N - W + 1 replicas, the own one among them:
 *    any later time is safe. So nobody needs more than two tries.
 *
 * With three replicas, a writer that is one of them comes to a verdict as soon as one other answers: if that one took the
 * row, the time is safe; if not, and the own vote is not cast, only one is left that may have it. A writer that is none of
 * them, of which one took the row, one had something later, and one is silent, cannot know: the silent one may have had the
 * row too, and a reader may have seen both; or it had the later row, acknowledged long before. Nothing that the two others
 * know tells these apart. Such a writer asks for the time first when it knows that a replica is away, or blind (see RowWriter).
 */
export class WriteCall {
  /** Successes that each set needs; of a set that needs none nothing else is asked. */
  readonly #needed: readonly number[]
  readonly #taken: number[]
  /** Of those, the ones that are not blind. */
  readonly #vouched: number[]
  readonly #overruled: number[]
  /** Nodes that have not answered yet, by set. */
  readonly #open: number[]
  #pending: NodeId[] = []
  #ownOverruled = false
  #ownTook = false
  /** Undefined once the promise has settled: later replies are of no use any more. */
  #replies: NodeReply[] | undefined = []
  #overruling: NodeReply[] = []
  #firstError: unknown
  #grace: Timer | undefined
  #graceOver = false

  constructor(
    private readonly env: WriteEnv,
    private readonly sets: readonly (readonly NodeId[])[],
    private readonly method: string,
    private readonly options: Options,
    private readonly resolve: (verdict: WriteVerdict, replies: NodeReply[]) => void,
    private readonly reject: (error: unknown) => void,
    private readonly done: () => void,
  ) {
    this.#needed = quorumsOf(options.quorum, sets)
    this.#taken = sets.map(() => 0)
    this.#vouched = sets.map(() => 0)
    this.#overruled = sets.map(() => 0)
    this.#open = sets.map((set) => set.length)
  }

  start(body: unknown): void {
    const { sets, env } = this
    if (sets.length === 0) {
      this.#fail(new CarportError('LayoutNotReady', NO_ROLE))
      return
    }
    for (const [i, set] of sets.entries()) {
      if (set.length >= this.#needed[i]!) continue
      const what = `a quorum of ${this.#needed[i]} needs more than ${set.length} replicas`
      this.#fail(new CarportError('QuorumUnavailable', `${this.method}: ${what}`))
      return
    }
    const nodes = sets.length === 1 ? sets[0]! : [...new Set(sets.flat())]
    this.#pending = [...nodes]
    const { self } = env.transport
    const { heldBy } = this.options
    // The own node last: its work would otherwise delay the messages to the others.
    let own = false
    for (const node of nodes) {
      if (node === heldBy) continue
      if (node === self) own = true
      else this.#send(node, body)
    }
    if (heldBy !== undefined && nodes.includes(heldBy)) this.#succeeded(heldBy, HELD)
    if (own) this.#send(self, body)
  }

  #send(node: NodeId, body: unknown): void {
    this.env.transport.call(node, this.method, body, this.options).then(
      (reply) => this.#succeeded(node, reply),
      (error) => this.#failed(node, error),
    )
  }

  #succeeded(node: NodeId, reply: RpcReply): void {
    const { env, sets, options } = this
    if (reply.stream) discardStream(reply)
    env.silent.answered(node)
    options.onReply?.(node, reply.body)
    if (!this.#replies) return
    const verdict = options.judge ? options.judge(reply.body) : 'taken'
    if (verdict === 'unknown') {
      this.#noAnswer(node, undefined)
      return
    }
    const own = node === env.transport.self
    if (verdict === 'overruled') {
      this.#overruling.push({ node, body: reply.body })
      this.#ownOverruled ||= own
    } else {
      this.#replies.push({ node, body: reply.body })
      this.#ownTook ||= own
    }
    // Later writers do not count on it.
    if (verdict === 'blind' && !own) env.silent.add(node)
    for (let i = 0; i < sets.length; i++) {
      if (!sets[i]!.includes(node)) continue
      if (verdict === 'overruled') this.#overruled[i]!++
      else this.#taken[i]!++
      if (verdict === 'taken') this.#vouched[i]!++
      this.#open[i]!--
    }
    this.#decide(node)
  }

  #failed(node: NodeId, error: unknown): void {
    if (this.#replies) this.#noAnswer(node, error)
    this.options.onFailure?.(node, error)
  }

  #noAnswer(node: NodeId, error: unknown): void {
    const { sets } = this
    this.#firstError ??= error
    for (let i = 0; i < sets.length; i++) if (sets[i]!.includes(node)) this.#open[i]!--
    this.#decide(node)
  }

  /** @param node has just answered, or failed */
  #decide(node: NodeId): void {
    this.#pending = this.#pending.filter((other) => other !== node)
    const outcome = this.#outcome()
    if (typeof outcome === 'number') this.#failSet(outcome)
    else if (outcome) this.#settle(outcome, outcome === 'taken' ? this.#replies! : this.#overruling)
  }

  /** The verdict, or the index of a set of which too few can answer; undefined while neither is known. */
  #outcome(): WriteVerdict | number | undefined {
    const { sets, options } = this
    let taken = true
    let answered = true
    /** Whether all sets may still have a quorum that took it. */
    let takeable = true
    for (let i = 0; i < sets.length; i++) {
      const [took, over, open] = [this.#taken[i]!, this.#overruled[i]!, this.#open[i]!]
      const quorum = this.#needed[i]!
      if (took + over + open < quorum) return i
      if (took < quorum) taken = false
      if (took + over < quorum) answered = false
      if (took + open < quorum) takeable = false
    }
    if (taken && (options.mayRepeat || !this.#isBlind() || this.#isSafe())) return 'taken'
    if (!options.judge) return undefined
    if (answered && this.#isSafe()) return 'replaced'
    if (this.#isUnread(false)) return 'overruled'
    if (this.#pending.length === 0) return this.#isUnread(true) ? 'overruled' : 'undecided'
    if (this.#overruling.length === 0) return undefined
    const without = this.#isUnread(true) ? 'overruled' : options.mayRepeat ? 'undecided' : undefined
    if (without && (!takeable || this.#graceOver)) return without
    // A node that has not answered may still make it a success, but is not waited for long; and if nothing can be decided
    // without it, the next writers must know.
    this.#startGrace()
    return undefined
  }

  /** Whether too few replicas are left that may show it, if the own node does not. */
  #isUnread(withdrawn: boolean): boolean {
    const { sets, options, env } = this
    const { self } = env.transport
    const less = withdrawn && !this.#ownOverruled && options.canWithdraw?.() === true
    for (let i = 0; i < sets.length; i++) {
      const own = less && sets[i]!.includes(self) ? 1 : 0
      const needed = this.#needed[i]!
      if (needed > 0 && sets[i]!.length - this.#overruled[i]! - own >= needed) return false
    }
    return true
  }

  /** Whether it counts on nodes that are blind, though a quorum is meant to meet every other one. */
  #isBlind(): boolean {
    const { sets } = this
    return sets.some(({ length }, i) => {
      const needed = this.#needed[i]!
      return needed > 0 && 2 * needed > length && this.#vouched[i]! < needed
    })
  }

  /** Whether the row's time is known to be later than that of all that was acknowledged before. */
  #isSafe(): boolean {
    const { sets, options, env } = this
    if (options.isSafe) return true
    const looked = options.ownLooked && !this.#ownTook
    for (let i = 0; i < sets.length; i++) {
      const own = looked && sets[i]!.includes(env.transport.self) ? 1 : 0
      const needed = this.#needed[i]!
      if (needed > 0 && this.#vouched[i]! + own <= sets[i]!.length - needed) return false
    }
    return true
  }

  #startGrace(): void {
    const { env } = this
    if (this.#grace) return
    let rttMs = 0
    for (const node of this.#pending) {
      if (env.transport.isConnected(node))
        rttMs = Math.max(rttMs, env.transport.rttMs(node) ?? RTT_MS_UNKNOWN)
    }
    this.#grace = env.clock.after(Math.max(2 * rttMs, HEDGE_MS_MIN), () => {
      this.#graceOver = true
      if (!this.#replies) return
      for (const node of this.#pending) if (node !== env.transport.self) env.silent.add(node)
      this.#decide('')
    })
  }

  #failSet(i: number): void {
    const cause = this.#firstError ?? new Error('replicas do not know whether they had it')
    const answered = this.#taken[i]! + this.#overruled[i]!
    this.#fail(quorumUnavailable(this.method, answered, this.#needed[i]!, cause))
  }

  #settle(verdict: WriteVerdict, replies: NodeReply[]): void {
    this.#replies = undefined
    this.#grace?.cancel()
    this.resolve(verdict, replies)
    this.done()
  }

  #fail(error: CarportError): void {
    this.#replies = undefined
    this.#grace?.cancel()
    this.reject(error)
    this.done()
  }
}
