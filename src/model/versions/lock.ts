import type { Clock } from '../../util/clock.js'
import type { DeletionGuard } from './deletion.js'
import type { VersionRecord } from './record.js'

export type RetentionMode = 'GOVERNANCE' | 'COMPLIANCE'

export interface Retention {
  mode: RetentionMode
  /** Milliseconds since the epoch. */
  untilMs: number
}

/** The document "object-lock": while it is there, versions can be locked. Its default counts for new versions. */
export interface ObjectLockDocument {
  mode?: RetentionMode
  /** Exactly one of the two if there is a mode. */
  days?: number
  years?: number
}

/** Why a version must stay. */
export type LockState = 'free' | 'governance' | 'compliance' | 'legal-hold'

/** The reason that forbids to delete a version at `nowMs`, if there is one. */
export function lockState({ mutable }: Pick<VersionRecord, 'mutable'>, nowMs: number): LockState {
  if (mutable.legalHold?.[1]) return 'legal-hold'
  const retention = mutable.retention?.[1]
  if (!retention || retention.untilMs <= nowMs) return 'free'
  return retention.mode === 'COMPLIANCE' ? 'compliance' : 'governance'
}

/**
 * A guard for Objects.deleteVersion that lets versions go that are not locked. While the clock is in doubt, no retention
 * ends.
 * @param options.bypass whether retention in governance mode does not count
 * @param options.refuse makes what is thrown for a locked version
 * @param options.announces see DeletionGuard
 */
export function lockGuard(
  clock: Pick<Clock, 'nowMs' | 'doubt'>,
  options: { bypass: boolean; announces: boolean; refuse: (state: LockState) => Error },
): DeletionGuard {
  const { bypass, announces, refuse } = options
  return {
    announces,
    check(version) {
      const nowMs = clock.doubt?.() === undefined ? clock.nowMs() : Number.NEGATIVE_INFINITY
      const state = lockState(version, nowMs)
      if (state === 'free' || (state === 'governance' && bypass)) return
      throw refuse(state)
    },
  }
}

/** The retention that a bucket gives to a version made at `nowMs`; undefined if it gives none. Years are those of the calendar. */
export function defaultRetention(
  document: ObjectLockDocument | undefined,
  nowMs: number,
): Retention | undefined {
  if (!document?.mode) return undefined
  const until = new Date(nowMs)
  if (document.days !== undefined) until.setUTCDate(until.getUTCDate() + document.days)
  if (document.years !== undefined) until.setUTCFullYear(until.getUTCFullYear() + document.years)
  return { mode: document.mode, untilMs: until.getTime() }
}

/**
 * Whether the retention of a version may be replaced. A longer one of the same mode always may. Anything else weakens
 * or changes it: never in compliance mode, in governance mode with the right to bypass it.
 * @param next null removes it
 */
export function mayReplaceRetention(
  current: Retention | null | undefined,
  next: Retention | null,
  { nowMs, bypass }: { nowMs: number; bypass: boolean },
): boolean {
  if (!current || current.untilMs <= nowMs) return true
  if (next && next.mode === current.mode && next.untilMs >= current.untilMs) return true
  if (current.mode === 'COMPLIANCE') return false
  return bypass
}
