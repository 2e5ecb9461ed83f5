import { PARTITION_COUNT } from '../../../cluster/layout/partitions.js'
import { compareVersions, type ShareChange } from '../../../cluster/layout/report.js'
import type { LayoutVersion } from '../../../cluster/layout/types.js'
import type { LayoutStatistics } from '../types.js'

/** Partitions below this size, in bytes, are those of a cluster for tests. */
const PARTITION_SIZE_LOW = 100e6
/** Below this share of usable capacity, the nodes' sizes do not fit together. */
const USABLE_SHARE_LOW = 0.8

/** The figures of a layout and of the way to it, as the admin API v2 has them. */
export function layoutStatistics(previous: LayoutVersion | undefined, next: LayoutVersion): LayoutStatistics {
  const change = compareVersions(previous, next)
  return {
    replicationFactor: change.replicationFactor,
    effectiveZoneRedundancy: change.zoneRedundancy,
    partitionSize: change.partitionSizeBytes,
    previousPartitionSize: change.previousPartitionSizeBytes ?? null,
    lowPartitionSize: change.partitionSizeBytes < PARTITION_SIZE_LOW,
    usableCapacity: change.usableBytes,
    totalCapacity: change.capacityBytes,
    effectiveCapacity: change.partitionSizeBytes * PARTITION_COUNT,
    lowUsableCapacity: change.usableBytes < USABLE_SHARE_LOW * change.capacityBytes,
    totalMovedPartitions: previous === undefined ? null : change.movedPartitions,
    zones: change.zones.map((zone) => ({
      name: zone.zone,
      totalReplicatedPartitions: zone.partitions,
      uniquePartitions: zone.uniquePartitions,
      ...capacities(zone),
      nodes: zone.nodes.map((node) => ({
        id: node.id,
        tags: [...node.tags],
        storedPartitions: node.partitions,
        newPartitions: node.newPartitions,
        ...capacities(node),
      })),
    })),
  }
}

function capacities({ usableBytes, capacityBytes }: ShareChange) {
  return { usableCapacity: usableBytes, totalCapacity: capacityBytes }
}
