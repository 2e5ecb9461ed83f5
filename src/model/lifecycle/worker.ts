import { leadsPartition } from '../../cluster/partition-leader.js'
import type { Placement } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import type { Transport } from '../../net/transport.js'
import type { Service } from '../../util/service.js'
import type { WorkerEnv, WorkerStats } from '../../util/worker.js'
import type { Bucket, Buckets } from '../buckets/buckets.js'
import { bucketPartition } from '../sort-keys.js'
import { DailyRuns, type Run } from '../upkeep/daily-runs.js'
import { type LifecycleCalendar, walksOf } from './rules.js'
import { type LifecycleWalk, PHASES, type Phase, rulesOf } from './walk.js'

/** Runs of the nodes begin within this time after midnight, in ms. */
const SPREAD_MS = 10 * 60_000
/** How soon after the start of a node a run goes on that is due, in ms. */
const START_DELAY_MS = 60_000

export interface LifecycleOptions {
  calendar: LifecycleCalendar
  /** Uploads older than this are ended in every bucket, in ms; undefined: only where a rule says so. */
  abortUploadsAfterMs?: number
  /** Time between two runs, in ms; a day unless told. */
  runEveryMs?: number
  /** Local time minus UTC at a moment, in ms: runs begin at local midnight. */
  utcOffsetMs?: (nowMs: number) => number
}

/** The state of the run and its counts, for status displays. */
export interface LifecycleStatus {
  running: boolean
  /** The bucket that the run is at, in hex. */
  bucket: string | undefined
  /** Since the start of the node. */
  expired: number
  deletedVersions: number
  endedUploads: number
}

/**
 * Carries out the lifecycle rules of the buckets: once a day, each bucket on one of its replicas. The walk goes over
 * the node's own copies; versions that seem due are judged again by a quorum's copies before they are deleted (LifecycleWalk).
 */
export class LifecycleWorker implements Service {
  readonly name = 'lifecycle'
  readonly #runs: DailyRuns
  #runningBucket: string | undefined

  constructor(
    private readonly deps: WorkerEnv & {
      db: Db
      placement: Placement
      transport: Transport
      buckets: Buckets
      walk: LifecycleWalk
    },
    private readonly options: LifecycleOptions,
  ) {
    const { calendar, runEveryMs: everyMs = calendar.dayMs, utcOffsetMs } = options
    // A short day of the calendar, for tests of rules, is walked in a tenth of it.
    const spreadMs = Math.min(SPREAD_MS, everyMs / 10)
    this.#runs = new DailyRuns(
      this.name,
      deps,
      { everyMs, spreadMs, startDelayMs: START_DELAY_MS, utcOffsetMs },
      (run) => this.#run(run),
    )
  }

  start(): void {
    this.#runs.start()
  }

  stop(): Promise<void> {
    return this.#runs.stop()
  }

  status(): LifecycleStatus {
    return { running: this.#runs.running, bucket: this.#runningBucket, ...this.deps.walk.counts }
  }

  workerStats(): WorkerStats {
    return this.#runs.workerStats()
  }

  /** One run over everything, now, after the one that may be under way. For operators and tests. */
  runNow(signal?: AbortSignal): Promise<void> {
    return this.#runs.runNow(signal)
  }

  async #run(run: Run): Promise<void> {
    const { placement, transport, log, walk } = this.deps
    try {
      for await (const bucket of this.deps.buckets.walk()) {
        if (!leadsPartition(placement, transport, bucketPartition(bucket.id))) continue
        for (const phase of this.#phasesOf(bucket)) {
          this.#runningBucket = bucket.hexId
          await run.walk(bucket.id, PHASES.indexOf(phase), async (at) => {
            // A walk may take hours, in which rules, versions and locks change.
            const now = await this.deps.buckets.now(bucket.id)
            return now && walk.step(now, phase, at)
          })
        }
      }
    } finally {
      this.#runningBucket = undefined
    }
    log.debug({ ...walk.counts }, 'lifecycle run finished')
  }

  #phasesOf(bucket: Bucket): Phase[] {
    const walks = walksOf(rulesOf(bucket))
    if (this.options.abortUploadsAfterMs !== undefined) walks.uploads = true
    return PHASES.filter((phase) => walks[phase])
  }
}
