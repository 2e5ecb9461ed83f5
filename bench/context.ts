import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createBucket } from './buckets.js'
import type { LoadGenerator } from './load/generator.js'
import { Histogram, median } from './load/histogram.js'
import type { Job, Operation } from './load/job.js'
import type { Options } from './options.js'
import { cpuUs, MemoryWatch } from './proc.js'
import type { LoadResult, Result } from './results.js'
import type { Contender, Store } from './stores/store.js'

/** A request load, without its target. */
export type Load = Omit<Job, 'target' | 'bucket' | 'seconds'> & { seconds?: number }

export interface CompareOptions {
  /** Called before each measurement of a store; its time does not count. */
  before?: (store: Store, round: number) => Promise<void>
  after?: (store: Store, round: number, result: { requests: number }) => Promise<void>
  /** Whether a short measurement that does not count comes first (default true). */
  warmUp?: boolean
}

/** The things that workloads share: the stores to measure, the load generator, and the list of results. */
export class Context {
  readonly results: Result[] = []
  readonly #dir: string
  #started = 0

  constructor(
    readonly options: Options,
    readonly contenders: readonly Contender[],
    readonly generator: LoadGenerator,
    private readonly progress: (line: string) => void,
  ) {
    this.#dir = mkdtempSync(join(options.dir, 'carport-bench-'))
  }

  dispose(): void {
    rmSync(this.#dir, { recursive: true, force: true })
  }

  note(line: string): void {
    this.progress(line)
  }

  add(result: Result): void {
    this.results.push(result)
  }

  /** Whether the cell was asked for. */
  wants(workload: string, cell: string): boolean {
    const name = `${workload} ${cell}`.toLowerCase()
    return this.options.match.every((word) => name.split(/\s+/).includes(word))
  }

  /** Makes a folder for one service. */
  newDir(name: string): string {
    return join(this.#dir, `${name}-${++this.#started}`)
  }

  /** Starts all stores, each with an empty bucket, runs `fn` and stops them. */
  async withStores(
    bucket: string,
    fn: (stores: Store[]) => Promise<void>,
    contenders: readonly Contender[] = this.contenders,
  ): Promise<void> {
    const stores: Store[] = []
    try {
      for (const contender of contenders) {
        const store = await contender.start(this.newDir(contender.name))
        stores.push(store)
        await this.createBucket(store, bucket)
      }
      await fn(stores)
    } finally {
      for (const store of stores) await store.stop()
    }
  }

  /** Starts a store with an empty bucket. @throws Error naming the store */
  async createBucket(store: Store, bucket: string): Promise<void> {
    await createBucket(store.name, store.target, bucket)
  }

  /** Runs a load whose objects others read later, so that every request must succeed. */
  async prepare(store: Store, bucket: string, load: Load): Promise<void> {
    const job: Job = { seconds: 86_400, ...load, target: store.target, bucket }
    const { errors, error, requests } = await this.generator.run(job)
    if (errors > 0) throw new Error(`${store.name}: ${errors} of ${errors + requests} failed: ${error}`)
  }

  /** Puts `count` objects of `size` bytes at `prefix`0, `prefix`1, … */
  fill(store: Store, bucket: string, prefix: string, size: number, count: number): Promise<void> {
    const operation: Operation = { kind: 'put', prefix, size }
    return this.prepare(store, bucket, { operation, concurrency: Math.min(count, 16), limit: count })
  }

  /**
   * Runs one load against all stores in turn, several rounds, and adds a result for each.
   * @param loadOf the load of a round; rounds count from 0, the warm-up is -1
   */
  async compare(
    workload: string,
    cell: string,
    stores: readonly Store[],
    bucket: string,
    loadOf: (round: number) => Load,
    { before, after, warmUp = true }: CompareOptions = {},
  ): Promise<void> {
    const tallies = stores.map((store) => new Tally(store))
    for (let round = warmUp && !this.options.quick ? -1 : 0; round < this.options.rounds; round++) {
      for (const tally of tallies) {
        const { store } = tally
        await before?.(store, round)
        const load = loadOf(round)
        const seconds = load.seconds ?? this.options.seconds
        const job: Job = {
          ...load,
          ...{ target: store.target, bucket },
          seconds: round < 0 ? Math.min(1, seconds) : seconds,
        }
        const result = await tally.measure(() => this.generator.run(job), round >= 0)
        await after?.(store, round, result)
      }
    }
    const results = tallies.map((tally) => tally.result(workload, cell))
    for (const result of results.slice(1)) result.firstToThis = ratios(results[0]!, result)
    for (const result of results) {
      this.add(result)
      const rate =
        result.errors > 0 && result.rate === 0 ? `failed: ${result.error}` : `${result.rate.toFixed(1)}/s`
      this.note(`${workload}: ${cell}: ${result.store} ${rate}`)
    }
  }
}

/** The measurements of one store in one cell. */
class Tally {
  readonly #histogram = new Histogram()
  readonly #rates: number[] = []
  readonly #mibs: number[] = []
  readonly #cpu: number[] = []
  readonly #memory = { rss: 0, anon: 0, file: 0 }
  #errors = 0
  #error: string | undefined

  constructor(readonly store: Store) {}

  async measure(run: () => ReturnType<LoadGenerator['run']>, counts: boolean): Promise<{ requests: number }> {
    const pids = this.store.pids()
    const watch = new MemoryWatch(() => pids)
    const before = cpuUs(pids)
    const result = await run()
    const cpu = cpuUs(pids) - before
    const peak = watch.stop()
    if (!counts) return result
    const { requests, errors, error, bytes, seconds, latencies } = result
    this.#histogram.add(latencies)
    this.#rates.push(seconds > 0 ? requests / seconds : 0)
    this.#mibs.push(seconds > 0 ? bytes / seconds / 2 ** 20 : 0)
    if (pids.length > 0 && requests > 0) this.#cpu.push(cpu / requests)
    for (const field of ['rss', 'anon', 'file'] as const)
      this.#memory[field] = Math.max(this.#memory[field], peak[field])
    this.#errors += errors
    this.#error ??= error
    return result
  }

  result(workload: string, cell: string): LoadResult {
    return {
      ...{ kind: 'load', workload, cell, store: this.store.name },
      rate: median(this.#rates)!,
      rates: this.#rates,
      p50: this.#histogram.quantile(0.5),
      p99: this.#histogram.quantile(0.99),
      mibPerSecond: median(this.#mibs)!,
      cpuUs: median(this.#cpu),
      memory: this.#memory.rss > 0 ? this.#memory : undefined,
      errors: this.#errors,
      ...(this.#error !== undefined && { error: this.#error }),
    }
  }
}

function ratios(first: LoadResult, other: LoadResult): LoadResult['firstToThis'] {
  const ratio = (a: number | undefined, b: number | undefined) => (a && b ? a / b : undefined)
  return { rate: ratio(first.rate, other.rate), cpu: ratio(first.cpuUs, other.cpuUs) }
}
