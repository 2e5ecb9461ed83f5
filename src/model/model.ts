import type { Reader, TreeName, Tx } from '../db/db.js'
import { tableTrees } from '../table/row-keys.js'
import { FULL_COPY } from '../table/standing.js'
import type { Table, TableEnv } from '../table/table.js'
import type { TableSet } from '../table/tables.js'
import type { Service } from '../util/service.js'
import { Services } from '../util/services.js'
import { AccessKeys } from './buckets/access-keys.js'
import { AdminTokens } from './buckets/admin-tokens.js'
import { Buckets } from './buckets/buckets.js'
import { type FieldRow, fieldTable } from './buckets/control-rows.js'
import { COUNTER_TREE } from './buckets/counters.js'
import { DECISION_TREE, FieldDecisions } from './buckets/decisions.js'
import { ControlFreshness, type FreshnessOptions } from './buckets/freshness.js'
import { Usage } from './buckets/usage.js'
import { BlobStore, type Blocks } from './content/blobs.js'
import { type BlockListRow, blockListTable } from './content/block-lists.js'
import type { Hashing } from './content/hashing.js'
import { type EnqueueRefs, encodeReferrer } from './content/referrer.js'
import { blockOwner } from './content/refs.js'
import { EventDelivery, type EventOptions } from './events/delivery.js'
import { EVENT_TREES } from './events/queue.js'
import { COMMITS_TREE } from './k2v/commits.js'
import { INDEX_TREE } from './k2v/counts.js'
import { DOTS_TREE } from './k2v/dots.js'
import { Polls } from './k2v/polls.js'
import { K2vStore } from './k2v/store.js'
import { UTC_CALENDAR } from './lifecycle/rules.js'
import { LifecycleWalk } from './lifecycle/walk.js'
import { type LifecycleOptions, LifecycleWorker } from './lifecycle/worker.js'
import { Listing } from './listing/objects.js'
import { VersionListing } from './listing/versions.js'
import { DAILY_RUNS_TREE } from './upkeep/daily-runs.js'
import { DeletedBuckets } from './upkeep/deleted-buckets.js'
import { OrphanWorker } from './upkeep/orphans.js'
import { PromotedCounts } from './upkeep/promoted-counts.js'
import { PURGE_TREE, Purge } from './upkeep/purge.js'
import { isGone, stillRefers } from './upkeep/referrers.js'
import { deletedUpload, type PartRow, partTable, type UploadRow, uploadTable } from './uploads/tables.js'
import { Uploads } from './uploads/uploads.js'
import { CONTEST_TREES, Contests } from './versions/contests.js'
import { COUNTED_ONCE_TREE } from './versions/counting.js'
import { Fates } from './versions/fates.js'
import { Objects } from './versions/objects.js'
import type { VersionRecord } from './versions/record.js'
import { type ContentHooks, objectTable, versionTable } from './versions/tables.js'

/** Names of the model's tables. */
export const TABLE_NAMES = [
  'object',
  'version',
  'list',
  'upload',
  'part',
  'bucket',
  'alias',
  'key',
  'admin_token',
  'k2v_item',
] as const

/** Trees of the Db that the model needs. */
export const MODEL_TREES: readonly TreeName[] = [
  ...tableTrees(...TABLE_NAMES.map((name) => ({ name }))),
  COUNTER_TREE,
  COUNTED_ONCE_TREE,
  DECISION_TREE,
  PURGE_TREE,
  DAILY_RUNS_TREE,
  INDEX_TREE,
  COMMITS_TREE,
  DOTS_TREE,
  ...CONTEST_TREES,
  ...EVENT_TREES,
]

export interface ModelDeps {
  env: TableEnv
  tables: TableSet
  blocks: Blocks
  /** See ReferenceQueue.enqueue; `source` is what `stillRefers` asks for. */
  enqueueRefs(tx: Tx, owner: Buffer, hashes: readonly Buffer[], deleted: boolean, source: Buffer): void
  hashing: Hashing
  /** See BlobStore. */
  recycle?: (block: Buffer) => void
  /** Size of the blocks that bodies are cut into, in bytes. */
  blockBytes: number
  /** The longest content kept in its row instead of in blocks, in bytes. */
  inlineBytesMax: number
  /** Blocks of one body that are stored at the same time. */
  blocksInFlight: number
  /** Memory for blocks of all bodies on their way in, in bytes. */
  memoryBytes: number
  /** How long lists of deleted versions are kept (see Purge). */
  listsGraceMs?: number | undefined
  /** How long losing conditional writes may still be finished (see Contests). */
  contestsMs?: number | undefined
  /** Whether names of buckets may have parts that begin with "xn--"; unless told, they may not. */
  allowPunycode?: boolean | undefined
  /** See ControlFreshness. */
  freshness?: FreshnessOptions
  /** How lifecycle rules count days, and the like; as AWS does by default. */
  lifecycle?: LifecycleOptions
  /** Targets of event notifications, and what messages say of this store. */
  events?: EventOptions
}

