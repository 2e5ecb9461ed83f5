import { terminatedKey } from '../sort-keys.js'
import type { VersionRecord } from '../versions/record.js'

/** A noncurrent version that is judged, and what the judgement rests on. */
export interface NoncurrentCandidate {
  version: VersionRecord
  /** The next newer version, since whose making this one is noncurrent. */
  successor: VersionRecord
  /** The next newer version that stays, also when those between are deleted; undefined if none is known. */
  kept: VersionRecord | undefined
  /** How many noncurrent versions are newer, as this node's copy has them. */
  newerVersions: number
}

/** Goes through the noncurrent versions of a key from the newest on, in as many steps as that takes. */
export class KeyGroup {
  /** The sort key to go on at. */
  start: Buffer
  isWhole = false
  #successor: VersionRecord | undefined
  #kept: VersionRecord | undefined
  #count = 0

  /**
   * @param current the key's row
   * @param nullVersion the noncurrent null version as long as it is not judged
   */
  constructor(
    readonly key: Buffer,
    private readonly current: VersionRecord | undefined,
    public nullVersion: VersionRecord | undefined,
  ) {
    this.start = terminatedKey(key)
    this.#successor = current?.state === 'tombstone' ? undefined : current
    this.#kept = this.#successor
  }

  /** The facts on which the judgement of the next version rests; undefined if it cannot be judged. */
  add(version: VersionRecord): NoncurrentCandidate | undefined {
    // A version that became current again is in both tables for a while.
    if (this.current?.id.equals(version.id)) return undefined
    const successor = this.#successor
    this.#successor = version
    const newerVersions = this.#count++
    return successor && { version, successor, kept: this.#kept, newerVersions }
  }

  /** The version that was added last stays. */
  keep(version: VersionRecord): void {
    this.#kept = version
  }
}
