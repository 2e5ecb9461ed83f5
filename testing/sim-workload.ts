import type { Bucket } from '../src/model/buckets/buckets.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { RegisterHistory } from './register-history.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import type { Control } from './sim-control.js'
import type { Coverage } from './sim-coverage.js'
import type { Events } from './sim-events.js'
import type { K2vItems } from './sim-k2v.js'
import type { Lifecycle } from './sim-lifecycle.js'
import type { Contents } from './sim-objects.js'
import type { Operations } from './sim-profile.js'
import type { Script } from './sim-script.js'
import type { Stacks } from './sim-stacks.js'
import type { Tags } from './sim-tags.js'
import type { VersioningTurns } from './sim-versioning.js'

/** What the clients of a run work on, and what they and the checkers share. */
export interface Workload {
  cluster: SimCluster
  history: RegisterHistory
  contents: Contents
  /** Descriptions of violated promises, which must stay empty whatever fails. */
  problems: string[]
  bucket: Bucket
  keys: readonly string[]
  /** How long all clients write to one and the same key that was not used before, in ms; 0: they do not. See Profile. */
  freshEveryMs: number
  /** Those keys. */
  freshKeys: Set<string>
  versionedBucket: Bucket
  versionedKeys: readonly string[]
  /** See Profile. */
  versionedShare: number
  /** By `key/version id`: acknowledged versions, until somebody begins to delete them. */
  versions: Map<string, { key: string; version: VersionRecord }>
  /** Owners (hex) of the blocks of all acknowledged versions. */
  owners: Set<string>
  /** The same as `versions`, after their deletion was acknowledged. */
  deletedVersions: Map<string, { key: string; version: VersionRecord }>
  /** What is seen of keys whose current versions are deleted for good. */
  stacks: Stacks
  /** By key with null versions: whether its writes make versions with ids now. */
  versioning: Map<string, VersioningTurns>
  /** What is seen of tags of versions. */
  tags: Tags
  /** What a target was told of events, if there is one. */
  events: Events | undefined
  /** What lifecycle rules may end, if there are any. */
  lifecycle: Lifecycle | undefined
  /** What is seen of K2V items of the bucket, if there are any. */
  items: K2vItems | undefined
  /** What is seen of names and permissions. */
  control: Control
  coverage: Coverage
  operations: Operations
  /** Time that a client thinks between two operations, in ms, on average. */
  thinkMs: number
  /** See Profile. */
  lookEveryMs: number
  judgeShare: number
  judgeMs: number
  counts: Record<string, number>
  /** Is told of each acknowledgement, in the turn in which it arrives. */
  onAcknowledged?: (node: SimNode, operationId: string, isWrite: boolean) => void
  /** Is told of each deletion of a key, before it begins. */
  onDeletion?: (node: SimNode, operationId: string) => void
  /** Is told of each read that shows a value whose write has not been acknowledged, in the turn in which it is answered. */
  onEarlyRead?: (operationId: string) => void
  script: Script
}
