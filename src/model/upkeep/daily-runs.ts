import { pack, unpack } from 'msgpackr'
import type { Db } from '../../db/db.js'
import { CarportError } from '../../util/errors.js'

export const LIFECYCLE_TREE = 'model:lifecycle'

/** The walks of a bucket, in their order. */
export const PHASES = ['current', 'noncurrent', 'uploads'] as const
export type Phase = (typeof PHASES)[number]

/** How far a run has come. */
export interface RunPosition {
  /** The midnight that the run is for, ms. */
  dayStartMs: number
  finished: boolean
  /** The bucket it is at; empty before the first. */
  bucket: Buffer
  phase: Phase
  /** The first sort key that is still to be looked at. */
  at: Buffer
}

const EMPTY = Buffer.alloc(0)

export function startOfRun(dayStartMs: number): RunPosition {
  return { dayStartMs, finished: false, bucket: EMPTY, phase: 'current', at: EMPTY }
}

/** Keeps the positions of daily runs over restarts, by the name of the worker. */
export class RunStore {
  readonly #key: Buffer

  constructor(
    private readonly db: Db,
    name: string,
  ) {
    this.#key = Buffer.from(name)
  }

  load(): RunPosition | undefined {
    const stored = this.db.get(LIFECYCLE_TREE, this.#key)
    if (!stored) return undefined
    const v = unpack(stored) as unknown
    if (!Array.isArray(v) || v.length !== 5 || !Buffer.isBuffer(v[2]) || !Buffer.isBuffer(v[4])) {
      throw new CarportError('Corrupted', 'malformed position of a lifecycle run')
    }
    return {
      dayStartMs: Number(v[0]),
      finished: v[1] === true,
      bucket: v[2],
      phase: PHASES[Number(v[3])] ?? 'current',
      at: v[4],
    }
  }

  save({ dayStartMs, finished, bucket, phase, at }: RunPosition): Promise<void> {
    const packed = pack([dayStartMs, finished, bucket, PHASES.indexOf(phase), at])
    return this.db.transact((tx) => tx.put(LIFECYCLE_TREE, this.#key, packed))
  }
}

/** The start of the day that `nowMs` is in, ms since the epoch. @param utcOffsetMs local time minus UTC */
export function dayStart(nowMs: number, dayMs: number, utcOffsetMs: number): number {
  return Math.floor((nowMs + utcOffsetMs) / dayMs) * dayMs - utcOffsetMs
}
