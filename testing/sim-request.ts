import type { Bucket } from '../src/model/buckets/buckets.js'
import type { Model } from '../src/model/model.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { SeededRandom } from './seeded-random.js'

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
  /** Takes note of an acknowledged version of the target. */
  remember(version: VersionRecord): void
}
