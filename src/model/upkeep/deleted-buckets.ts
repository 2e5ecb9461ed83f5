import type { Db } from '../../db/db.js'
import { successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import type { Clock } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import { type FieldRow, walkRows } from '../buckets/control-rows.js'
import { clockOf, isDeleted, type K2vItem } from '../k2v/item.js'
import type { K2vStore } from '../k2v/store.js'
import { isLocked } from '../lifecycle/rules.js'
import { bucketPartition } from '../sort-keys.js'
import type { UploadRow } from '../uploads/tables.js'
import type { Uploads } from '../uploads/uploads.js'
import type { Objects } from '../versions/objects.js'
import type { VersionRecord } from '../versions/record.js'
import { selectorOf } from '../versions/selector.js'
import { actOnEach, Keep } from './each-row.js'

const STEP_ROWS = 256
/** A damaged row waits for its repair; the walk goes on without it. */
const SKIP = { onDamage: 'skip' } as const

/** The rows of one table, and how those that are there go. */
interface Leftovers {
  /** Whether this node's copy has any row of a bucket, a tombstone, too. */
  hasRows(bucket: Buffer): boolean
  /** Deletes what it finds from a sort key on; returns where to go on, undefined at the end. */
  step(bucket: Buffer, at: Buffer): Promise<Buffer | undefined>
}

/**
 * Deletes what a bucket got after it was found to be empty and deleted, by writes that were under way on nodes which had not heard of
 * that. Nobody reads it: no name leads to the bucket any more, and its id is never used again.
 */
export class DeletedBuckets {
  /** Since the start of the node. */
  readonly counts = { versions: 0, uploads: 0, items: 0 }
  /** In the order of the walks, which stored positions refer to: versions before what they could take the place of. */
  readonly #leftovers: readonly Leftovers[]

  constructor(
    private readonly deps: {
      db: Db
      clock: Clock
      log: Log
      tables: {
        bucket: Table<FieldRow>
        object: Table<VersionRecord>
        version: Table<VersionRecord>
        upload: Table<UploadRow>
      }
      objects: Pick<Objects, 'deleteVersion'>
      uploads: Pick<Uploads, 'end'>
      k2v: Pick<K2vStore, 'items' | 'write'>
    },
  ) {
    const { tables, uploads, k2v } = deps
    const isVersion = ({ state }: VersionRecord) => state !== 'tombstone'
    const deleteVersion = (version: VersionRecord) => this.#deleteVersion(version)
    const endUpload = async (upload: UploadRow) => {
      await uploads.end(upload)
      this.counts.uploads++
    }
    const deleteItem = async (item: K2vItem) => {
      const { bucket, partitionKey, sortKey } = item
      await k2v.write(bucket, [{ partitionKey, sortKey, context: clockOf(item), content: null }])
      this.counts.items++
    }
    this.#leftovers = [
      this.#leftoversOf(tables.version, isVersion, deleteVersion),
      this.#leftoversOf(tables.object, isVersion, deleteVersion),
      this.#leftoversOf(tables.upload, ({ deleted }) => !deleted, endUpload),
      this.#leftoversOf(k2v.items, (item) => !isDeleted(item), deleteItem),
    ]
  }

  /**
   * The deleted buckets of which this node has rows, in ascending order, with the steps that delete them.
   * @param leads whether this node looks after the buckets of a partition
   */
  async *walk(leads: (partition: number) => boolean): AsyncGenerator<{
    bucket: Buffer
    steps: ((at: Buffer) => Promise<Buffer | undefined>)[]
  }> {
    const { tables } = this.deps
    for await (const { id, deleted } of walkRows(this.deps, tables.bucket)) {
      if (!deleted || !leads(bucketPartition(id))) continue
      const bucket = Buffer.from(id)
      if (!this.#leftovers.some((kind) => kind.hasRows(bucket))) continue
      yield { bucket, steps: this.#leftovers.map((kind) => (at) => kind.step(bucket, at)) }
    }
  }

  #leftoversOf<E>(
    table: Table<E>,
    isThere: (row: E) => boolean,
    remove: (row: E) => Promise<void>,
  ): Leftovers {
    const { db, tables, log } = this.deps
    const rows = (bucket: Buffer, start: Buffer | undefined, limit: number) => [
      ...table.local.range(db, bucket, { ...(start && { start }), limit, ...SKIP }),
    ]
    return {
      hasRows: (bucket) => rows(bucket, undefined, 1).length > 0,
      step: async (bucket, at) => {
        const found = rows(bucket, at, STEP_ROWS)
        const left = found.filter(isThere)
        // What this node alone knows may be lost with it: a majority hears that the bucket is deleted before anything of it goes.
        if (left.length > 0) await tables.bucket.insert({ id: bucket, deleted: true, fields: {} })
        await actOnEach(left, remove, (error) =>
          log.warn(
            { error, bucket: bucket.toString('hex') },
            'a row of a deleted bucket stays until the next run',
          ),
        )
        return found.length < STEP_ROWS ? undefined : successor(table.schema.sortKey(found.at(-1)!))
      },
    }
  }

  async #deleteVersion(version: VersionRecord): Promise<void> {
    const { objects, clock } = this.deps
    const check = ({ mutable }: VersionRecord) => {
      // A lock that was acknowledged is kept, too.
      if (isLocked(mutable, clock.nowMs())) throw new Keep()
    }
    const guard = { check, announces: false }
    const { bucket, key } = version
    if (await objects.deleteVersion(bucket, key, selectorOf(version), guard)) this.counts.versions++
  }
}
