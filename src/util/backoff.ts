import { assert } from './assert.js'
import type { Random } from './random.js'

/** How the waits between failing attempts grow. */
export interface Backoff {
  /** The first wait, in ms. */
  baseMs: number
  /** No wait is longer, in ms. */
  maxMs: number
  /** Each wait is so many times the one before (default 2). */
  factor?: number
  /** Share of a wait that is left to chance, 0 to 1 (default 0.5), so that callers that failed together do not retry in step. */
  jitter?: number
}

/**
 * How long to wait before the next attempt, in ms: exponential, up to a limit, less a random share.
 * @param failures how many attempts failed in a row before the last one; 0 after the first failure
 * @throws CarportError Internal for a negative number of failures
 */
export function backoffMs(backoff: Backoff, failures: number, random: Pick<Random, 'float'>): number {
  assert(failures >= 0, 'the number of failures is not negative')
  const { baseMs, maxMs, factor = 2, jitter = 0.5 } = backoff
  // The exponent is bounded, since a large power times a small base would be Infinity or, times zero, NaN.
  const fullMs = Math.min(maxMs, baseMs * factor ** Math.min(failures, 64))
  return fullMs * (1 - jitter + jitter * random.float())
}
