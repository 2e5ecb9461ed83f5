import type { Placement } from '../cluster/placement.js'
import type { Db, Tx } from '../db/db.js'
import type { RpcReply, Transport } from '../net/transport.js'
import type { Hlc } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Random } from '../util/random.js'
import { type Ballot, ballotTimeUs, isBallot, lastBallotOf, laterBallot } from './ballot.js'
import type { LocalTable } from './local.js'
import type { LostVotes } from './lost-votes.js'
import type { Promises } from './promises.js'
import { checkOwn, checkWriter, methodOf } from './replica.js'
import type { Row } from './rows.js'
import { headOf } from './seal.js'
import { copyOf, type Standing } from './standing.js'
import type { Told } from './votes.js'

/** Ballots that are older get no vote. In µs. */
const BALLOT_AGE_US_MAX = 1800e6

/** A replica's answer to a coordinator that prepares: that it promised, or what the ballot has to be later than. */
type PrepareVote = { later: Ballot } | { head: Buffer | null; body: boolean; votes: boolean }

/** Why a row gets no vote. */
interface Refusal {
  /** What its ballot must not be before. */
  readonly later: Ballot
  /** Whether no row with an earlier ballot than `later` comes to this node by any way. */
  readonly isPromised: boolean
}

/** The same, with what it remembers of the coordinator's proposals. Earlier releases understand `had`: whether it had any of them. */
export type PrepareReply = PrepareVote & Told & { had: boolean }

/** Votes on conditional rows of one table: the replica's side of the protocol (see conditional.ts for the whole). */
export class ConditionalReplica<E> {
  readonly #name: string
  /** Of this process: what it forgot at its start it says nothing about. */
  readonly #instance: string

