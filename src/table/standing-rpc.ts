import type { Placement } from '../cluster/placement.js'
import { type NodeId, Priority, type RpcReply, type Transport } from '../net/transport.js'
import { CarportError, errorCode } from '../util/errors.js'
import type { TableEnv } from './env.js'
import { type CopyMarks, decodeMarks, encodeMarks, missed } from './marks.js'
import { FULL_COPY, type Standing } from './standing.js'

const METHOD = 'table/standing'
const CALL_TIMEOUT_MS = 30_000

/** What a peer says of its copy of a partition. */
export interface PeerCopy {
  /** Whether it votes. */
  readonly whole: boolean
  readonly marks: CopyMarks
  /** Whether the peer's layout has this node among the holders too. */
  readonly knowsUs: boolean
}

/** A peer's answer. */
export interface PeerStanding {
  /** The peer's `ackedVersion` (see Placement). */
  readonly ackedVersion: number
  readonly copies: ReadonlyMap<number, PeerCopy>
}

/** Tells other nodes what this node's copies are worth. */
export class StandingReplica {
  constructor(
    private readonly standing: Standing,
    private readonly env: { transport: Transport; placement: Placement },
  ) {
    env.transport.handle(METHOD, (body, { from }) => this.#serve(body, from))
  }

  /**
   * [[copy, whole 0 or 1, marks], ...] of the caller → [ackedVersion, [[copy, whole, marks, knows the caller], ...]].
   * A copy that missed a collection in which the caller's took part is demoted by the way.
   */
  #serve(body: unknown, from: NodeId): RpcReply {
    if (!Array.isArray(body) || body.length > FULL_COPY + 1) {
      throw new CarportError('InvalidArgument', `malformed ${METHOD}`)
    }
    const { standing } = this
    const copies = (body as unknown[]).map((item) => {
      const [copy, whole, marks] = item as [number, number, unknown]
      if (!Number.isInteger(copy) || copy < 0 || copy > FULL_COPY) {
        throw new CarportError('InvalidArgument', `malformed ${METHOD}`)
      }
      const knows = standing.isHolder(copy, from)
      if (knows && whole === 1 && missed(standing.marks(copy), decodeMarks(marks))) {
        standing.demote(copy, 'it missed a collection of tombstones')
      }
      const votes = standing.isOwn(copy) && standing.votes(copy)
      return [copy, votes ? 1 : 0, encodeMarks(standing.marks(copy)), knows ? 1 : 0]
    })
    return { body: [this.env.placement.ackedVersion, copies] }
  }
}

/**
 * Asks a peer what its copies are worth, and tells it the same of the own ones. Undefined for a peer of an earlier
 * release, which does not know the question.
 * @throws CarportError of the call
 */
export async function standingOf(
  env: TableEnv,
  standing: Standing,
  peer: NodeId,
  copies: readonly number[],
  signal?: AbortSignal,
): Promise<PeerStanding | undefined> {
  const body = copies.map((copy) => [copy, standing.votes(copy) ? 1 : 0, encodeMarks(standing.marks(copy))])
  const options = { timeoutMs: CALL_TIMEOUT_MS, priority: Priority.background, ...(signal && { signal }) }
  let reply: RpcReply
  try {
    reply = await env.quorum.call(peer, METHOD, body, options)
  } catch (error) {
    if (isUnknownMethod(error)) return undefined
    throw error
  }
  const answer = reply.body
  if (!Array.isArray(answer) || typeof answer[0] !== 'number' || !Array.isArray(answer[1])) {
    throw new CarportError('RemoteError', `malformed reply to ${METHOD}`)
  }
  const theirs = (answer[1] as unknown[]).map((item): [number, PeerCopy] => {
    const [copy, whole, marks, knows] = item as [number, number, unknown, number]
    return [copy, { whole: whole === 1, marks: decodeMarks(marks), knowsUs: knows === 1 }]
  })
  return { ackedVersion: answer[0], copies: new Map(theirs) }
}

/** Whether a peer of an earlier release answered that it does not know a method. */
export function isUnknownMethod(error: unknown): boolean {
  return errorCode(error) === 'RemoteError' && /unknown method|no handler for/.test((error as Error).message)
}
