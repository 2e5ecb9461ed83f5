import type { BlockManager } from '../block/manager.js'
import type { Placement } from '../cluster/placement.js'
import type { TableSet } from '../table/tables.js'
import type { Clock } from '../util/clock.js'

/** Blocks of the resync queue that are looked at: a node with more to do is far from done anyway. */
const DUE_MAX = 10_000

/**
 * Rows and blocks that this node has still to fetch or send: zero when it caught up. Counted are blocks that are
 * wanted and absent, writes that other replicas missed, partitions that were not compared with enough replicas since
 * this process started or since the layout changed, copies that have not joined the others yet, partitions to be handed
 * over, and all partitions once for each node that is up and was not compared with since a write did not reach it or its
 * link came up.
 */
export function queueLength(node: {
  tables: TableSet
  blocks: BlockManager
  placement: Placement
  clock: Clock
}): number {
  const { tables, blocks } = node
  return absentBlocks(node) + blocks.resync.stats().errors + tables.retry.status().entries + unsynced(node)
}

function absentBlocks({ blocks: { local }, clock }: { blocks: BlockManager; clock: Clock }): number {
  let absent = 0
  // Those that failed before are due later, and counted as errors.
  for (const { hash } of local.counts.due(local.db, clock.nowMs(), DUE_MAX)) {
    const record = local.counts.get(local.db, hash)
    if (record && record.count > 0 && !record.present) absent++
  }
  return absent
}

function unsynced({ tables, placement }: { tables: TableSet; placement: Placement }): number {
  if (placement.layoutVersion === 0) return 0
  const partitions = placement.ownPartitions().length
  let count = tables.standing.joining().length
  count += tables.sync.compared.open().length * Math.max(1, partitions)
  for (const table of tables.sync.syncStatus()) {
    count += table.foreignPartitions
    const isWhole = table.syncedVersion > 0 && table.syncedVersion >= placement.ackedVersion
    if (!isWhole) count += Math.max(1, partitions)
  }
  return count
}