/** What the store holds, and the operations on it: everything between the APIs and the replicated tables. */
export class Model implements Service {
  readonly name = 'model'
  /** Whether this node's knowledge of buckets and keys is fresh enough to answer from. */
  readonly freshness: ControlFreshness
  readonly keys: AccessKeys
  readonly adminTokens: AdminTokens
  readonly buckets: Buckets
  readonly objects: Objects
  readonly uploads: Uploads
  readonly listing: Listing
  readonly versionListing: VersionListing
  readonly blobs: BlobStore
  readonly usage: Usage
  readonly purge: Purge
  readonly contests: Contests
  readonly lifecycle: LifecycleWorker
  readonly orphans: OrphanWorker
  readonly deletedBuckets: DeletedBuckets
  readonly events: EventDelivery
  readonly k2v: K2vStore
  readonly k2vPolls: Polls
  readonly tables: {
    object: Table<VersionRecord>
    version: Table<VersionRecord>
    list: Table<BlockListRow>
    upload: Table<UploadRow>
    part: Table<PartRow>
    bucket: Table<FieldRow>
    alias: Table<FieldRow>
    key: Table<FieldRow>
    adminToken: Table<FieldRow>
  }
  /** Queues references of a row once more; those that are known cost nothing further. */
  readonly enqueueRefs: EnqueueRefs
  readonly #services: Services
  readonly #copyVotes: (partition: number) => boolean
  readonly #holdsCopy: (partition: number) => boolean
  /** Whether a change of an object's row is changing the version table right now. */
  #rowMoves = false

