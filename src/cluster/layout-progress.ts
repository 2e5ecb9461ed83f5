import type { NodeId } from '../net/transport.js'
import { advanceSync, settle, stampOf, trackedVersion } from './layout/history.js'
import type { LayoutHistory } from './layout/types.js'
import type { LayoutView } from './layout/view.js'

export interface LayoutProgressOptions {
  /** The requests of this node: each promise resolves when those that were under way at the call have ended. */
  quorum: { readonly self: NodeId; drainWrites(): Promise<void>; drainReads(): Promise<void> }
  /** Names of all tables that call `markSynced`; this node has a layout's data when each of them has. */
  syncedTables: readonly string[]
  /** Is called when this node got further: its trackers in the history may advance. */
  advanced: () => void
}

/**
 * How far this node is in a layout change: which layouts its requests under way still rely on, and of which its tables have
 * all data. Its trackers (ack, sync, syncAck) follow from it; layout/history.ts has the argument.
 */
export class LayoutProgress {
  /** By table: the stamp of the newest layout of which the table has everything. */
  readonly #synced: Map<string, number>
  readonly #syncedListeners: ((name: string, ackedVersion: number) => void)[] = []
  /** Stamps of the newest layouts for which no older write, and no older read, is under way here. */
  #writesDrained = 0
  #readsDrained = 0

  constructor(private readonly options: LayoutProgressOptions) {
    this.#synced = new Map(options.syncedTables.map((table) => [table, 0]))
  }

  /** Calls `fn` at each markSynced: for copies that can only be complete after a table is. */
  onSynced(fn: (name: string, ackedVersion: number) => void): void {
    this.#syncedListeners.push(fn)
  }

  /** See Placement. */
  markSynced(name: string, ackedVersion: number): void {
    for (const listener of this.#syncedListeners) listener(name, ackedVersion)
    const before = this.#synced.get(name)
    if (before === undefined) throw new Error(`table ${name} is not among those that the layout waits for`)
    if (ackedVersion <= before) return
    this.#synced.set(name, ackedVersion)
    this.options.advanced()
  }

  /** Waits for the requests that began before `view` was in use, if they rely on other sets. */
  adopted(view: LayoutView, before: LayoutView): void {
    const { quorum, advanced } = this.options
    if (view.stamp !== before.stamp) {
      void quorum.drainWrites().then(() => {
        this.#writesDrained = Math.max(this.#writesDrained, view.stamp)
        advanced()
      })
    }
    const readStamp = stampOf(view.history, view.readVersion)
    if (readStamp !== stampOf(before.history, before.readVersion)) {
      void quorum.drainReads().then(() => {
        this.#readsDrained = Math.max(this.#readsDrained, readStamp)
        advanced()
      })
    }
  }

  /** The history with this node's trackers as far as they may be, and without versions that nobody needs any more. */
  applyTo(history: LayoutHistory): LayoutHistory {
    const { self } = this.options.quorum
    const isMember = history.versions.some(({ roles }) => roles.has(self))
    const synced = Math.min(...this.#synced.values())
    const withSync =
      isMember && Number.isFinite(synced)
        ? advanceSync(history, self, trackedVersion(history, synced))
        : history
    return settle(withSync, self, {
      ackable: trackedVersion(withSync, this.#writesDrained),
      syncAckable: trackedVersion(withSync, this.#readsDrained),
    })
  }
}
