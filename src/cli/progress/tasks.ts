import type { RepairType } from '../../api/admin/operation-schemas.js'
import type { MultiResponse, NodeStatus, WorkerInfo } from '../../api/admin/types.js'

/** The names that `repair` takes on the command line. */
export const REPAIRS: Record<string, Exclude<RepairType, object>> = {
  tables: 'tables',
  blocks: 'blocks',
  versions: 'versions',
  mpu: 'multipartUploads',
  'block-refs': 'blockRefs',
  'block-rc': 'blockRc',
  aliases: 'aliases',
  rebalance: 'rebalance',
  'clear-resync-queue': 'clearResyncQueue',
  'trust-copies': 'trustCopies',
  'restore-aside': 'restoreAside',
  'damaged-rows': 'damagedRows',
}

/** Long work of one node, as it is seen once. */
export interface Task {
  node: string
  /** What is done, such as "repair blocks". */
  name: string
  state: 'running' | 'paused' | 'done' | 'failed'
  /** From 0 to 1; undefined while nobody can tell. */
  done: number | undefined
  /** How much was done, or how much is left where `counts` is "left". */
  count: number
  counts: 'checked' | 'left'
  /** Why it failed, or what came of it. */
  message: string
}

/** By how a worker that is run by an operator begins. */
const REPAIR = 'Repair: '
const SCRUB = 'Block scrub'

/** The name of the task that launching a repair of that type makes. */
export function taskNameOf(repairType: RepairType): string {
  return typeof repairType === 'string' ? repairName(repairType) : 'scrub'
}

function repairName(type: string): string {
  const word = Object.keys(REPAIRS).find((name) => REPAIRS[name] === type)
  return `repair ${word ?? type}`
}

/** The repairs and scrubs among the workers of nodes: those that run, and the last ones that ran. */
export function tasksOfWorkers({ success }: MultiResponse<WorkerInfo[]>): Task[] {
  return Object.entries(success).flatMap(([node, workers]) =>
    workers.flatMap((worker) => {
      const name = worker.name.startsWith(REPAIR)
        ? repairName(worker.name.slice(REPAIR.length))
        : worker.name === SCRUB
          ? 'scrub'
          : undefined
      return name === undefined ? [] : [taskOfWorker(node, name, worker)]
    }),
  )
}

function taskOfWorker(node: string, name: string, worker: WorkerInfo): Task {
  const { state, work, lastError, freeform } = worker
  const busy = state === 'busy' || typeof state === 'object'
  const failed = name !== 'scrub' && lastError !== null
  return {
    node,
    name,
    // A scrub that is paused is idle, and has come somewhere.
    state: busy
      ? 'running'
      : worker.progress !== null && state === 'idle'
        ? 'paused'
        : failed
          ? 'failed'
          : 'done',
    done: work?.done ?? undefined,
    count: work?.checked ?? 0,
    counts: 'checked',
    message: failed ? lastError.message : freeform.join('; '),
  }
}

/** What nodes have yet to fetch or to send, after a change of the layout or an absence: one task for each that has some. */
export function tasksOfNodes(nodes: readonly NodeStatus[]): Task[] {
  return nodes.flatMap(({ id, syncQueueLength, partitions, isUp, role, draining }): Task[] => {
    if (!isUp || (role === null && !draining)) return []
    const left = syncQueueLength ?? 0
    const comparing = partitions !== null && partitions.compared < partitions.total
    const message = comparing
      ? `${partitions.compared} of ${partitions.total} partitions compared`
      : 'in sync'
    const state = left > 0 || comparing ? 'running' : 'done'
    const done = comparing ? partitions.compared / partitions.total : undefined
    return [{ node: id, name: 'sync', state, done, count: left, counts: 'left', message }]
  })
}
