import type { WorkerStats } from '../../../util/worker.js'
import type { WorkerInfo } from '../types.js'
import type { AdminContext } from './context.js'
import { UnknownThing } from './lookup-error.js'

/** Due blocks that are looked at to count those that are not missing. */
const DUE_MAX = 10_000

/** The background services of this node and the repairs that were started on it, numbered from 1. */
export function listWorkers(context: AdminContext): WorkerInfo[] {
  const services = [
    syncWorker(context),
    retryWorker(context),
    worker('Collection of table tombstones', {
      ...loop(context, context.tables.gc.workerStats()),
      freeform: ['deletes rows that were deleted on every replica'],
    }),
    damagedRowsWorker(context),
    purgeWorker(context),
    contestsWorker(context),
    lifecycleWorker(context),
    orphansWorker(context),
    refsWorker(context),
    ...resyncWorkers(context),
    scrubWorker(context),
    ...context.repairs.list().map((run) =>
      worker(`Repair: ${run.name}`, {
        state: run.state,
        errors: run.error ? 1 : 0,
        consecutiveErrors: run.error ? 1 : 0,
        lastError: run.error ? agoOf(context, run.error) : null,
        progress: run.progress.done === undefined ? null : percent(run.progress.done),
        work: {
          done: run.progress.done ?? null,
          checked: run.progress.checked,
          changed: run.progress.changed,
        },
        freeform: [`${run.progress.checked} checked, ${run.progress.changed} changed`],
      }),
    ),
  ]
  return services.map((info, i) => ({ ...info, id: i + 1 }))
}

/** @throws CarportError NotFound */
export function workerById(context: AdminContext, id: number): WorkerInfo {
  const found = listWorkers(context).find((info) => info.id === id)
  if (!found) throw new UnknownThing('Worker', `no worker ${id}: "carport worker list" shows the workers`)
  return found
}

function worker(name: string, values: Partial<WorkerInfo>): WorkerInfo {
  return {
    id: 0,
    name,
    state: 'idle',
    errors: 0,
    consecutiveErrors: 0,
    lastError: null,
    persistentErrors: null,
    queueLength: null,
    tranquility: null,
    progress: null,
    work: null,
    freeform: [],
    ...values,
  }
}

function loop(context: AdminContext, stats: WorkerStats): Partial<WorkerInfo> {
  return {
    state: stats.busy ? 'busy' : 'idle',
    queueLength: stats.queueLength ?? null,
    errors: stats.errors,
    consecutiveErrors: stats.consecutiveErrors,
    lastError: stats.lastError ? agoOf(context, stats.lastError) : null,
  }
}

