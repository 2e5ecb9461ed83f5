/** The results of the operations on the cluster and its layout (see result-schemas.ts). */
import { z } from 'zod'

const count = z.int().nonnegative()

export const freeSpace = z.object({ available: count, total: count })

/** A role in the layout. `capacity` is in bytes, null for a gateway. */
export const nodeAssignedRole = z.object({
  zone: z.string(),
  tags: z.array(z.string()),
  capacity: count.nullable(),
})

export const nodeStatus = z.object({
  id: z.string(),
  garageVersion: z.string().nullable(),
  hostname: z.string().nullable(),
  /** host:port of the RPC endpoint, as far as it is known. */
  addr: z.string().nullable(),
  isUp: z.boolean(),
  lastSeenSecsAgo: count.nullable(),
  role: nodeAssignedRole.nullable(),
  /** Whether the node is no longer in the newest layout but holds data of an older one that is still live. */
  draining: z.boolean(),
  dataPartition: freeSpace.nullable(),
  metadataPartition: freeSpace.nullable(),
  /** Rows and blocks that this node has yet to fetch or send: zero once it has caught up, null while unknown. */
  syncQueueLength: count.nullable(),
  /** Rows that are damaged on the node and not repaired yet; null if it is down or of an older version. */
  damagedRows: count.nullable(),
  /** Data folders whose disk seems not to be there, or was wiped; null if it is down or of an older version. */
  lostFolders: count.nullable(),
  /** The same under Garage's name. */
  resyncQueueLen: count.nullable(),
  /** How far the node finds its clock ahead of the others' (negative: behind), in ms; null while unknown. */
  clockOffMs: z.number().int().nullable(),
  /** Why the node does not rely on its clock; null if it does. */
  clockDoubt: z.string().nullable(),
  /**
   * Partitions that the node holds (the full-copy tables count as one), and how many of them it has compared with enough
   * other replicas to count in reads; null while unknown.
   */
  partitions: z.object({ compared: count, total: count }).nullable(),
})

export const clusterStatus = z.object({ layoutVersion: count, nodes: z.array(nodeStatus) })

export const clusterHealth = z.object({
  status: z.enum(['healthy', 'degraded', 'unavailable']),
  knownNodes: count,
  connectedNodes: count,
  storageNodes: count,
  /** Storage nodes that are connected. */
  storageNodesUp: count,
  partitions: count,
  partitionsQuorum: count,
  partitionsAllOk: count,
})

export const connectNodeResult = z.object({ success: z.boolean(), error: z.string().nullable() })

export const layoutParameters = z.object({
  zoneRedundancy: z.union([z.literal('maximum'), z.object({ atLeast: count })]),
})

const layoutNodeRole = nodeAssignedRole.extend({
  id: z.string(),
  storedPartitions: count.nullable(),
  usableCapacity: count.nullable(),
})

export const clusterLayout = z.object({
  version: count,
  roles: z.array(layoutNodeRole),
  parameters: layoutParameters,
  partitionSize: count,
  stagedRoleChanges: z.array(
    z.union([
      z.object({ id: z.string(), remove: z.literal(true) }),
      nodeAssignedRole.extend({ id: z.string() }),
    ]),
  ),
  stagedParameters: layoutParameters.nullable(),
})

/** Figures of a layout, and of the way to it. */
export const layoutStatistics = z.object({
  replicationFactor: count,
  effectiveZoneRedundancy: count,
  partitionSize: count,
  /** Null for the first layout. */
  previousPartitionSize: count.nullable(),
  /** Whether partitions are so small (below 100 MB) that the cluster looks like one for tests. */
  lowPartitionSize: z.boolean(),
  usableCapacity: count,
  totalCapacity: count,
  effectiveCapacity: count,
  /** Whether less than 80 % of the nodes' capacity can be used. */
  lowUsableCapacity: z.boolean(),
  /** Null for the first layout. */
  totalMovedPartitions: count.nullable(),
  zones: z.array(
    z.object({
      name: z.string(),
      totalReplicatedPartitions: count,
      uniquePartitions: count,
      usableCapacity: count,
      totalCapacity: count,
      nodes: z.array(
        z.object({
          id: z.string(),
          tags: z.array(z.string()),
          storedPartitions: count,
          newPartitions: count,
          usableCapacity: count,
          totalCapacity: count,
        }),
      ),
    }),
  ),
})

