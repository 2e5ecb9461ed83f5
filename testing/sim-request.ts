import type { Bucket } from '../src/model/buckets/buckets.js'
import type { Model } from '../src/model/model.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { CarportError } from '../src/util/errors.js'
import type { SeededRandom } from './seeded-random.js'

/** Errors that clients may get when nodes are away: any other one is a bug. */
const EXPECTED_FAILURES = new Set([
  'QuorumUnavailable',
  'ClockSkew',
  'LayoutNotReady',
  'Conflict',
  'Timeout',
  'PeerUnreachable',
  'Closed',
  'StorageFull',
])

/** @param mayBeOld whether reads may show what was overwritten long ago, whose blocks are gone */
export function isExpectedFailure(error: unknown, mayBeOld = false): boolean {
  if (!(error instanceof CarportError)) return false
  return EXPECTED_FAILURES.has(error.code) || (mayBeOld && error.code === 'BlockMissing')
}

/** A key, and the name of its register in the history. */
export interface Target {
  bucket: Bucket
  key: string
  register: string
}

/** One operation of a client at a node, with what it needs of the workload. */
export interface ClientRequest<W> {
  readonly w: W
  readonly random: SeededRandom
  readonly target: Target
  /** Who does what, where and when, for the history. */
  note(what: string): string
  /** Runs it at the node; undefined if it failed in a way that must be expected. */
  try<T>(what: string, run: (model: Model) => Promise<T>): Promise<T | undefined>
  /** Takes note of an acknowledged version of the target, or of another key of its bucket. */
  remember(version: VersionRecord, key?: string): void
}