function agoOf({ clock }: AdminContext, error: { message: string; atMs: number }) {
  return { message: error.message, secsAgo: Math.max(0, Math.round((clock.nowMs() - error.atMs) / 1000)) }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`
}

function syncWorker(context: AdminContext): WorkerInfo {
  const tables = context.tables.sync.syncStatus()
  const { partitionsToCompare, partitionsToHandOver } = context.catchUp.state()
  const running = tables.filter((table) => table.running)
  return worker('Anti-entropy of tables', {
    ...loop(context, context.tables.sync.workerStats()),
    ...(running.length > 0 && { state: 'busy' as const }),
    queueLength: partitionsToCompare + partitionsToHandOver,
    freeform: [
      ...copiesOf(context),
      ...tables.map((table) => {
        const failed = table.failedPeers.length > 0 ? `, ${table.failedPeers.length} peers not compared` : ''
        const handed =
          table.foreignPartitions > 0 ? `, ${table.foreignPartitions} partitions to hand over` : ''
        const open = table.openPartitions > 0 ? `, ${table.openPartitions} partitions to compare` : ''
        const pass =
          table.lastPassMs === undefined ? 'no pass yet' : `pass ${secsAgo(context, table.lastPassMs)} s ago`
        return `${table.table}: ${table.running ? 'comparing, ' : ''}${pass}${failed}${open}${handed}`
      }),
    ],
  })
}

function copiesOf({ tables }: AdminContext): string[] {
  const { whole, total } = tables.standing.counts()
  const aside = tables.asideCount()
  return [
    ...(whole < total
      ? [`${total - whole} of ${total} partitions not compared with enough replicas yet`]
      : []),
    ...(aside > 0 ? [`${aside} rows put aside, that no other replica has`] : []),
  ]
}

function secsAgo({ clock }: AdminContext, ms: number): number {
  return Math.max(0, Math.round((clock.nowMs() - ms) / 1000))
}

function retryWorker(context: AdminContext): WorkerInfo {
  return worker('Retry of missed writes', loop(context, context.tables.retry.workerStats()))
}

function damagedRowsWorker(context: AdminContext): WorkerInfo {
  const { damaged } = context.tables
  const { found, repaired, replaced, discarded } = damaged.counts
  const { givenUp } = damaged.status()
  return worker('Repair of damaged rows', {
    ...loop(context, damaged.workerStats()),
    freeform: [
      `${found} found, ${repaired + replaced} fetched from other replicas, ${discarded} let go of since the start`,
      ...(givenUp > 0 ? [`${givenUp} lost: no other replica has them`] : []),
    ],
  })
}

function purgeWorker(context: AdminContext): WorkerInfo {
  const stats = context.model.purge.workerStats()
  return worker('Purge of deleted rows', {
    ...loop(context, stats),
    state: stats.queueLength ? 'busy' : 'idle',
  })
}

function contestsWorker(context: AdminContext): WorkerInfo {
  const { contests } = context.model
  return worker('Withdrawal of conditional writes that lost', {
    ...loop(context, contests.workerStats()),
    freeform: [`${contests.withdrawn} withdrawn since the start`],
  })
}

function lifecycleWorker(context: AdminContext): WorkerInfo {
  const { lifecycle } = context.model
  const { bucket, expired, deletedVersions, endedUploads } = lifecycle.status()
  return worker('Lifecycle of objects', {
    ...loop(context, lifecycle.workerStats()),
    freeform: [
      ...(bucket === undefined ? [] : [`at bucket ${bucket}`]),
      `${expired} objects expired, ${deletedVersions} versions deleted, ${endedUploads} uploads ended since the start`,
    ],
  })
}

function orphansWorker(context: AdminContext): WorkerInfo {
  const { orphans, deletedBuckets } = context.model
  const { lists, parts } = orphans.counts
  const { versions, uploads, items } = deletedBuckets.counts
  return worker('Collection of orphaned rows', {
    ...loop(context, orphans.workerStats()),
    freeform: [
      `${lists} lists, ${parts} parts deleted since the start`,
      `of deleted buckets: ${versions} versions, ${uploads} uploads, ${items} K2V items`,
    ],
  })
}

function refsWorker(context: AdminContext): WorkerInfo {
  const { refs } = context.blocks
  const stats = refs.workerStats()
  const { failures, carried } = refs.stats()
  return worker('Block references', {
    ...loop(context, stats),
    state: stats.queueLength ? 'busy' : 'idle',
    errors: stats.errors + failures,
    freeform: [`${carried} references carried since the start`],
  })
}

function resyncWorkers(context: AdminContext): WorkerInfo[] {
  const { blocks, clock, db, catchUp } = context
  const { queued, errors, busy, failures, fetched, deleted } = blocks.resync.stats()
  const { blocksToFetch, blocksFetched, secondsLeft } = catchUp.state()
  const { workers, tranquility } = blocks.resync.settings
  const last = blocks.resync
    .listErrors()
    .reduce<{ message: string; lastTryMs: number } | undefined>(
      (latest, error) => (latest && latest.lastTryMs >= error.lastTryMs ? latest : error),
      undefined,
    )
  // All workers share one queue and its failures, which are shown at the first.
  return Array.from({ length: workers }, (_, i) =>
    worker(`Block resync #${i + 1}`, {
      state: busy > i ? 'busy' : 'idle',
      tranquility,
      ...(i === 0 && {
        // Entries for later are no work: those of writes whose references have not come, and of deleted blocks' grace.
        queueLength: blocks.local.counts.pending(db, clock.nowMs(), DUE_MAX),
        progress: blocksToFetch > 0 ? percent(blocksFetched / (blocksFetched + blocksToFetch)) : null,
        persistentErrors: errors,
        errors: failures,
        lastError: last ? agoOf(context, { message: last.message, atMs: last.lastTryMs }) : null,
        freeform: [
          `${fetched} blocks fetched, ${deleted} deleted since the start; ${queued} known that are to be looked at some day`,
          ...(blocksToFetch > 0 ? [`${blocksToFetch} blocks to fetch, ${timeLeft(secondsLeft)}`] : []),
        ],
      }),
    }),
  )
}

function timeLeft(seconds: number | null): string {
  return seconds === null ? 'the time left is not known' : `about ${seconds} s left`
}

function scrubWorker(context: AdminContext): WorkerInfo {
  const { blocks, clock, scrubs } = context
  const status = blocks.scrub.status()
  const nowMs = clock.nowMs()
  const isPaused = status.pausedUntilMs > nowMs
  const time = (ms: number) => new Date(ms).toISOString()
  const freeform = [
    ...(scrubs ? [] : ['switched off by disable_scrub']),
    ...(isPaused ? [`paused until ${time(status.pausedUntilMs)}`] : []),
    ...(status.completedMs > 0 ? [`last completed at ${time(status.completedMs)}`] : []),
    ...(status.running || !scrubs ? [] : [`next one at ${time(status.nextMs)}`]),
    ...(status.corruptions > 0 ? [`${status.corruptions} corrupted blocks in this or the last one`] : []),
    ...(status.missing > 0 ? [`${status.missing} missing blocks`] : []),
    ...(status.unreadable > 0 ? [`${status.unreadable} blocks or folders could not be read`] : []),
    ...(status.rows > 0 ? [`${status.rows} rows verified, ${status.damagedRows} damaged`] : []),
    ...(status.mendedRows > 0 ? [`${status.mendedRows} entries of indexes put right`] : []),
  ]
  return worker('Block scrub', {
    ...loop(context, blocks.scrub.workerStats()),
    state: status.running && !isPaused ? 'busy' : 'idle',
    tranquility: status.tranquility,
    progress: status.running ? percent(status.progress) : null,
    work: {
      done: status.running ? status.progress : null,
      checked: status.rows,
      changed: status.mendedRows,
    },
    freeform,
  })
}
