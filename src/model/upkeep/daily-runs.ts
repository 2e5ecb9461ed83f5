import { pack, unpack } from 'msgpackr'
import type { Placement } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import { type Clock, sleep } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { looksLikeMsgpack, versioned } from '../../util/format.js'
import { Worker, type WorkerEnv, WorkerService } from '../../util/worker.js'

/** The name of a worker that runs once a day → how far its run has come. */
export const DAILY_RUNS_TREE = 'model:lifecycle'

const DAY_MS = 24 * 3600_000
/** Rest between two steps, in ms: bounds a walk to some tens of thousands of rows a second. */
const STEP_REST_MS = 10
/** While there is no layout, or the clock is in doubt. */
const NOT_READY_MS = 10_000

/** How far a run has come. A run goes over places in ascending order of bucket and phase, and steps through each. */
interface RunPosition {
  /** The start of the day that the run is for, ms. */
  dayStartMs: number
  finished: boolean
  /** The bucket it is at; empty before the first, or where buckets play no part. */
  bucket: Buffer
  /** The number of the walk that it is at. */
  phase: number
  /** The first key that is still to be looked at; empty at the start of a walk. */
  at: Buffer
}

const EMPTY = Buffer.alloc(0)

const FORMAT = versioned<RunPosition>('position of a daily run', {
  encode: ({ dayStartMs, finished, bucket, phase, at }) => pack([dayStartMs, finished, bucket, phase, at]),
  writes: 1,
  versions: { 1: decodePosition },
  unmarked: { is: looksLikeMsgpack, decode: decodePosition },
})

function decodePosition(payload: Buffer): RunPosition {
  const v = unpack(payload) as unknown
  if (!Array.isArray(v) || v.length !== 5 || !Buffer.isBuffer(v[2]) || !Buffer.isBuffer(v[4])) {
    throw new CarportError('Corrupted', 'malformed position of a daily run')
  }
  return { dayStartMs: Number(v[0]), finished: v[1] === true, bucket: v[2], phase: Number(v[3]), at: v[4] }
}

function startOfRun(dayStartMs: number): RunPosition {
  return { dayStartMs, finished: false, bucket: EMPTY, phase: 0, at: EMPTY }
}

/** @throws CarportError ClockSkew: a wrong clock takes new things for old ones */
function checkClock(clock: Clock): void {
  const doubt = clock.doubt?.()
  if (doubt !== undefined) throw new CarportError('ClockSkew', doubt)
}

export interface DailyRunsOptions {
  /** Time between two runs, in ms; a day unless told. */
  everyMs?: number | undefined
  /** Runs of the nodes begin within this time after the start of the day, in ms. */
  spreadMs: number
  /** How soon after the start of a node a run goes on that is due, in ms. */
  startDelayMs: number
  /** Local time minus UTC at a moment, in ms: runs begin at local midnight. */
  utcOffsetMs?: ((nowMs: number) => number) | undefined
}

/** A run under way. Its position survives a restart. */
export class Run {
  constructor(
    private readonly position: RunPosition,
    private readonly env: Pick<WorkerEnv, 'clock'>,
    private readonly save: (position: RunPosition) => Promise<void>,
    private readonly signal: AbortSignal,
  ) {}

  /**
   * Steps through one place from its start, or from where an interrupted run was; does nothing if the run has that
   * place behind it. Places must be visited in ascending order of bucket and phase.
   * @param step looks at a few rows from a key on (empty: from the first); returns where to go on, undefined at the end
   */
  async walk(
    bucket: Buffer,
    phase: number,
    step: (at: Buffer) => Promise<Buffer | undefined>,
  ): Promise<void> {
    const { position } = this
    const order = Buffer.compare(bucket, position.bucket) || phase - position.phase
    if (order < 0) return
    if (order > 0) Object.assign(position, { bucket, phase, at: EMPTY })
    let at: Buffer | undefined = position.at
    while (at) {
      this.signal.throwIfAborted()
      checkClock(this.env.clock)
      at = await step(at)
      if (at) {
        position.at = at
        await this.save(position)
      }
      await sleep(this.env.clock, STEP_REST_MS, this.signal)
    }
  }
}

/**
 * Does something once a day, in small steps, in the background. A run that is interrupted goes on where it was, also
 * after a restart; runs do not overlap.
 */
export class DailyRuns extends WorkerService {
  protected readonly worker: Worker
  readonly #key: Buffer
  readonly #everyMs: number
  #turn: Promise<void> = Promise.resolve()
  #running = false

  constructor(
    readonly name: string,
    private readonly deps: WorkerEnv & { db: Db; placement: Pick<Placement, 'layoutVersion'> },
    private readonly options: DailyRunsOptions,
    private readonly run: (run: Run) => Promise<void>,
  ) {
    super()
    this.#key = Buffer.from(name)
    this.#everyMs = options.everyMs ?? DAY_MS
    this.worker = new Worker(name, deps, (signal) => this.#work(signal), {
      startDelayMs: Math.min(options.startDelayMs, this.#everyMs / 2),
    })
  }

  get running(): boolean {
    return this.#running
  }

  /**
   * One run over everything, now, after the one that may be under way. For operators and tests.
   * @throws CarportError ClockSkew while the clock is in doubt
   */
  runNow(signal: AbortSignal = new AbortController().signal): Promise<void> {
    return this.#inTurn(startOfRun(this.#today()), signal)
  }

  async #work(signal: AbortSignal): Promise<number> {
    const { clock, placement, random } = this.deps
    if (placement.layoutVersion === 0 || clock.doubt?.() !== undefined) {
      return Math.min(NOT_READY_MS, this.#everyMs / 2)
    }
    const today = this.#today()
    let position = this.#load()
    // An interrupted run goes on first. Every day but today is over, also a later one that a wrong clock had shown.
    if (!position || (position.finished && position.dayStartMs !== today)) position = startOfRun(today)
    if (!position.finished) await this.#inTurn(position, signal)
    if (position.dayStartMs !== today) return STEP_REST_MS
    const spreadMs = Math.min(this.options.spreadMs, this.#everyMs / 4)
    return Math.max(0, today + this.#everyMs - clock.nowMs()) + random.float() * spreadMs
  }

  #inTurn(position: RunPosition, signal: AbortSignal): Promise<void> {
    const run = async () => {
      checkClock(this.deps.clock)
      this.#running = true
      try {
        await this.run(new Run(position, this.deps, (reached) => this.#save(reached), signal))
        await this.#save({ ...position, finished: true })
      } finally {
        this.#running = false
      }
    }
    const turn = this.#turn.then(run, run)
    this.#turn = turn.catch(() => {})
    return turn
  }

  /** The start of the day, ms since the epoch. */
  #today(): number {
    const nowMs = this.deps.clock.nowMs()
    const offsetMs = this.options.utcOffsetMs?.(nowMs) ?? 0
    return Math.floor((nowMs + offsetMs) / this.#everyMs) * this.#everyMs - offsetMs
  }

  #load(): RunPosition | undefined {
    const stored = this.deps.db.get(DAILY_RUNS_TREE, this.#key)
    return stored && FORMAT.decode(stored)
  }

  #save(position: RunPosition): Promise<void> {
    const stored = FORMAT.encode(position)
    return this.deps.db.transact((tx) => tx.put(DAILY_RUNS_TREE, this.#key, stored))
  }
}
