import { COUNTER_TREE, readCounts } from '../../model/buckets/counters.js'
import { GC_TREE } from '../../table/row-keys.js'
import type { Core } from '../core.js'
import { counter, gauge } from './families.js'
import type { Registry } from './prom-client.js'

/** Buckets that have series of their own: those with the first ids. */
const BUCKETS_MAX = 200

export interface StorageFacts {
  /** The most memory for blocks on their way to replicas, in bytes. */
  ramBufferBytes: number
  /** zstd's level; null: blocks are stored as they are. */
  compressionLevel: number | null
}

/** Blocks, tables, queues and buckets of this node. All figures are counters that are kept anyway: nothing is walked. */
export function storageMetrics(registry: Registry, core: Core, facts: StorageFacts): void {
  blockMetrics(registry, core, facts)
  queueMetrics(registry, core)
  rowMetrics(registry, core)
  requestMemoryMetrics(registry, core)
  bucketMetrics(registry, core)
}

function blockMetrics(registry: Registry, { blocks }: Core, facts: StorageFacts): void {
  type Stats = ReturnType<typeof blocks.stats>
  const block = (kind: typeof gauge, name: string, help: string, value: (stats: Stats) => number) =>
    kind(registry, name, help, [], (tell) => tell({}, value(blocks.stats())))

  block(counter, 'block_bytes_read', 'Bytes of blocks read from disk', (stats) => stats.bytesRead)
  block(counter, 'block_bytes_written', 'Bytes of blocks written to disk', (stats) => stats.bytesWritten)
  block(gauge, 'block_ram_buffer_free_kb', 'KiB free for blocks on their way to replicas', (stats) =>
    Math.max(0, Math.floor((facts.ramBufferBytes - stats.writeBytesInFlight) / 1024)),
  )
  if (facts.compressionLevel !== null) {
    const level = facts.compressionLevel
    block(gauge, 'block_compression_level', 'The level of zstd', () => level)
  }
  block(counter, 'block_delete_counter', 'Blocks deleted from disk', (stats) => stats.resync.deleted)
  block(counter, 'block_corruption_counter', 'Damaged blocks that were found', (stats) => stats.corruptions)
  block(counter, 'block_resync_counter', 'Blocks that resync fetched', (stats) => stats.resync.fetched)
  block(
    counter,
    'block_resync_error_counter',
    'Attempts of resync that failed',
    ({ resync }) => resync.failures,
  )
  block(gauge, 'block_resync_queue_length', 'Blocks in the resync queue', (stats) => stats.resync.queued)
  block(
    gauge,
    'block_resync_errored_blocks',
    'Blocks that could not be fetched',
    ({ resync }) => resync.errors,
  )
  block(gauge, 'block_rc_size', 'Blocks with a counter of references', (stats) => stats.known)
  block(gauge, 'carport_block_claims', 'Blocks claimed by uploads in progress', (stats) => stats.claims)
  block(
    counter,
    'carport_block_remote_reads_total',
    'Blocks read from other nodes',
    (stats) => stats.remoteGets,
  )
  block(gauge, 'carport_block_writes_waiting', 'Blocks that wait for memory', (stats) => stats.writesWaiting)
  block(gauge, 'carport_scrub_running', 'Whether a scrub runs', ({ scrub }) => (scrub.running ? 1 : 0))
  block(
    gauge,
    'carport_scrub_progress',
    'The share of the running scrub that is done',
    ({ scrub }) => scrub.progress,
  )
  block(
    gauge,
    'carport_scrub_last_completed_timestamp_seconds',
    'When a scrub last ended; 0: never',
    ({ scrub }) => scrub.completedMs / 1000,
  )
}

