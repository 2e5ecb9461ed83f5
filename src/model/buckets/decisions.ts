import { pack, unpack } from 'msgpackr'
import { majority, type Placement, type QuorumCaller } from '../../cluster/placement.js'
import type { Db, Reader } from '../../db/db.js'
import { type NodeId, Priority, type RpcReply, type Transport } from '../../net/transport.js'
import { layoutNotReady, takeNewerLayout } from '../../table/env.js'
import { checkWriter } from '../../table/replica.js'
import { isUnknownMethod } from '../../table/standing-rpc.js'
import type { Table } from '../../table/table.js'
import { type Backoff, backoffMs } from '../../util/backoff.js'
import { type Clock, type Hlc, sleep } from '../../util/clock.js'
import { CarportError, errorCode } from '../../util/errors.js'
import { versioned } from '../../util/format.js'
import type { Random } from '../../util/random.js'
import type { FieldRow } from './control-rows.js'

/** What this node promised and accepted as one of those that decide: see `placeOf` for keys, `Vote` for values. */
export const DECISION_TREE = 'model:decisions'

const NO_KEY = Buffer.alloc(0)
const NONCE_BYTES = 8
const CALL_TIMEOUT_MS = 5_000
/** How long one change may take with all its rounds, in ms: nobody waits longer for an answer. */
const DEADLINE_MS = 20_000
/** Two nodes that decide at once get out of each other's way by random waits, longer each round. */
const BACKOFF: Backoff = { baseMs: 20, maxMs: 1_000, jitter: 1 }

/** Ballots are ordered by time, then by node. */
type Ballot = readonly [timeUs: number, node: string]
/** A value of the field as somebody wants it: with the time that it gets, and what tells equal proposals apart. */
type Proposal = readonly [timeUs: number, value: unknown, nonce: Buffer]
/** This node's vote about what follows the value of time `epochUs`. */
type Vote = readonly [
  epochUs: number,
  promised: Ballot,
  accepted: readonly [ballot: Ballot, proposal: Proposal] | null,
]
/** The field whose next value is decided. */
type Place = readonly [table: string, id: Buffer, field: string]

/**
 * What a field becomes: the value, null to clear it, or undefined to leave it as it is. It may throw, and it may be
 * asked several times. @param row the row as a majority knows it
 */
export type NextValue = (
  current: unknown,
  row: FieldRow | undefined,
) => { value: unknown } | undefined | Promise<{ value: unknown } | undefined>

/**
 * Changes of single fields of control rows that must not miss each other: whose a bucket name is, what a key may do.
 * Of several that change a field at the same time one comes first, and the others see its value before they answer.
 *
 * For each value that a field had there is one decision about what follows it, by the single-decree form of Paxos
 * (Lamport, "Paxos made simple"): named by the time of that value, voted on by the majorities that also hold the rows
 * (Placement.controlSets). A proposal carries the time that its value gets. So whoever completes a decision, also that
 * of a node that died in the middle, writes the very same register, as often as it likes; and a later decision has a
 * later time, which replaces it wherever it arrives.
 *
 * - A value is written into the row only once it is decided, and success is told only once the row is on a majority.
 *   Two successes for one decision are impossible, whatever is cut off or dies in between.
 * - Who cannot reach the majorities throws QuorumUnavailable: its proposal may still be completed by somebody else.
 * - The majorities are those of all live layout versions in both rounds. A change of the layout between them starts the
 *   change over, so that nobody writes what only a majority of yesterday's nodes decided.
 * - Nodes vote for nobody whose layout the others have left (Placement.writersMark): one that was skipped as dead, say.
 * - A node whose own copy has a later value than the one that is to be replaced does not vote: the decision is over.
 */
export class FieldDecisions {
  readonly #tables = new Map<string, Table<FieldRow>>()

