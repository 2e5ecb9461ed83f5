import { checkFirstLayout } from '../../../cluster/first-layout.js'
import type { ClusterHealth } from '../../../cluster/health.js'
import { previewStaged, stagedChanges, stagedParameters } from '../../../cluster/layout/operations.js'
import { changeReport, historyJson, layoutJson, layoutReport } from '../../../cluster/layout/report.js'
import { newestVersion } from '../../../cluster/layout/types.js'
import type { NodeInfo } from '../../../cluster/node-info.js'
import type { NodeRoleChange } from '../operation-schemas.js'
import type { AdminHandlers } from '../operations.js'
import { forOperator } from '../operator-errors.js'
import type {
  ClusterHealthInfo,
  ClusterLayout,
  ConnectNodeResult,
  LayoutHistory,
  LayoutPreview,
  NodeStatus,
} from '../types.js'
import type { AdminContext } from './context.js'
import { planOf } from './layout-plan.js'
import { layoutStatistics } from './layout-statistics.js'
import { nodeIdOf } from './lookup.js'

type ClusterHandlers = Pick<
  AdminHandlers,
  'status' | 'cluster.health' | 'node.connect' | Extract<keyof AdminHandlers, `layout.${string}`>
>

/** Handlers of the operations on the cluster and its layout. */
export function clusterHandlers(context: AdminContext): ClusterHandlers {
  const { cluster, replicationFactor } = context
  const layout = (): ClusterLayout => layoutJson(cluster.layout.history) as ClusterLayout
  return {
    status: async () => ({
      layoutVersion: cluster.layout.layoutVersion,
      nodes: cluster.status().map(statusOf),
    }),
    'cluster.health': async () => healthOf(cluster.health()),
    'node.connect': ({ nodes }) => Promise.all(nodes.map((node) => connect(context, node))),

    'layout.get': async () => layout(),
    'layout.show': async () => ({
      layout: layout(),
      preview: hasStaged(context) ? previewOf(context) : null,
      text: layoutReport(cluster.layout.history, replicationFactor).split('\n'),
    }),
    'layout.preview': async () => previewOf(context),
    'layout.plan': (args) => planOf(context, args),
    async 'layout.stage'({ roles, parameters }) {
      const redundancy = parameters?.zoneRedundancy
      await cluster.stageLayout({
        roles: (roles ?? []).map((role) => roleChange(context, role)),
        ...(redundancy !== undefined && {
          parameters: { zoneRedundancy: redundancy === 'maximum' ? redundancy : redundancy.atLeast },
        }),
      })
      return layout()
    },
    async 'layout.apply'({ version, force }) {
      if (!force) checkFirstLayout(cluster)
      const { before, applied, push } = await cluster.applyLayout(version)
      const message = changeReport(newestVersion(before), applied)
      const statistics = layoutStatistics(newestVersion(before), applied)
      if (push.reached < push.connected) {
        message.push(
          '',
          `${push.connected - push.reached} connected nodes did not take it yet; they will get it.`,
        )
      }
      return { message, layout: layout(), statistics }
    },
    async 'layout.revert'() {
      await cluster.revertLayout()
      return layout()
    },
    'layout.history': async (): Promise<LayoutHistory> => historyJson(cluster.layout.history),
    async 'layout.skipDeadNodes'(options) {
      const { ackUpdated, syncUpdated } = await cluster.skipDeadNodes(options)
      return { ackUpdated, syncUpdated }
    },
  }
}

export function healthOf({ storageNodesOk, ...health }: ClusterHealth): ClusterHealthInfo {
  return { ...health, storageNodesUp: storageNodesOk }
}

/** A node as the admin API describes it. */
export function statusOf(node: NodeInfo): NodeStatus {
  const { role } = node
  return {
    id: node.id,
    garageVersion: node.version,
    hostname: node.hostname,
    addr: node.address,
    isUp: node.isUp,
    lastSeenSecsAgo: node.lastSeenSecsAgo,
    role: role && { zone: role.zone, tags: [...role.tags], capacity: role.capacityBytes },
    draining: node.draining,
    dataPartition: node.dataDisk,
    metadataPartition: node.metadataDisk,
    // The last report of a node that is down says nothing about now.
    syncQueueLength: node.isUp ? node.queueLength : null,
    resyncQueueLen: node.isUp ? node.queueLength : null,
    clockOffMs: node.isUp ? node.clockOffMs : null,
    clockDoubt: node.isUp ? node.clockDoubt : null,
    partitions: node.isUp && node.copies ? { compared: node.copies.whole, total: node.copies.total } : null,
    damagedRows: node.isUp ? node.damagedRows : null,
    lostFolders: node.isUp ? node.lostFolders : null,
  }
}

async function connect({ cluster, self }: AdminContext, node: string): Promise<ConnectNodeResult> {
  try {
    await cluster.connectPeer(node)
    return { success: true, error: null }
  } catch (error) {
    return { success: false, error: forOperator(error, self).message }
  }
}

/** @throws CarportError InvalidArgument for the first digits of several nodes; NotFound for those of none */
function roleChange(context: AdminContext, change: NodeRoleChange) {
  const node = nodeIdOf(context, change.id)
  if ('remove' in change) return { node, role: null }
  const { zone, tags, capacity = null } = change
  return { node, role: { zone, tags, capacityBytes: capacity } }
}

function hasStaged({ cluster }: AdminContext): boolean {
  const { history } = cluster.layout
  return stagedChanges(history).size > 0 || stagedParameters(history) !== undefined
}

/** The layout that applying the staged changes would give. */
function previewOf({ cluster, replicationFactor }: AdminContext): LayoutPreview {
  const { history } = cluster.layout
  try {
    const next = previewStaged(history, replicationFactor)
    return {
      message: changeReport(newestVersion(history), next),
      newLayout: layoutJson(history, next) as ClusterLayout,
      statistics: layoutStatistics(newestVersion(history), next),
    }
  } catch (error) {
    return { error: (error as Error).message }
  }
}
