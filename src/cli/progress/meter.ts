/** Rates count from what was seen in this time, in ms: old enough to be steady, young enough to follow a change. */
const WINDOW_MS = 30_000

export interface Pace {
  /** Items a second; undefined until two looks are apart. */
  perSecond: number | undefined
  /** Of the whole, a second. */
  sharePerSecond: number | undefined
  /** Time left in ms; undefined while nothing moves. */
  leftMs: number | undefined
}

interface Look {
  atMs: number
  share: number
  count: number
}

/** Finds out how quickly work goes on, from looks at it. */
export class Meter {
  readonly #looks: Look[] = []

  /** @param share done of the whole, from 0 to 1 @param count items done, ever more of them */
  add(atMs: number, share: number | undefined, count: number): Pace {
    const last = this.#looks.at(-1)
    // It began anew: what was seen before says nothing of it.
    if (last && (count < last.count || (share ?? 0) < last.share)) this.#looks.length = 0
    this.#looks.push({ atMs, share: share ?? 0, count })
    while (this.#looks.length > 2 && this.#looks[1]!.atMs <= atMs - WINDOW_MS) this.#looks.shift()
    const first = this.#looks[0]!
    const spanMs = atMs - first.atMs
    if (spanMs <= 0) return { perSecond: undefined, sharePerSecond: undefined, leftMs: undefined }
    const moved = share === undefined ? 0 : share - first.share
    return {
      perSecond: ((count - first.count) * 1000) / spanMs,
      sharePerSecond: (moved * 1000) / spanMs,
      leftMs: share === undefined || moved <= 0 ? undefined : ((1 - share) * spanMs) / moved,
    }
  }
}
