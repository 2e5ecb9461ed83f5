import type { Db } from '../db/db.js'
import { type NodeId, Priority } from '../net/transport.js'
import type { Hlc } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import { DatabaseAge } from './database-age.js'
import { decodeHistory, type EncodedHistory, encodeHistory } from './layout/codec.js'
import { conflictingVersions, historyDigest, isFirstLayout, mergeHistories } from './layout/history.js'
import {
  applyStaged,
  revertStaged,
  skipDeadNodes,
  skipRemovedNodes,
  stageParameters,
  stageRemove,
  stageRole,
} from './layout/operations.js'
import {
  currentVersion,
  EMPTY_HISTORY,
  type LayoutHistory,
  type LayoutParameters,
  type LayoutVersion,
  type NodeRole,
  newestVersion,
} from './layout/types.js'
import { replicaSets } from './layout/version.js'
import { type ConsistencyMode, LayoutView, placementKey, quorumsOf } from './layout/view.js'
import { LayoutProgress } from './layout-progress.js'
import { LayoutStore } from './layout-store.js'
import type { Placement } from './placement.js'
import type { Quorum } from './quorum.js'

export interface LayoutManagerOptions {
  db: Db
  quorum: Quorum
  hlc: Hlc
  random: Random
  log: Log
  replicationFactor: number
  consistencyMode: ConsistencyMode
  /** Names of all tables that call `markSynced`; a layout is complete on this node when each of them has. */
  syncedTables: readonly string[]
}

/** Where a change of the history came from: a change that this node made is news for all others. */
export type ChangeOrigin = 'own' | 'peer'

export interface RoleChange {
  node: NodeId
  /** Null removes the node. */
  role: NodeRole | null
}

const CATCH_UP = { timeoutMs: 5_000, priority: Priority.control }
const NO_NODES: readonly NodeId[] = []
const NO_SETS: readonly (readonly NodeId[])[] = []

/**
 * This node's copy of the layout history, stored before it is used or told, and the Placement for the storage layers that
 * follows from it. LayoutProgress knows this node's own progress in a layout change.
 */
export class LayoutManager implements Placement {
  readonly writeQuorum: number
  readonly readQuorum: number
  readonly #store: LayoutStore
  #history: LayoutHistory = EMPTY_HISTORY
  #view: LayoutView
  #encoded: EncodedHistory | undefined
  /** The queue of changes: each begins with the history that the one before it stored. */
  #queue: Promise<unknown> = Promise.resolve()
  readonly #changeListeners = new Set<() => void>()
  readonly #historyListeners = new Set<(origin: ChangeOrigin) => void>()
  readonly #progress: LayoutProgress
  #stopped = false
  /** Asked for at each read, so it is remembered. */
  #isConfirmed = false
  readonly #confirmedBy = new Set<NodeId>()
  readonly #conflicts = new Set<number>()
  /** Tells this node's database from an older state of itself. */
  readonly age: DatabaseAge

  constructor(private readonly options: LayoutManagerOptions) {
    this.age = new DatabaseAge(options)
    const sizes = quorumsOf(options.replicationFactor, options.consistencyMode)
    this.writeQuorum = sizes.write
    this.readQuorum = sizes.read
    this.#store = new LayoutStore(options.db, options.replicationFactor)
    this.#view = new LayoutView(this.#history, options.quorum.self)
    this.#progress = new LayoutProgress({ ...options, advanced: () => this.#settle() })
  }

  /**
   * Loads the stored history.
   * @throws CarportError InvalidArgument when it was made for another replication factor, Corrupted
   */
  async start(): Promise<void> {
    const history = this.#store.load()
    await this.age.start(history ? currentVersion(history) : 0)
    if (history) this.#adopt(history)
  }