  constructor(
    private readonly deps: {
      db: Db
      transport: Transport
      quorum: QuorumCaller
      placement: Placement
      hlc: Hlc
      clock: Clock
      random: Random
      tables: readonly Table<FieldRow>[]
      /** Resolves once this node may vote: its copies have what it acknowledged before. */
      beforeVote?: () => Promise<void>
    },
  ) {
    for (const table of deps.tables) this.#tables.set(table.schema.name, table)
    deps.transport.handle('decide/prepare', (body) => this.#vote(body, false))
    deps.transport.handle('decide/accept', (body) => this.#vote(body, true))
  }

  /**
   * Changes a field to what `next` makes of its value, as one step.
   * @returns the row as it is then
   * @throws what `next` throws; QuorumUnavailable: the change may or may not take effect; LayoutNotReady
   */
  async change(table: Table<FieldRow>, id: Buffer, field: string, next: NextValue): Promise<FieldRow> {
    const { clock, hlc, placement, random, transport } = this.deps
    const place: Place = [table.schema.name, id, field]
    const nonce = random.bytes(NONCE_BYTES)
    const deadlineMs = clock.monotonicMs() + DEADLINE_MS
    let ballotUs = 0
    for (let round = 1; clock.monotonicMs() < deadlineMs; round++) {
      const row = await table.getFromQuorum(NO_KEY, id)
      const [epochUs, current] = registerOf(row, field)
      const wanted = await next(current ?? undefined, row)
      if (wanted === undefined) return row ?? { id, deleted: false, fields: {} }
      const layout = layoutOf(placement)
      const timeUs = hlc.after(epochUs)
      ballotUs = Math.max(ballotUs + 1, timeUs)
      const ballot: Ballot = [ballotUs, transport.self]
      const chosen = await this.#propose(place, epochUs, ballot, [timeUs, wanted.value ?? null, nonce])
      if ('proposal' in chosen && layoutOf(placement) === layout) {
        const [chosenUs, value, chosenNonce] = chosen.proposal
        const decided: FieldRow = { id, deleted: false, fields: { [field]: [chosenUs, value] } }
        await table.insert(decided)
        if (chosenNonce.equals(nonce)) return row ? table.schema.merge(row, decided) : decided
      } else {
        if ('promisedUs' in chosen) ballotUs = Math.max(ballotUs, chosen.promisedUs)
        await sleep(clock, backoffMs(BACKOFF, round, random))
      }
    }
    throw new CarportError(
      'QuorumUnavailable',
      'others kept changing the same, or the layout, at the same time',
    )
  }

  /** Both rounds. Resolves with what was decided, or with what to begin another ballot above. */
  async #propose(
    place: Place,
    epochUs: number,
    ballot: Ballot,
    own: Proposal,
  ): Promise<{ proposal: Proposal } | { promisedUs: number }> {
    const prepared = await this.#ask('decide/prepare', [place, epochUs, ballot, null])
    if ('promisedUs' in prepared) return prepared
    let newest: readonly [Ballot, Proposal] | undefined
    for (const body of prepared.replies) {
      const accepted = parseAccepted((body as { accepted?: unknown }).accepted)
      if (accepted && (!newest || compareBallots(accepted[0], newest[0]) > 0)) newest = accepted
    }
    const proposal = newest?.[1] ?? own
    const accepted = await this.#ask('decide/accept', [place, epochUs, ballot, proposal])
    return 'promisedUs' in accepted ? accepted : { proposal }
  }

  /** Asks all who vote; resolves with a majority's consent, or, if somebody refuses and so prevents it, its ballot. */
  async #ask(
    method: string,
    request: readonly unknown[],
  ): Promise<{ replies: unknown[] } | { promisedUs: number }> {
    const { placement, quorum } = this.deps
    const { layoutMark } = placement
    const sets = placement.controlSets()
    if (sets.length === 0) throw layoutNotReady()
    let promisedUs: number | undefined
    let isUnknown = false
    let newer: NodeId | undefined
    try {
      const replies = await quorum.write(sets, method, [...request, layoutMark], {
        quorum: sets.map((set) => majority(set.length)),
        timeoutMs: CALL_TIMEOUT_MS,
        priority: Priority.high,
        judge: (reply) => {
          const { promised } = reply as { promised?: unknown }
          if (typeof promised !== 'number') return 'taken'
          promisedUs = Math.max(promisedUs ?? 0, promised)
          return 'unknown'
        },
        onFailure: (node, error) => {
          if (errorCode(error) === 'LayoutOutdated') newer ??= node
          if (isUnknownMethod(error)) isUnknown = true
        },
      })
      return { replies: replies.map((reply) => reply.body) }
    } catch (error) {
      if (newer !== undefined) {
        await takeNewerLayout(placement, newer, layoutMark)
        return { promisedUs: 0 }
      }
      if (promisedUs !== undefined) return { promisedUs }
      if (!isUnknown) throw error
      const message =
        'nodes of an earlier release cannot vote on keys and names: upgrade a majority of the nodes first'
      throw new CarportError('QuorumUnavailable', message, { cause: error })
    }
  }