  constructor({
    env,
    tables,
    blocks,
    enqueueRefs: enqueue,
    hashing,
    recycle,
    lifecycle,
    events,
    listsGraceMs,
    contestsMs,
    freshness: freshnessOptions,
    allowPunycode = false,
    ...sizes
  }: ModelDeps) {
    const { db, transport, quorum, placement, hlc, random, clock, log } = env
    const enqueueRefs: EnqueueRefs = (tx, of, hashes, deleted) =>
      enqueue(tx, blockOwner(of.id), hashes, deleted, encodeReferrer(of))
    this.enqueueRefs = enqueueRefs
    this.#copyVotes = (partition) => tables.standing.votes(partition)
    this.#holdsCopy = (partition) => tables.standing.isOwn(partition)
    const hooks: ContentHooks = {
      enqueueRefs,
      purgeLists: (tx, bucket, owner) => this.purge.enqueue(tx, 'lists', bucket, owner),
      replaced: (tx, row) => this.contests.replaced(tx, row),
      doubted: (tx, row) => this.contests.doubted(tx, row),
      placed: (tx, version) => this.contests.placed(tx, version),
      unplaced: (tx, version) => this.contests.unplaced(tx, version),
      noncurrent: (reader, bucket, sortKey) => this.tables.version.local.getIntact(reader, bucket, sortKey),
      currentStored: (reader, bucket, key) => this.tables.object.local.getIntact(reader, bucket, key),
      current: (reader, bucket, key) => this.tables.object.local.getShown(reader, bucket, key),
      nextShown: (bucket, key) => this.tables.object.local.nextShown(bucket, key),
      endUpload: (tx, bucket, key, id) =>
        this.tables.upload.local.update(tx, deletedUpload({ bucket, key, id })),
      updateNoncurrent: (tx, record) => {
        this.#rowMoves = true
        try {
          this.tables.version.local.update(tx, record)
        } finally {
          this.#rowMoves = false
        }
      },
      changed: (tx, before, after) => this.events.changed(tx, before, after),
      // Others may have taken the place of a version before any node had it as the current one.
      noncurrentCame: (tx, version) => {
        if (!this.#rowMoves) this.events.changed(tx, undefined, version)
      },
      // A version that a row's own change clears away is part of that change's event.
      noncurrentDeleted: (tx, version) => {
        if (!this.#rowMoves) this.events.noncurrentDeleted(tx, version)
      },
    }
    const controlRowChanged = () => this.freshness.changed()
    const t = {
      object: tables.add(objectTable(hooks)),
      version: tables.add(versionTable(() => hooks)),
      list: tables.add(blockListTable(enqueueRefs)),
      upload: tables.add(uploadTable((tx, bucket, id) => this.purge.enqueue(tx, 'parts', bucket, id))),
      part: tables.add(partTable(() => hooks)),
      bucket: tables.add(fieldTable('bucket', controlRowChanged)),
      alias: tables.add(fieldTable('alias', controlRowChanged)),
      key: tables.add(
        fieldTable('key', (id) => {
          this.keys.index.changed(id.toString())
          controlRowChanged()
        }),
      ),
      adminToken: tables.add(fieldTable('admin_token')),
    }
    this.tables = t
    this.purge = new Purge({ db, tables: t, holds: this.#holdsCopy, clock, random, log, listsGraceMs })
    this.contests = new Contests({
      ...{ db, clock, random, log, transport, quorum, placement, oldMs: contestsMs },
      objects: t.object,
      versions: t.version,
    })
    this.blobs = new BlobStore({ blocks, lists: t.list, hashing, recycle, random, clock, ...sizes })
    this.objects = new Objects({
      objects: t.object,
      versions: t.version,
      lists: t.list,
      blobs: this.blobs,
      clock,
      hlc,
      random,
    })
    this.uploads = new Uploads({
      uploads: t.upload,
      parts: t.part,
      lists: t.list,
      blobs: this.blobs,
      objects: this.objects,
      hlc,
      random,
    })
    const current = (bucket: Buffer, key: Buffer) => this.objects.current(bucket, key)
    this.listing = new Listing({ db, objects: t.object, current, transport, quorum, placement, clock })
    this.versionListing = new VersionListing({
      db,
      objects: t.object,
      versions: t.version,
      store: this.objects,
      transport,
      quorum,
      placement,
      clock,
    })
    this.usage = new Usage({ db, transport, quorum, placement, objects: t.object })
    this.freshness = new ControlFreshness(env, tables, [t.bucket, t.alias, t.key], freshnessOptions)
    const { freshness } = this
    const decisions = new FieldDecisions({
      ...{ db, transport, quorum, placement, hlc, clock, random },
      tables: [t.alias, t.key],
      beforeVote: async () => {
        await freshness.whenWhole()
        tables.standing.checkVote(FULL_COPY)
        // Majorities decide here, also where one copy is enough for a read.
        tables.standing.checkConfirmed()
        tables.lostVotes.check()
      },
    })
    this.keys = new AccessKeys({ db, clock, keys: t.key, decisions, freshness, hlc, random })
    this.adminTokens = new AdminTokens({ db, clock, tokens: t.adminToken, hlc, random })
    this.buckets = new Buckets({
      ...{ db, clock, decisions, freshness, hlc, random, allowPunycode },
      buckets: t.bucket,
      aliases: t.alias,
      keys: this.keys,
    })
    const walks = lifecycle ?? { calendar: UTC_CALENDAR }
    const { objects, uploads, buckets } = this
    this.lifecycle = new LifecycleWorker(
      {
        ...{ db, clock, random, log, placement, transport, buckets },
        walk: new LifecycleWalk({ db, clock, hlc, random, log, buckets, objects, uploads, tables: t }, walks),
      },
      walks,
    )
    const { contests } = this
    const fates = new Fates({
      objects: t.object,
      versions: t.version,
      contests,
      transport,
      quorum,
      placement,
    })
    this.events = new EventDelivery(
      {
        ...{ db, clock, random, log, placement, transport, buckets },
        tookEffect: (row) => fates.of(row),
      },
      events ?? { targets: [], region: '', hostId: '' },
    )
    this.k2v = new K2vStore(env, tables)
    this.k2vPolls = new Polls(env, this.k2v)
    this.deletedBuckets = new DeletedBuckets({ db, clock, log, tables: t, objects, uploads, k2v: this.k2v })
    const { deletedBuckets } = this
    this.orphans = new OrphanWorker({
      ...{ db, clock, random, log, placement, transport, deletedBuckets },
      tables: t,
    })
    const promotedCounts = new PromotedCounts({
      ...{ db, clock, random, log, copies: hooks },
      versions: t.version.local,
    })
    this.#services = new Services(this.name, [
      this.freshness,
      this.purge,
      this.contests,
      this.events,
      this.lifecycle,
      this.orphans,
      promotedCounts,
    ])
  }

  /** Whether the row that queued a reference, with that `source`, still refers to the block. */
  stillRefers(reader: Reader, source: Buffer): 'yes' | 'no' | 'unknown' {
    return stillRefers(reader, this.tables, this.#copyVotes, source)
  }

  /** The same, by a quorum: whether it no longer does. @throws CarportError QuorumUnavailable, LayoutNotReady */
  isGone(reader: Reader, source: Buffer): Promise<boolean> {
    return isGone(reader, this.tables, this.#holdsCopy, source)
  }

  async start(): Promise<void> {
    await this.keys.start()
    return this.#services.start()
  }

  stop(): Promise<void> {
    this.k2vPolls.stop()
    return this.#services.stop()
  }
}
