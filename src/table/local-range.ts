import type { OnDamage } from './stored-rows.js'

export interface LocalRange {
  /** First sort key, inclusive. */
  start?: Buffer | undefined
  /** End, exclusive. */
  end?: Buffer | undefined
  reverse?: boolean | undefined
  limit?: number | undefined
  /** For walks that must go on, whatever they find (default 'throw'). */
  onDamage?: OnDamage | undefined
}

/** When a tombstone written now may be collected at the earliest, in ms since the epoch. */
export type TombstoneDue = (partition: number) => number