  /**
   * [place, epoch, ballot, proposal or null, layout mark of the asker] → { accepted } with what this node accepted before, or
   * { promised } with the time of the ballot that it is bound to (0 if the decision is over)
   */
  async #vote(body: unknown, isAccept: boolean): Promise<RpcReply> {
    await this.deps.beforeVote?.()
    const { place, epochUs, ballot, proposal, layoutMark } = parseRequest(body, isAccept)
    // Its majorities need not meet those of the layout that all others decide with.
    checkWriter(this.deps.placement, layoutMark)
    const table = this.#tables.get(place[0])
    if (!table) throw malformed()
    const key = keyOf(place)
    const reply = await this.deps.db.transact((tx) => {
      if (this.#isOver(tx, table, place, epochUs)) return { promised: 0 }
      const vote = loadVote(tx, key)
      if (vote && vote[0] > epochUs) return { promised: 0 }
      const known = vote?.[0] === epochUs ? vote : undefined
      if (known && compareBallots(ballot, known[1]) < 0) return { promised: known[1][0] }
      const accepted = proposal ? ([ballot, proposal] as const) : (known?.[2] ?? null)
      tx.put(DECISION_TREE, key, FORMAT.encode([epochUs, ballot, accepted]))
      return { accepted: known?.[2] ?? null }
    })
    return { body: reply }
  }

  /** Whether this node knows a later value than the one that is to be replaced. */
  #isOver(reader: Reader, table: Table<FieldRow>, [, id, field]: Place, epochUs: number): boolean {
    const row = table.local.get(reader, NO_KEY, id)
    return row?.deleted === true || registerOf(row, field)[0] > epochUs
  }
}

/** The field's time and value; time 0 where it never had one. */
function registerOf(row: FieldRow | undefined, field: string): readonly [timeUs: number, value: unknown] {
  return (row && Object.hasOwn(row.fields, field) && row.fields[field]) || [0, undefined]
}

/** Stands for the layout versions whose majorities count now. */
function layoutOf(placement: Placement): string {
  return `${placement.layoutVersion}/${placement.ackedVersion}`
}

function compareBallots(a: Ballot, b: Ballot): number {
  if (a[0] !== b[0]) return a[0] - b[0]
  return a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0
}

/** Table, length of the id, id, field. */
function keyOf([table, id, field]: Place): Buffer {
  const length = Buffer.allocUnsafe(2)
  length.writeUInt16BE(id.length)
  return Buffer.concat([Buffer.from(`${table}\0`), length, id, Buffer.from(field)])
}

function loadVote(reader: Reader, key: Buffer): Vote | undefined {
  const stored = reader.get(DECISION_TREE, key)
  return stored && FORMAT.decode(stored)
}

const FORMAT = versioned<Vote>('vote', {
  encode: (vote) => pack(vote),
  writes: 1,
  versions: { 1: decodeVote },
})

function decodeVote(payload: Buffer): Vote {
  const value: unknown = unpack(payload)
  if (!Array.isArray(value) || typeof value[0] !== 'number' || !isBallot(value[1])) {
    throw new CarportError('Corrupted', 'a malformed vote is stored')
  }
  return [value[0], value[1], parseAccepted(value[2]) ?? null]
}

function parseRequest(
  body: unknown,
  isAccept: boolean,
): { place: Place; epochUs: number; ballot: Ballot; proposal: Proposal | undefined; layoutMark: number } {
  if (!Array.isArray(body) || !Array.isArray(body[0])) throw malformed()
  const [place, epochUs, ballot, proposal, layoutMark] = body as [unknown[], ...unknown[]]
  const [table, id, field] = place
  if (typeof table !== 'string' || !Buffer.isBuffer(id) || typeof field !== 'string') throw malformed()
  if (id.length > 256 || field.length > 256 || !isTime(epochUs) || !isBallot(ballot)) throw malformed()
  if ((isAccept && !isProposal(proposal)) || typeof layoutMark !== 'number') throw malformed()
  return {
    place: [table, id, field],
    epochUs,
    ballot,
    proposal: isAccept ? (proposal as Proposal) : undefined,
    layoutMark,
  }
}

function parseAccepted(value: unknown): readonly [Ballot, Proposal] | undefined {
  if (value === null || value === undefined) return undefined
  if (!Array.isArray(value) || !isBallot(value[0]) || !isProposal(value[1])) {
    throw new CarportError('RemoteError', 'a malformed vote')
  }
  return [value[0], value[1]]
}

function isBallot(value: unknown): value is Ballot {
  return Array.isArray(value) && isTime(value[0]) && typeof value[1] === 'string'
}

function isProposal(value: unknown): value is Proposal {
  return Array.isArray(value) && value.length === 3 && isTime(value[0]) && Buffer.isBuffer(value[2])
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function malformed(): CarportError {
  return new CarportError('InvalidArgument', 'malformed request for a decision')
}
