import { type Backoff, backoffMs } from '../util/backoff.js'
import { sleep } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { type Ballot, laterBallot } from './ballot.js'
import type { TableEnv } from './env.js'
import { unknownOutcome } from './fates.js'

/** Two coordinators of one key get out of each other's way by random waits, of some round trips at first. */
const BACKOFF: Omit<Backoff, 'baseMs'> = { maxMs: 2_000, jitter: 1 }
const WAIT_MS_MIN = 10
const WAIT_MS_MAX = 500

/** An attempt of a conditional write ended without a result: others were later, or too few answered. */
export class Retry extends Error {
  constructor(
    /** What the next ballot has to be later than. */
    readonly bound: Ballot | undefined,
    override readonly cause: unknown,
  ) {
    super('retry')
  }
}

/**
 * Makes attempts until one has a result.
 * @param untilMs when the client's patience ends, monotonic; it may have waited already
 * @param proposals what was proposed meanwhile
 * @throws what an attempt throws that is no Retry, and the cause of one that was answered by too few; CarportError Conflict if
 * others kept being in the way, and nothing was proposed; QuorumUnavailable if something was
 */
export async function untilDone<T>(
  { clock, random, placement, transport }: TableEnv,
  untilMs: number,
  proposals: { readonly size: number },
  attempt: (bound: Ballot | undefined) => Promise<T | undefined>,
): Promise<T> {
  const waitMs = () => {
    let rttMs = 0
    for (const node of placement.allNodes()) rttMs = Math.max(rttMs, transport.rttMs(node) ?? 0)
    return Math.min(WAIT_MS_MAX, Math.max(WAIT_MS_MIN, 2 * rttMs))
  }
  let bound: Ballot | undefined
  let cause: unknown
  for (let round = 0; clock.monotonicMs() < untilMs; round++) {
    try {
      const result = await attempt(bound)
      if (result !== undefined) return result
    } catch (error) {
      if (!(error instanceof Retry)) throw error
      cause = error.cause
      // Nobody was in the way, too few answered: only an unknown outcome is worth another try.
      if (!error.bound && proposals.size === 0) throw cause
      bound = laterBallot(bound, error.bound)
    }
    // The first refusal may only mean that this node's clock is behind.
    if (round > 0) await sleep(clock, backoffMs({ ...BACKOFF, baseMs: waitMs() }, round, random))
  }
  if (proposals.size > 0) throw unknownOutcome(cause)
  throw inTheWay(cause)
}

/** Nothing was written. */
export function inTheWay(cause?: unknown): CarportError {
  return new CarportError('Conflict', 'other writers of the same key kept being in the way', { cause })
}
