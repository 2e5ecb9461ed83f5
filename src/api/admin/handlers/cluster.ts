import { previewStaged, stagedChanges, stagedParameters } from '../../../cluster/layout/operations.js'
import { changeReport, historyJson, layoutJson, layoutReport } from '../../../cluster/layout/report.js'
import { newestVersion } from '../../../cluster/layout/types.js'
import type { NodeInfo } from '../../../cluster/node-info.js'
import type { NodeRoleChange } from '../operation-schemas.js'
import type { AdminHandlers } from '../operations.js'
import { forOperator } from '../operator-errors.js'
import type { ClusterLayout, ConnectNodeResult, LayoutHistory, LayoutPreview, NodeStatus } from '../types.js'
import type { AdminContext } from './context.js'

type ClusterHandlers = Pick<
  AdminHandlers,
  'status' | 'node.connect' | Extract<keyof AdminHandlers, `layout.${string}`>
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
    'node.connect': ({ nodes }) => Promise.all(nodes.map((node) => connect(context, node))),

    'layout.get': async () => layout(),
    'layout.show': async () => ({
      layout: layout(),
      preview: previewOf(context),
      text: layoutReport(cluster.layout.history, replicationFactor).split('\n'),
    }),
    async 'layout.stage'({ roles, parameters }) {
      const redundancy = parameters?.zoneRedundancy
      await cluster.stageLayout({
        roles: (roles ?? []).map(roleChange),
        ...(redundancy !== undefined && {
          parameters: { zoneRedundancy: redundancy === 'maximum' ? redundancy : redundancy.atLeast },
        }),
      })
      return layout()
    },
    async 'layout.apply'({ version }) {
      const { before, applied, push } = await cluster.applyLayout(version)
      const message = changeReport(newestVersion(before), applied)
      if (push.reached < push.connected) {
        message.push(
          '',
          `${push.connected - push.reached} connected nodes did not take it yet; they will get it.`,
        )
      }
      return { message, layout: layout() }
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

function statusOf(node: NodeInfo): NodeStatus {
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

function roleChange(change: NodeRoleChange) {
  if ('remove' in change) return { node: change.id, role: null }
  const { id, zone, tags, capacity } = change
  return { node: id, role: { zone, tags, capacityBytes: capacity } }
}

/** The layout that applying the staged changes would give; null without any. */
function previewOf({ cluster, replicationFactor }: AdminContext): LayoutPreview | null {
  const { history } = cluster.layout
  if (stagedChanges(history).size === 0 && stagedParameters(history) === undefined) return null
  try {
    const next = previewStaged(history, replicationFactor)
    return {
      message: changeReport(newestVersion(history), next),
      newLayout: layoutJson(history, next) as ClusterLayout,
    }
  } catch (error) {
    return { error: (error as Error).message }
  }
}
