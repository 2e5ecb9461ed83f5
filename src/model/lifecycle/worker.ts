import { leadsPartition } from '../../cluster/partition-leader.js'
import type { Placement } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import type { Transport } from '../../net/transport.js'
import type { Clock } from '../../util/clock.js'
import { sleep } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import type { Service } from '../../util/service.js'
import { Worker } from '../../util/worker.js'
import type { Bucket, Buckets } from '../buckets/buckets.js'
import { bucketPartition } from '../sort-keys.js'
import { dayStart, PHASES, type Phase, type RunPosition, RunStore, startOfRun } from '../upkeep/daily-runs.js'
import { type LifecycleCalendar, type LifecycleRule, walksOf } from './rules.js'
import type { LifecycleWalk } from './walk.js'

/** Rest between two steps, in ms: bounds the walk to some tens of thousands of rows a second. */
const STEP_REST_MS = 10
/** Runs of the nodes begin within this time after midnight, in ms. */
const JITTER_MS = 10 * 60_000
/** How soon after the start of a node a run goes on that is due, in ms. */
const START_DELAY_MS = 60_000
/** While there is no layout. */
const NOT_READY_MS = 10_000

export interface LifecycleOptions {
  calendar: LifecycleCalendar
  /** Uploads older than this are ended in every bucket, in ms; undefined: only where a rule says so. */
  abortUploadsAfterMs?: number
  /** Time between two runs, in ms; a day unless told. */
  runEveryMs?: number
  /** Local time minus UTC at a moment, in ms: runs begin at local midnight. */
  utcOffsetMs?: (nowMs: number) => number
}

/** What the last run did, for status displays. */
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
 * Does what the lifecycle rules of the buckets say: once a day, each bucket on one of its replicas. The walk goes over
 * the node's own copies; what seems due is judged again on what a quorum knows before anything is done (LifecycleWalk).
 * A run that is interrupted goes on where it was.
 */
export class LifecycleWorker implements Service {
  readonly name = 'lifecycle'
  readonly #worker: Worker
  readonly #runs: RunStore
  #runningBucket: string | undefined
  #running = false
  #started = false
  #turn: Promise<void> = Promise.resolve()

  constructor(
    private readonly deps: {
      db: Db
      clock: Clock
      random: Random
      log: Log
      placement: Placement
      transport: Transport
      buckets: Buckets
      walk: LifecycleWalk
    },
    private readonly options: LifecycleOptions,
  ) {
    this.#runs = new RunStore(deps.db, 'lifecycle')
    this.#worker = new Worker(this.name, deps.clock, deps.log, (signal) => this.#work(signal))
  }

  start(): void {
    this.#started = false
    this.#worker.start()
  }

  async stop(): Promise<void> {
    await this.#worker.stop()
  }

  status(): LifecycleStatus {
    return { running: this.#running, bucket: this.#runningBucket, ...this.deps.walk.counts }
  }

  async #work(signal: AbortSignal): Promise<number> {
    const { clock, placement, random } = this.deps
    const everyMs = this.options.runEveryMs ?? this.options.calendar.dayMs
    if (!this.#started) {
      this.#started = true
      return Math.min(START_DELAY_MS, everyMs / 2)
    }
    if (placement.layoutVersion === 0) return Math.min(NOT_READY_MS, everyMs / 2)
    const nowMs = clock.nowMs()
    const today = dayStart(nowMs, everyMs, this.options.utcOffsetMs?.(nowMs) ?? 0)
    let position = this.#runs.load()
    // What was interrupted goes on first. Any other day than today is over, also a later one, by a clock that went back.
    if (!position || (position.finished && position.dayStartMs !== today)) position = startOfRun(today)
    if (!position.finished) await this.#inTurn(position, signal)
    if (position.dayStartMs !== today) return STEP_REST_MS
    return Math.max(0, today + everyMs - clock.nowMs()) + random.float() * Math.min(JITTER_MS, everyMs / 10)
  }

  /** One run over everything, now, after the one that may be under way. For operators and tests. */
  runNow(signal: AbortSignal = new AbortController().signal): Promise<void> {
    const { clock } = this.deps
    const everyMs = this.options.runEveryMs ?? this.options.calendar.dayMs
    return this.#inTurn(startOfRun(dayStart(clock.nowMs(), everyMs, 0)), signal)
  }

  /** Runs do not overlap. */
  #inTurn(position: RunPosition, signal: AbortSignal): Promise<void> {
    const run = async () => {
      this.#running = true
      try {
        await this.#run(position, signal)
      } finally {
        this.#running = false
        this.#runningBucket = undefined
      }
    }
    const turn = this.#turn.then(run, run)
    this.#turn = turn.catch(() => {})
    return turn
  }

  async #run(position: RunPosition, signal: AbortSignal): Promise<void> {
    const { placement, transport, log } = this.deps
    const buckets = this.deps.buckets.list().sort((a, b) => Buffer.compare(a.id, b.id))
    for (const bucket of buckets) {
      const order = Buffer.compare(bucket.id, position.bucket)
      if (order < 0) continue
      if (order > 0) Object.assign(position, { bucket: bucket.id, phase: 'current', at: Buffer.alloc(0) })
      if (!leadsPartition(placement, transport, bucketPartition(bucket.id))) continue
      const phases = this.#phasesOf(bucket)
      if (phases.length === 0) continue
      this.#runningBucket = bucket.hexId
      for (const phase of phases) {
        if (PHASES.indexOf(phase) < PHASES.indexOf(position.phase)) continue
        if (phase !== position.phase) Object.assign(position, { phase, at: Buffer.alloc(0) })
        let at: Buffer | undefined = position.at
        while (at) {
          signal.throwIfAborted()
          at = await this.deps.walk.step(bucket, phase, at)
          if (at) await this.#runs.save({ ...position, at })
          await sleep(this.deps.clock, STEP_REST_MS, signal)
        }
      }
    }
    await this.#runs.save({ ...position, finished: true })
    log.debug({ ...this.deps.walk.counts }, 'lifecycle run finished')
  }

  #phasesOf(bucket: Bucket): Phase[] {
    const walks = walksOf(bucket.document<LifecycleRule[]>('lifecycle') ?? [])
    if (this.options.abortUploadsAfterMs !== undefined) walks.uploads = true
    return PHASES.filter((phase) => walks[phase])
  }
}