  /** Waits for changes under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#queue
  }

  // ---- Placement ----

  writeSets(partition: number): readonly (readonly NodeId[])[] {
    // The others do not wait for the acks of a node without a role: its writes could be missed.
    return this.#view.mayCoordinate ? this.#view.writeSets(partition) : NO_SETS
  }

  readSet(partition: number): readonly NodeId[] {
    return this.#view.mayCoordinate ? this.#view.readSet(partition) : NO_NODES
  }

  storageSet(partition: number): readonly NodeId[] {
    return this.#view.storageSet(partition)
  }

  ownPartitions(): readonly number[] {
    return this.#view.ownPartitions
  }

  allNodes(): readonly NodeId[] {
    return this.#view.allNodes
  }

  controlSets(): readonly (readonly NodeId[])[] {
    return this.#view.mayCoordinate ? this.#view.controlSets : NO_SETS
  }

  controlReadSet(): readonly NodeId[] {
    return this.#view.mayCoordinate ? this.#view.controlReadSet : NO_NODES
  }

  get layoutVersion(): number {
    return this.#view.version
  }

  get layoutMark(): number {
    return this.#view.mark
  }

  get writersMark(): number {
    return this.#view.writersMark
  }

  async catchUp(node: NodeId): Promise<void> {
    const { quorum, log } = this.options
    const asked = quorum.call(node, 'cluster/get-layout', null, CATCH_UP)
    await asked
      .then(({ body }) => this.merge(body))
      .catch((error: unknown) => {
        log.warn({ peer: node, error: String(error) }, 'the newer layout of a peer could not be had')
      })
  }

  get liveVersions(): { oldest: number; newest: number } {
    return { oldest: this.#history.versions[0]?.version ?? 0, newest: this.#view.version }
  }

  holdsIn(version: number, partition: number | 'full'): boolean | undefined {
    const { self } = this.options.quorum
    const live = this.#history.versions.find((candidate) => candidate.version === version)
    if (!live) return undefined
    return partition === 'full' ? live.roles.has(self) : replicaSets(live)[partition]!.nodes.includes(self)
  }

  get completeUpTo(): number {
    return this.age.completeUpTo
  }

  get confirmed(): boolean {
    if (this.#isConfirmed) return true
    const others = this.allNodes().filter((node) => node !== this.options.quorum.self)
    this.#isConfirmed = others.some((node) => this.#confirmedBy.has(node))
    return this.#isConfirmed || others.length === 0
  }

  /** A peer said that it remembers no later state of this node's database. */
  confirm(node: NodeId): void {
    this.#confirmedBy.add(node)
  }

  get ackedVersion(): number {
    return this.#view.syncTarget === undefined ? 0 : this.#view.stamp
  }

  /** Calls `fn` at each markSynced: for copies that can only be complete after a table is. */
  onSynced(fn: (name: string, ackedVersion: number) => void): void {
    this.#progress.onSynced(fn)
  }

  onChange(fn: () => void): () => void {
    this.#changeListeners.add(fn)
    return () => this.#changeListeners.delete(fn)
  }

  markSynced(name: string, ackedVersion: number): void {
    this.#progress.markSynced(name, ackedVersion)
  }

  // ---- For the cluster system ----

  get history(): LayoutHistory {
    return this.#history
  }

  /** Versions under which this node met two different layouts since its start. */
  get conflicts(): number[] {
    return [...this.#conflicts]
  }

  /** The view of the newest history, also for nodes that may not coordinate. */
  get view(): LayoutView {
    return this.#view
  }

  /** The node's role in the newest layout. */
  role(node: NodeId): NodeRole | null {
    return newestVersion(this.#history)?.roles.get(node) ?? null
  }

  /** Whether the node has a role in some live layout. */
  isMember(node: NodeId): boolean {
    return this.#history.versions.some(({ roles }) => roles.has(node))
  }

  /** Whether the node stores nothing in the newest layout, but something in an older one that is still live. */
  isDraining(node: NodeId): boolean {
    return !newestVersion(this.#history)?.storageNodes.includes(node) && this.storageNodes().includes(node)
  }

  /** Nodes with capacity in some live layout. */
  storageNodes(): NodeId[] {
    return [...new Set(this.#history.versions.flatMap(({ storageNodes }) => storageNodes))]
  }

  get digest(): string {
    return historyDigest(this.#history)
  }

  /** The history in the form in which nodes send it. */
  encoded(): EncodedHistory {
    this.#encoded ??= encodeHistory(this.#history)
    return this.#encoded
  }

  /** Calls `fn` after each change of the history, once it is stored and in use. */
  onHistory(fn: (origin: ChangeOrigin) => void): () => void {
    this.#historyListeners.add(fn)
    return () => this.#historyListeners.delete(fn)
  }

  /**
   * Merges a history that a peer sent, unvalidated. Resolves with that history's digest once the result is stored.
   * @throws CarportError InvalidArgument when it is malformed or made for another replication factor
   */
  async merge(body: unknown): Promise<string> {
    const theirs = decodeHistory(body)
    const { replicationFactor, log } = this.options
    for (const version of theirs.versions) {
      if (version.replicationFactor !== replicationFactor) {
        throw new CarportError(
          'InvalidArgument',
          `layout invalid: it was made for replication_factor = ${version.replicationFactor}, ` +
            `this node is configured with ${replicationFactor}`,
        )
      }
    }
    await this.#change('peer', (history) => {
      for (const version of conflictingVersions(history, theirs)) {
        this.#conflicts.add(version)
        log.error(
          { version },
          'two different layouts were applied under one version number, on nodes that did not reach each other; one of them ' +
            'wins: look at "carport layout show" whether it is the right one',
        )
      }
      return mergeHistories(history, theirs)
    })
    return historyDigest(theirs)
  }

  // ---- Operations of the administrator; each resolves once its change is stored ----

  /** @throws CarportError InvalidArgument (malformed), NotFound (removal of a node without a role) */
  async stage(changes: {
    roles?: readonly RoleChange[]
    parameters?: LayoutParameters | null
  }): Promise<void> {
    await this.#change('own', (history) => {
      let next = history
      for (const { node, role } of changes.roles ?? []) {
        const now = this.options.hlc.now()
        next = role ? stageRole(next, now, node, role) : stageRemove(next, now, node)
      }
      if (changes.parameters) next = stageParameters(next, this.options.hlc.now(), changes.parameters)
      return next
    })
  }

  /**
   * Makes the staged changes version `version`, which must be the next one.
   * @throws CarportError Conflict, InvalidArgument (no assignment is possible)
   */
  async applyStaged(version: number): Promise<{ before: LayoutHistory; applied: LayoutVersion }> {
    const { quorum, hlc, replicationFactor } = this.options
    let result: { before: LayoutHistory; applied: LayoutVersion } | undefined
    await this.#change('own', (before) => {
      const options = { version, self: quorum.self, replicationFactor, now: hlc.now() }
      const { history, version: applied } = applyStaged(before, options)
      result = { before, applied }
      return history
    })
    return result!
  }