/** The outcome of applying the staged changes, or the reason why they cannot be applied. */
export const layoutPreview = z.union([
  z.object({ error: z.string() }),
  z.object({ message: z.array(z.string()), newLayout: clusterLayout, statistics: layoutStatistics }),
])

/** What would bring the layout to a target. */
export const layoutPlan = z.object({
  /** The number of the layout that it would be. */
  version: count,
  changes: z.array(
    z.object({ id: z.string(), before: nodeAssignedRole.nullable(), after: nodeAssignedRole.nullable() }),
  ),
  parameters: z.object({ before: layoutParameters, after: layoutParameters }),
  statistics: layoutStatistics,
  /** The partitions whose nodes change. */
  moves: z.array(z.object({ partition: count, added: z.array(z.string()), removed: z.array(z.string()) })),
  /** The same by pairs of nodes. `from` is the node whose place the other takes; null: one more copy. */
  transfers: z.array(
    z.object({ from: z.string().nullable(), to: z.string(), partitions: count, bytes: count }),
  ),
  nodes: z.array(
    z.object({
      id: z.string(),
      /** Copies of partitions that it holds then. */
      partitions: count,
      receivedPartitions: count,
      receivedBytes: count,
      givenPartitions: count,
    }),
  ),
  /** Bytes of one copy of a partition: of what is stored on average, before compression, or of what fits at the most. */
  bytesPerPartition: count,
  bytesAreKnown: z.boolean(),
  movedPartitions: count,
  movedBytes: count,
  survives: z.object({
    /** For each zone, the partitions that its loss leaves without a write quorum, a read quorum, or any copy. */
    zones: z.array(
      z.object({
        zone: z.string(),
        nodes: count,
        withoutWrites: count,
        withoutReads: count,
        withoutCopy: count,
      }),
    ),
    /** How many nodes, whichever, may be away without stopping writes, stopping reads, or losing data. */
    nodes: z.object({ writes: count, reads: count, data: count }),
  }),
})

export const layoutHistory = z.object({
  currentVersion: count,
  minAck: count,
  versions: z.array(
    z.object({
      version: count,
      status: z.enum(['Current', 'Draining', 'Historical']),
      storageNodes: count,
      gatewayNodes: count,
    }),
  ),
  /** By node id; null when one version is live only. */
  updateTrackers: z.record(z.string(), z.object({ ack: count, sync: count, syncAck: count })).nullable(),
})

export const clusterResults = {
  status: clusterStatus,
  'cluster.health': clusterHealth,
  /** In the order of the nodes that were given. */
  'node.connect': z.array(connectNodeResult),
  'cluster.statistics': z.object({
    freeform: z.string(),
    /** Room for more content and rows in the whole cluster, one copy of each. */
    dataAvail: count.nullable(),
    metadataAvail: count.nullable(),
    /** Whether nodes that are down are missing in these two. */
    incompleteAvailInfo: z.boolean(),
    bucketCount: count,
    /** Null where there are more buckets than one call asks about, or one of them cannot be asked about. */
    totalObjectCount: count.nullable(),
    totalObjectBytes: count.nullable(),
  }),

  'layout.get': clusterLayout,
  /** The layout with the staged changes and what they would give, as data and as lines to print. */
  'layout.show': z.object({
    layout: clusterLayout,
    preview: layoutPreview.nullable(),
    text: z.array(z.string()),
  }),
  'layout.preview': layoutPreview,
  'layout.plan': layoutPlan,
  /** The layout with all staged changes. */
  'layout.stage': clusterLayout,
  'layout.apply': z.object({
    message: z.array(z.string()),
    layout: clusterLayout,
    statistics: layoutStatistics,
  }),
  'layout.revert': clusterLayout,
  'layout.history': layoutHistory,
  'layout.skipDeadNodes': z.object({ ackUpdated: z.array(z.string()), syncUpdated: z.array(z.string()) }),
}
