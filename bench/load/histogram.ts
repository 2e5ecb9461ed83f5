/** The number of buckets per doubling, which keeps values within 1 %. */
const PER_OCTAVE = 64
const OCTAVES = 40

/** The form in which processes send a histogram: [bucket, count] pairs. */
export type HistogramData = [bucket: number, count: number][]

/** Latencies in logarithmic buckets (after HdrHistogram): bounded memory at any rate, and mergeable. */
export class Histogram {
  readonly #counts = new Float64Array(PER_OCTAVE * OCTAVES)
  #total = 0

  /** @param ms a latency in milliseconds, from a microsecond up */
  record(ms: number): void {
    const bucket = Math.floor(Math.log2(Math.max(1, ms * 1000)) * PER_OCTAVE)
    this.#counts[Math.min(bucket, this.#counts.length - 1)]!++
    this.#total++
  }

  get count(): number {
    return this.#total
  }

  add(data: HistogramData): void {
    for (const [bucket, count] of data) {
      this.#counts[bucket]! += count
      this.#total += count
    }
  }

  data(): HistogramData {
    const out: HistogramData = []
    for (const [bucket, count] of this.#counts.entries()) if (count > 0) out.push([bucket, count])
    return out
  }

  /** The value in ms below which the fraction `q` of all values lies; undefined without values. */
  quantile(q: number): number | undefined {
    if (this.#total === 0) return undefined
    let left = Math.floor(this.#total * q)
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count
      if (left < 0) return 2 ** ((bucket + 0.5) / PER_OCTAVE) / 1000
    }
    return undefined
  }
}

/** The middle value, or the upper of the two middle ones; undefined for an empty list. */
export function median(values: readonly number[]): number | undefined {
  return [...values].sort((a, b) => a - b)[values.length >> 1]
}