  async revertStaged(): Promise<void> {
    await this.#change('own', (history) => revertStaged(history, this.options.hlc.now()))
  }

  /** @throws CarportError InvalidArgument when there is nothing to skip */
  async skipDeadNodes(options: {
    version: number
    allowMissingData: boolean
    isUp: (node: NodeId) => boolean
  }): Promise<{ ackUpdated: NodeId[]; syncUpdated: NodeId[] }> {
    let result: { ackUpdated: NodeId[]; syncUpdated: NodeId[] } | undefined
    await this.#change('own', (before) => {
      const { history, ...updated } = skipDeadNodes(before, options)
      result = updated
      return history
    })
    return result!
  }

  /** Ends the wait for nodes that the newest layout left out and that are gone. Resolves with their ids. */
  async skipRemovedNodes(isGone: (node: NodeId) => boolean): Promise<NodeId[]> {
    let skipped: NodeId[] = []
    await this.#change('own', (before) => {
      const { history, ...result } = skipRemovedNodes(before, isGone)
      skipped = result.skipped
      return history
    })
    return skipped
  }

  // ---- Changes ----

  /** Applies `fn` to the newest history, once; stores the result, then uses and tells it. */
  #change(origin: ChangeOrigin, fn: (history: LayoutHistory) => LayoutHistory): Promise<void> {
    const run = this.#queue.then(async () => {
      const before = this.#history
      const changed = fn(before)
      const next = this.#progress.applyTo(changed)
      if (next === before || historyDigest(next) === historyDigest(before)) return
      const encoded = encodeHistory(next)
      const founds = before.versions.length === 0 && isFirstLayout(changed, this.options.quorum.self)
      await this.#store.save(encoded, (tx) => {
        if (founds) this.age.found(tx, currentVersion(changed))
      })
      this.#adopt(next)
      this.#encoded = encoded
      // This node's progress, added to a peer's news, is news for the peers too.
      const isOwn = origin === 'own' || historyDigest(next) !== historyDigest(changed)
      for (const fn of this.#historyListeners) fn(isOwn ? 'own' : 'peer')
    })
    this.#queue = run.then(undefined, () => {})
    return run
  }

  /** Brings this node's trackers up to date; a failure to store is tried again at the next change. */
  #settle(): void {
    if (this.#stopped) return
    this.#change('own', (history) => history).catch((error: unknown) => {
      this.options.log.error({ error: String(error) }, 'could not store the progress of the layout change')
    })
  }

  #adopt(history: LayoutHistory): void {
    const before = this.#view
    this.#history = history
    this.#encoded = undefined
    if (placementKey(history) === placementKey(before.history)) return
    const view = new LayoutView(history, this.options.quorum.self)
    this.#view = view
    if (view.version !== before.version)
      this.options.log.info({ version: view.version }, 'new cluster layout')
    // Requests that begin from now on use the new sets; those under way are waited for.
    this.#progress.adopted(view, before)
    for (const fn of this.#changeListeners) fn()
  }
}
