import { PARTITION_COUNT } from '../../../cluster/layout/partitions.js'
import { planLayout, transfersOf } from '../../../cluster/layout/plan.js'
import { assignedRoleJson, parametersJson } from '../../../cluster/layout/report.js'
import { nodeLosses, zoneLosses } from '../../../cluster/layout/survival.js'
import type { LayoutParameters, NodeRole } from '../../../cluster/layout/types.js'
import { partitionCounts } from '../../../cluster/layout/version.js'
import { CarportError } from '../../../util/errors.js'
import type { OperationArgs } from '../operation-schemas.js'
import type { LayoutPlanAnswer } from '../types.js'
import type { AdminContext } from './context.js'
import { layoutStatistics } from './layout-statistics.js'
import { nodeIdOf } from './lookup.js'
import { clusterStatistics } from './statistics.js'

/**
 * What would bring the layout to the given roles: what changes, what moves where, and what the result survives. Changes nothing.
 * @throws CarportError InvalidArgument for roles that cannot be had; NotFound for a node that nobody knows
 */
export async function planOf(
  context: AdminContext,
  { roles, parameters }: OperationArgs<'layout.plan'>,
): Promise<LayoutPlanAnswer> {
  const { cluster, replicationFactor } = context
  const { history, readQuorum, writeQuorum } = cluster.layout
  const wanted = new Map<string, NodeRole>()
  for (const { id: prefix, zone, tags, capacity = null } of roles) {
    const id = nodeIdOf(context, prefix)
    if (wanted.has(id)) throw new CarportError('InvalidArgument', `node ${id.slice(0, 16)} has two roles`)
    wanted.set(id, { zone, tags, capacityBytes: capacity })
  }
  const redundancy = parameters?.zoneRedundancy ?? 'maximum'
  const target: LayoutParameters = {
    zoneRedundancy: redundancy === 'maximum' ? redundancy : redundancy.atLeast,
  }
  const plan = planLayout(history, { roles: wanted, parameters: target }, replicationFactor)
  const { previous, next, moves } = plan
  const { totalObjectBytes } = await clusterStatistics(context)
  // Where the stored bytes are not known, a partition has as many as fit at the most.
  const bytesPerPartition =
    totalObjectBytes === null ? next.partitionSizeBytes : Math.ceil(totalObjectBytes / PARTITION_COUNT)
  const counts = partitionCounts(next)
  const received = (id: string) => moves.filter(({ added }) => added.includes(id)).length
  const given = (id: string) => moves.filter(({ removed }) => removed.includes(id)).length
  const involved = [...new Set([...next.storageNodes, ...(previous?.storageNodes ?? [])])].sort()
  const quorums = { write: writeQuorum, read: readQuorum }
  return {
    version: next.version,
    changes: plan.differences.map(({ id, before, after }) => ({
      id,
      before: before && assignedRoleJson(before),
      after: after && assignedRoleJson(after),
    })),
    parameters: {
      before: parametersJson(plan.parametersBefore),
      after: parametersJson(plan.parametersAfter),
    },
    statistics: layoutStatistics(previous, next),
    moves,
    transfers: transfersOf(moves).map((transfer) => ({
      ...transfer,
      bytes: transfer.partitions * bytesPerPartition,
    })),
    nodes: involved.map((id) => ({
      id,
      partitions: counts.get(id) ?? 0,
      receivedPartitions: received(id),
      receivedBytes: received(id) * bytesPerPartition,
      givenPartitions: given(id),
    })),
    bytesPerPartition,
    bytesAreKnown: totalObjectBytes !== null,
    movedPartitions: moves.reduce((sum, { added }) => sum + added.length, 0),
    movedBytes: moves.reduce((sum, { added }) => sum + added.length, 0) * bytesPerPartition,
    survives: { zones: zoneLosses(next, quorums), nodes: nodeLosses(next, quorums) },
  }
}