  constructor(
    private readonly local: LocalTable<E>,
    private readonly promises: Promises<E>,
    private readonly env: { db: Db; transport: Transport; placement: Placement; hlc: Hlc; random: Random },
    private readonly standing: Standing,
    private readonly lostVotes: LostVotes,
  ) {
    this.#name = local.schema.name
    this.#instance = env.random.bytes(8).toString('hex')
    env.transport.handle(methodOf(this.#name, 'prepare'), (body) => this.#prepare(body))
    env.transport.handle(methodOf(this.#name, 'accept'), (body) => this.#accept(body))
  }

  /**
   * [layout version of the writer, row key, ballot, ids of the writer's earlier proposals] → see PrepareReply. No conditional
   * row with an earlier ballot has this node's vote from then on.
   */
  async #prepare(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body) || !isBallot(body[2]) || !Array.isArray(body[3]))
      throw this.#malformed('prepare')
    const key = this.local.codec.checkRowKey(body[1])
    const ballot = body[2]
    const mine = (body[3] as unknown[]).filter((id): id is Buffer => Buffer.isBuffer(id))
    const votes = this.#checkPlace(body[0], key)
    const reply = await this.local.underWay.follow(
      [key],
      this.env.db.transact((tx): PrepareVote => {
        const stored = this.local.getByKey(tx, key)
        const bound = this.promises.bound(tx, key, stored)
        if (bound && ballot.compare(bound) <= 0) return { later: bound }
        this.#checkTime(ballot, bound)
        this.promises.put(tx, key, ballot)
        return { ...this.#shown(tx, key), votes }
      }),
    )
    const told = this.#told(mine)
    const had = told.under.some((ballots) => ballots.length > 0)
    return { body: { ...reply, ...told, had } satisfies PrepareReply }
  }

  /**
   * [layout version of the writer, row] → null when the row has this node's vote, or [what its ballot must not be before, what
   * this node remembers of the row]. The vote counts also if a later row hides the row here: as if it had come before that one.
   */
  async #accept(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body)) throw this.#malformed('accept')
    const row = this.local.codec.parse(body[1])
    const ballot = this.promises.rows.ballotOf(row.entry)
    if (!ballot) throw this.#malformed('accept')
    this.#checkPlace(body[0], row.key)
    const refusal = await this.local.underWay.follow(
      [row.key],
      this.env.db.transact((tx) => this.#vote(tx, row, ballot)),
    )
    if (!refusal) return { body: null }
    const { later, isPromised } = refusal
    return { body: isPromised ? [later, this.#told([this.promises.rows.idOf(row.entry)])] : [later] }
  }

  #vote(tx: Tx, row: Row<E>, ballot: Ballot): Refusal | null {
    const { local, promises } = this
    const stored = local.getByKey(tx, row.key)
    const bound = promises.bound(tx, row.key, stored)
    const isThere = stored !== undefined && promises.rows.compare(row.entry, stored) === 0
    // What a coordinator that slept that long knows is of another time: losers of then may have been withdrawn.
    const oldestUs = this.env.hlc.peers.latestUs() - BALLOT_AGE_US_MAX
    if (!isThere && ballotTimeUs(ballot) < oldestUs)
      return { later: laterBallot(bound, lastBallotOf(oldestUs))!, isPromised: false }
    if (!isThere && bound && ballot.compare(bound) < 0) return { later: bound, isPromised: true }
    const refused: Row<E>[] = []
    local.vote(tx, row, refused)
    if (refused.length > 0) throw this.#refused()
    if (stored === undefined || promises.rows.compare(row.entry, stored) >= 0) return null
    // A later row hides it. Votes with earlier ballots are over all the same.
    promises.put(tx, row.key, ballot)
    promises.remember(tx, row.entry)
    promises.rows.voted(tx, row.entry, stored)
    local.votes?.voted(tx, row.key, row)
    return null
  }

  /** The row as this node shows it. */
  #shown(tx: Tx, key: Buffer): { head: Buffer | null; body: boolean } {
    const { stored, votes } = this.local
    const instead = votes?.instead(key)
    if (instead) return { head: instead.row?.head ?? null, body: instead.row?.body !== undefined }
    const value = stored.value(tx, key)
    return value ? { head: headOf(value), body: stored.hasBody(tx, key, value) } : { head: null, body: false }
  }

  /** What is remembered of rows. Asked now that the transactions of before are through, so that theirs are among them. */
  #told(ids: readonly Buffer[]): Told {
    const instance = `${this.#instance}/${this.promises.forgotten}`
    return { instance, under: ids.map((id) => this.promises.had(id)) }
  }

  /**
   * Whether this copy counts in reads. One that does not, but should, may have forgotten what it promised; one that is only
   * needed for a layout to come never promised anything.
   * @throws CarportError LayoutOutdated, LayoutNotReady, NotCaughtUp
   */
  #checkPlace(version: unknown, key: Buffer): boolean {
    const { placement } = this.env
    if (typeof version !== 'number') throw this.#malformed('vote')
    checkWriter(placement, version)
    checkOwn(this.env, this.local.schema, key[0]!)
    this.lostVotes.check()
    const copy = copyOf(this.local.schema, key[0]!)
    if (this.standing.isBlind(copy)) this.standing.checkVote(copy)
    return this.standing.votes(copy)
  }

  /** @throws CarportError ClockSkew for a ballot that is farther ahead than clocks may be, unless what it must beat is */
  #checkTime(ballot: Ballot, bound: Ballot | undefined): void {
    const { peers } = this.env.hlc
    const driftUs = peers.maxDriftMs * 1000
    const timeUs = ballotTimeUs(ballot)
    if (timeUs <= peers.latestUs() + driftUs) return
    if (bound && timeUs <= ballotTimeUs(bound) + driftUs) return
    throw new CarportError('ClockSkew', `table ${this.#name}: a ballot has a time that is too far ahead`)
  }

  #refused(): CarportError {
    return new CarportError(
      'Corrupted',
      `table ${this.#name}: this node's copy of the row is damaged, to be repaired`,
    )
  }

  #malformed(method: string): CarportError {
    return new CarportError('InvalidArgument', `malformed ${methodOf(this.#name, method)}`)
  }
}
