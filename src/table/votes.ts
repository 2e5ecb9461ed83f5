import type { NodeId } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import { type Ballot, isBallot } from './ballot.js'
import type { Row, RowCodec } from './rows.js'

/** A replica's promise, with the row that it has. */
export interface Prepared<E> {
  readonly node: NodeId
  readonly row: Row<E> | undefined
  readonly hasBody: boolean
  /** Whether the replica counts in reads. */
  readonly votes: boolean
}

/** What a replica says of rows that it was asked about. */
export interface Testimony {
  /** Of each, the ballots under which it had it, as far as it remembers. */
  readonly under: readonly (readonly Ballot[])[]
  /** From now on it takes none of them under an earlier ballot than this one. */
  readonly below: Ballot
  /** Names the process of it that remembers all that it had, for a minute. */
  readonly instance: string
}

/** As it is sent: with a promise or a refusal. */
export interface Told {
  readonly instance: string
  readonly under: readonly (readonly Ballot[])[]
}

function malformed(): CarportError {
  return new CarportError('RemoteError', 'a replica sent a malformed vote')
}

/** What a reply of 'prepare' or 'accept' wants the ballot to be later than; undefined for a vote in favour. */
export function parseVote(body: unknown): Ballot | undefined {
  if (body === null) return undefined
  if (Array.isArray(body) && isBallot(body[0])) return body[0]
  if (typeof body !== 'object') throw malformed()
  const { later } = body as { later?: unknown }
  return isBallot(later) ? later : undefined
}

/** A reply of 'prepare' that is a promise. @throws CarportError RemoteError, InvalidArgument */
export function parsePrepared<E>(
  codec: RowCodec<E>,
  key: Buffer,
  { node, body }: { node: NodeId; body: unknown },
): Prepared<E> {
  const { head, body: hasBody, votes } = body as Record<string, unknown>
  if (!(head === null || Buffer.isBuffer(head))) throw malformed()
  const row = head ? codec.parseParts(key, head, undefined) : undefined
  return { node, row, hasBody: hasBody === true, votes: votes === true }
}

/**
 * What an answer to 'prepare', or a refusal of 'accept', tells of the rows that were asked about. Undefined if it tells nothing:
 * replicas of an earlier release told only with promises, and only whether they had any of them.
 * @param asked how many rows
 * @param ballot the one that was prepared
 */
export function parseTestimony(body: unknown, asked: number, ballot: Ballot): Testimony | undefined {
  const answer = Array.isArray(body) ? { ...(body[1] as object), later: body[0] as unknown } : body
  if (typeof answer !== 'object' || answer === null) return undefined
  const { later, instance, under, had } = answer as Record<string, unknown>
  if (typeof instance !== 'string') return undefined
  const below = later === undefined ? ballot : later
  if (!isBallot(below)) return undefined
  if (under === undefined) {
    return had === false ? { instance, below, under: Array.from({ length: asked }, () => []) } : undefined
  }
  const isComplete =
    Array.isArray(under) &&
    under.length === asked &&
    under.every((ballots) => Array.isArray(ballots) && ballots.every(isBallot))
  return isComplete ? { instance, below, under: under as Ballot[][] } : undefined
}
