import { type Clock, sleep } from '../../util/clock.js'

/**
 * Rows that a walk looks at in one turn of the event loop: some milliseconds. Deleted rows show in no page, and there may be
 * any number of them.
 */
export const TURN_ROWS = 1000

/** A walk that stops at the end of each turn, and returns its result at the end. It keeps no cursor when it stops. */
export type Turns<T> = Generator<void, T, void>

/** Runs a walk to its end: at once if it ends in its first turn, else with other work between its turns. */
export function inTurns<T>(walk: Turns<T>, clock: Clock): T | Promise<T> {
  const { done, value } = walk.next()
  return done ? value : endLater(walk, clock)
}

async function endLater<T>(walk: Turns<T>, clock: Clock): Promise<T> {
  for (;;) {
    await sleep(clock, 0)
    const { done, value } = walk.next()
    if (done) return value
  }
}