function queueMetrics(registry: Registry, { blocks, tables, model, parts }: Core): void {
  const { db, clock } = parts
  const queues: Record<string, { length: () => number; ageMs?: () => number }> = {
    block_references: { length: () => blocks.refs.stats().queued, ageMs: () => blocks.refs.oldestAgeMs() },
    block_resync_due: {
      length: () => blocks.local.counts.due(db, clock.nowMs(), 1).length,
      ageMs: () => Math.max(0, clock.nowMs() - (blocks.local.counts.nextDueMs(db) ?? clock.nowMs())),
    },
    missed_writes: {
      length: () => tables.retry.status().entries,
      ageMs: () => tables.retry.status().waitingMs,
    },
    purge: { length: () => model.purge.backlog, ageMs: () => model.purge.overdueMs() },
    tombstones: { length: () => db.count(GC_TREE), ageMs: () => tables.gc.overdueMs() },
  }
  gauge(registry, 'carport_queue_length', 'Entries of a queue', ['queue'], (tell) => {
    for (const [queue, { length }] of Object.entries(queues)) tell({ queue }, length())
  })
  gauge(registry, 'carport_queue_oldest_seconds', 'How long the oldest entry waits', ['queue'], (tell) => {
    for (const [queue, { ageMs }] of Object.entries(queues)) if (ageMs) tell({ queue }, ageMs() / 1000)
  })
}

function rowMetrics(registry: Registry, { tables, model, parts, blockRefs }: Core): void {
  const { db } = parts
  const replicated = [...Object.values(model.tables), blockRefs]
  gauge(registry, 'table_size', 'Rows of a table on this node', ['table_name'], (tell) => {
    for (const { local } of replicated) tell({ table_name: local.schema.name }, db.count(local.trees.head))
  })
  const synced = (name: string, help: string, key: 'rowsPulled' | 'rowsPushed') =>
    counter(registry, name, help, ['table_name'], (tell) => {
      for (const status of tables.sync.syncStatus()) tell({ table_name: status.table }, status[key])
    })
  synced('table_sync_items_received', 'Rows that anti-entropy fetched', 'rowsPulled')
  synced('table_sync_items_sent', 'Rows that anti-entropy sent', 'rowsPushed')
  gauge(registry, 'table_gc_todo_queue_length', 'Tombstones that wait, of all tables', [], (tell) =>
    tell({}, db.count(GC_TREE)),
  )
  gauge(
    registry,
    'carport_damaged_rows',
    'Damaged rows that are known: those still looked for, and those of which no replica has a copy',
    ['state'],
    (tell) => {
      const { known, givenUp } = tables.damaged.status()
      tell({ state: 'known' }, known)
      tell({ state: 'given_up' }, givenUp)
    },
  )
}

/** The memory that requests take, and the requests that wait: for such memory, or as polls of K2V. */
function requestMemoryMetrics(registry: Registry, { model }: Core): void {
  gauge(
    registry,
    'carport_request_memory_bytes',
    'Memory that requests have taken of request_memory_max',
    [],
    (tell) => tell({}, model.blobs.memory.usedBytes),
  )
  gauge(registry, 'carport_requests_waiting', 'Requests that wait for such memory', [], (tell) =>
    tell({}, model.blobs.memory.waiting),
  )
  gauge(registry, 'carport_k2v_polls', 'Polls of K2V that wait on this node', [], (tell) =>
    tell({}, model.k2vPolls.size),
  )
}

function bucketMetrics(registry: Registry, { model, parts }: Core): void {
  const { db } = parts
  gauge(registry, 'carport_buckets', 'Buckets of the cluster', [], (tell) =>
    tell({}, db.count(model.tables.bucket.local.trees.head)),
  )
  const bucketGauge = (
    name: string,
    help: string,
    value: (counts: ReturnType<typeof readCounts>) => number,
  ): void =>
    gauge(registry, name, `${help}, as this replica counts; of at most 200 buckets`, ['bucket'], (tell) => {
      for (const key of db.keys(COUNTER_TREE, { limit: BUCKETS_MAX })) {
        const id = Buffer.from(key)
        const bucket = model.buckets.byId(id)
        if (bucket) tell({ bucket: bucket.aliases[0] ?? bucket.hexId }, value(readCounts(db, id)))
      }
    })
  bucketGauge('carport_bucket_objects', 'Objects of a bucket', (counts) => counts.objects)
  bucketGauge('carport_bucket_bytes', 'Bytes of all versions of a bucket', (counts) => counts.bytes)
  bucketGauge(
    'carport_bucket_uploads',
    'Multipart uploads in progress in a bucket',
    (counts) => counts.uploads,
  )
}
