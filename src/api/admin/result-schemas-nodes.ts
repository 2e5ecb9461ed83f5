/** The results of the operations that run on nodes (see result-schemas.ts). */
import { z } from 'zod'
import { freeSpace, nodeAssignedRole } from './result-schemas-cluster.js'

const count = z.int().nonnegative()

/** Answers of several nodes, by node id. */
export function ofNodes<T extends z.ZodType>(answer: T) {
  return z.object({ success: z.record(z.string(), answer), error: z.record(z.string(), z.string()) })
}

export const nodeInfo = z.object({
  nodeId: z.string(),
  garageVersion: z.string(),
  garageFeatures: z.array(z.string()),
  /** What the program runs on; Garage has the version of its compiler here. */
  rustVersion: z.string(),
  dbEngine: z.string(),
  hostname: z.string().nullable(),
  addr: z.string().nullable(),
  isUp: z.boolean(),
  role: nodeAssignedRole.nullable(),
  draining: z.boolean(),
  dataPartition: freeSpace.nullable(),
  metadataPartition: freeSpace.nullable(),
  /** How clients of S3 and K2V reach this node, as far as its configuration tells. */
  connectionParameters: z.object({
    region: z.string(),
    s3Endpoint: z.string().nullable(),
    s3UsePathStyle: z.boolean().nullable(),
    k2vEndpoint: z.string().nullable(),
  }),
})

export const nodeStatistics = z.object({
  freeform: z.string(),
  tableStats: z.array(
    z.object({
      tableName: z.string(),
      items: count,
      /** Leaves of the fingerprint tree. */
      merkleItems: count,
      /** Always 0: a row's fingerprint changes in the row's own transaction. */
      merkleQueueLen: count,
      /** Writes that wait for a replica that missed them, of all tables: one queue serves them all. */
      insertQueueLen: count,
      /** Tombstones that wait to be collected, of all tables. */
      gcQueueLen: count,
    }),
  ),
  blockManagerStats: z.object({ rcEntries: count, resyncQueueLen: count, resyncErrors: count }),
})

/** What a node has still to do until it holds all that it must have and nobody waits for it: all zero when it caught up. */
const workLeft = {
  /** Blocks that are referenced and not stored there yet. */
  blocksToFetch: count,
  /** Blocks that could not be fetched, or given to their new nodes, at the last attempt. */
  blocksFailed: count,
  /** Partitions, of each table, to be compared with other replicas. */
  partitionsToCompare: count,
  /** Partitions, of each table, to be handed over to the nodes that have them now. */
  partitionsToHandOver: count,
  /** Copies of partitions that do not count in reads yet. */
  copiesJoining: count,
  /** Writes that replicas missed and that this node sends to them. */
  writesToSend: count,
  /** Blocks fetched since there was last nothing to do, and their bytes. */
  blocksFetched: count,
  bytesFetched: count,
}

export const nodeProgress = z.object({
  ...workLeft,
  /** Over the last minute at the most; null while it cannot be told. */
  blocksPerSec: z.number().nullable(),
  bytesPerSec: z.number().nullable(),
  /** At that rate. 0 when nothing is to be done; null when it cannot be told, as before all rows are there. */
  secondsLeft: count.nullable(),
  /** Repairs under way, such as a rebalance of the data folders. */
  repairs: z.array(
    z.object({
      name: z.string(),
      checked: count,
      changed: count,
      /** The share that is done, 0 to 1; null if it cannot be told. */
      share: z.number().nullable(),
      secondsLeft: count.nullable(),
    }),
  ),
})

export const clusterProgress = z.object({
  /** Whether all nodes of the layout answered, none has anything to do, and one version of the layout is live. */
  done: z.boolean(),
  /** Until the last node is done; 0 when all are, null when it cannot be told. */
  secondsLeft: count.nullable(),
  layout: z.object({
    /** The oldest version that still counts, and the newest: equal unless data moves from the one to the other. */
    oldestVersion: count,
    newestVersion: count,
    /** The nodes that this waits for. */
    behind: z.array(z.string()),
  }),
  /** The sums over all nodes that answered. */
  total: z.object({ ...workLeft, blocksPerSec: z.number(), bytesPerSec: z.number() }),
  /** Nodes without a role whose data the others have: they may be stopped for good. */
  safeToStop: z.array(z.string()),
  nodes: z.record(z.string(), nodeProgress),
  /** Nodes that did not answer, and why: what they have to do is not known. */
  unknown: z.record(z.string(), z.string()),
})

const workerState = z.union([
  z.enum(['busy', 'idle', 'done']),
  z.object({ throttled: z.object({ durationSecs: z.number() }) }),
])

export const workerInfo = z.object({
  id: count,
  name: z.string(),
  state: workerState,
  errors: count,
  consecutiveErrors: count,
  lastError: z.object({ message: z.string(), secsAgo: count }).nullable(),
  persistentErrors: count.nullable(),
  queueLength: count.nullable(),
  tranquility: count.nullable(),
  progress: z.string().nullable(),
  /** Beyond Garage: how far a repair or a scrub is, `done` from 0 to 1 where that is known. Null for all other workers. */
  work: z.object({ done: z.number().nullable(), checked: count, changed: count }).nullable(),
  freeform: z.array(z.string()),
})

export const blockError = z.object({
  blockHash: z.string(),
  refcount: count,
  errorCount: count,
  lastTrySecsAgo: count,
  nextTryInSecs: count,
})

export const blockBacklink = z.union([
  z.object({ object: z.object({ bucketId: z.string(), key: z.string() }) }),
  z.object({
    upload: z.object({
      uploadId: z.string(),
      uploadDeleted: z.boolean(),
      uploadGarbageCollected: z.boolean(),
      bucketId: z.string().nullable(),
      key: z.string().nullable(),
    }),
  }),
])

export const blockInfo = z.object({
  blockHash: z.string(),
  refcount: count,
  versions: z.array(
    z.object({
      versionId: z.string(),
      refDeleted: z.boolean(),
      versionDeleted: z.boolean(),
      garbageCollected: z.boolean(),
      backlink: blockBacklink.nullable(),
    }),
  ),
})

export const nodeResults = {
  'node.info': ofNodes(nodeInfo),
  'node.statistics': ofNodes(nodeStatistics),
  'node.progress': ofNodes(nodeProgress),
  'cluster.progress': clusterProgress,

  'worker.list': ofNodes(z.array(workerInfo)),
  'worker.info': ofNodes(workerInfo),
  'worker.getVariable': ofNodes(z.record(z.string(), z.string())),
  'worker.setVariable': ofNodes(z.object({ variable: z.string(), value: z.string() })),

  'block.listErrors': ofNodes(z.array(blockError)),
  'block.info': ofNodes(blockInfo),
  'block.retryResync': ofNodes(z.object({ count })),
  'block.purge': ofNodes(
    z.object({
      blocksPurged: count,
      blockRefsPurged: count,
      versionsDeleted: count,
      objectsDeleted: count,
      uploadsDeleted: count,
    }),
  ),

  'repair.launch': ofNodes(z.null()),
  'meta.snapshot': ofNodes(z.null()),
}
