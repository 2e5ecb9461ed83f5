import type { WorkerStats } from '../../util/worker.js'
import type { Core } from '../core.js'
import { counter, gauge, SECONDS_BUCKETS } from './families.js'
import { Histogram, type Registry } from './prom-client.js'

/** The background workers of a node, by their names in metrics. */
export function workersOf({ blocks, tables, model }: Core): [name: string, stats: WorkerStats][] {
  return [
    ['table_sync', tables.sync.workerStats()],
    ['table_retry', tables.retry.workerStats()],
    ['table_gc', tables.gc.workerStats()],
    ['damaged_rows', tables.damaged.workerStats()],
    ['purge', model.purge.workerStats()],
    ['contests', model.contests.workerStats()],
    ['lifecycle', model.lifecycle.workerStats()],
    ['orphans', model.orphans.workerStats()],
    ['block_references', blocks.refs.workerStats()],
    ['scrub', blocks.scrub.workerStats()],
    ...blocks.resync.workerStats().map((stats, i): [string, WorkerStats] => [`block_resync_${i + 1}`, stats]),
  ]
}

/** How the background workers fare: a fixed number of series, since resync has at most eight. */
export function workerMetrics(registry: Registry, core: Core): void {
  const { blocks } = core
  const workers = () => workersOf(core)
  gauge(registry, 'carport_worker_busy', 'Whether a background worker works now', ['worker'], (tell) => {
    for (const [worker, { busy }] of workers()) tell({ worker }, busy ? 1 : 0)
  })
  counter(
    registry,
    'carport_worker_errors_total',
    'Failed runs of a background worker',
    ['worker'],
    (tell) => {
      for (const [worker, { errors }] of workers()) tell({ worker }, errors)
    },
  )
  gauge(
    registry,
    'carport_worker_failing_runs',
    'Failed runs of a background worker since the last one that went through',
    ['worker'],
    (tell) => {
      for (const [worker, { consecutiveErrors }] of workers()) tell({ worker }, consecutiveErrors)
    },
  )
  const looks = new Histogram({
    name: 'block_resync_duration',
    help: 'Seconds that resync took for a block, or for several that it deleted together',
    ...{ registers: [registry], buckets: SECONDS_BUCKETS },
  })
  blocks.resync.onLooked = (tookMs) => looks.observe(tookMs / 1000)
}
