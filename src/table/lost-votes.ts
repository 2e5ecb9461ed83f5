import type { Db } from '../db/db.js'
import type { Clock } from '../util/clock.js'
import { CarportError, errorCode } from '../util/errors.js'
import type { Log } from '../util/log.js'
import { STANDING_TREE } from './row-keys.js'

/**
 * How long a vote may count that a node gave before it lost its database, in ms: a change by ballot and a conditional write
 * end within half a minute, and no coordinator uses a promise for longer than that.
 */
const REST_MS = 60_000
const KEY = Buffer.from('lost votes')
/** There is nothing to store but that votes were lost; the byte is the version of the format. */
const RECORD = Buffer.of(1)

/**
 * Votes by ballot (promises and acceptances, of conditional writes and of decisions about control rows) are in the database.
 * A node whose database was lost, or went back in time, does not know what it promised. What was decided it gets back with
 * the rows; but a coordinator may just be counting on a vote of before. So the node rests: it gives no votes until no such
 * coordinator can be left. Restarts meanwhile begin the rest anew.
 *
 * A database that is new because the node is new lost nothing: peers that remember another database of this node tell.
 */
export class LostVotes {
  #untilMs: number

  constructor(private readonly env: { db: Db; clock: Clock; log: Log }) {
    const isResting = env.db.has(STANDING_TREE, KEY)
    this.#untilMs = isResting ? env.clock.monotonicMs() + REST_MS : Number.NEGATIVE_INFINITY
  }

  /** The database turned out to be another one than the node had. In force at once. */
  begin(): void {
    this.#untilMs = this.env.clock.monotonicMs() + REST_MS
    this.#store(true)
  }

  /** @throws CarportError NotCaughtUp while the node rests */
  check(): void {
    if (this.#untilMs === Number.NEGATIVE_INFINITY) return
    if (this.env.clock.monotonicMs() < this.#untilMs) {
      throw new CarportError(
        'NotCaughtUp',
        "this node's database was lost or went back in time: it does not know yet what it promised before",
      )
    }
    this.#untilMs = Number.NEGATIVE_INFINITY
    this.#store(false)
  }

  #store(isResting: boolean): void {
    const { db, log } = this.env
    const change = isResting ? 'put' : 'delete'
    db.transact((tx) => {
      if (isResting) tx.put(STANDING_TREE, KEY, RECORD)
      else tx.delete(STANDING_TREE, KEY)
    }).catch((error: unknown) => {
      if (errorCode(error) !== 'Closed') log.error({ error, change }, 'could not store that votes were lost')
    })
  }
}
