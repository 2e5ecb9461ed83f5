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
  /** Whether it ever had one of the rows that it was asked about, as far as this process of it remembers. */
  readonly had: boolean
  readonly instance: string
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
  const { head, body: hasBody, votes, had, instance } = body as Record<string, unknown>
  if (!(head === null || Buffer.isBuffer(head)) || typeof instance !== 'string') throw malformed()
  const row = head ? codec.parseParts(key, head, undefined) : undefined
  return { node, row, hasBody: hasBody === true, votes: votes === true, had: had === true, instance }
}
