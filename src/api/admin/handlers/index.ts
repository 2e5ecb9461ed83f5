import type { AdminHandlers } from '../operations.js'
import { getVariables, setVariable } from '../variables.js'
import { blockInfo, listBlockErrors, purgeBlocks, retryBlocks } from './blocks.js'
import { bucketHandlers } from './buckets.js'
import { clusterHandlers } from './cluster.js'
import type { AdminContext } from './context.js'
import { diagnose, nodeDiagnostics, nodeFigures } from './diagnosis.js'
import { keyHandlers } from './keys.js'
import { nodeInfo } from './node-info.js'
import { nodeHandlers } from './nodes.js'
import { clusterProgress, nodeProgress } from './progress.js'
import { launchRepair } from './repairs.js'
import { clusterStatistics, nodeStatistics } from './statistics.js'
import { tokenHandlers } from './tokens.js'
import { listWorkers, workerById } from './workers.js'

/**
 * All administrative operations of this node. Callers (RPC for the command line, HTTP for the admin API) have
 * checked who asks, and the arguments (see operation-schemas). Operations throw CarportErrors; `forOperator`
 * adds advice for people.
 */
export function adminHandlers(context: AdminContext): AdminHandlers {
  const { db, blocks, log } = context
  const onNodes = nodeHandlers(context, {
    'node.info': async () => nodeInfo(context),
    'node.statistics': async () => nodeStatistics(context),
    'node.progress': async () => nodeProgress(context),
    'node.diagnose': () => nodeDiagnostics(context),
    'node.figures': () => nodeFigures(context),
    'worker.list': async ({ busyOnly, errorOnly }) =>
      listWorkers(context).filter(
        (info) => (!busyOnly || info.state === 'busy') && (!errorOnly || info.errors > 0),
      ),
    'worker.info': async ({ id }) => workerById(context, id),
    'worker.getVariable': async ({ variable }) => getVariables(blocks, variable),
    'worker.setVariable': ({ variable, value }) => setVariable(db, blocks, variable, value),
    'block.listErrors': () => listBlockErrors(context),
    'block.info': ({ blockHash }) => blockInfo(context, blockHash),
    'block.retryResync': (args) => retryBlocks(context, args),
    'block.purge': ({ blockHashes }) => purgeBlocks(context, blockHashes),
    'repair.launch': ({ repairType }) => launchRepair(context, repairType),
    'meta.snapshot': async () => {
      const path = await context.snapshot()
      log.info({ path }, 'snapshot of the metadata written')
      return null
    },
  })
  return {
    ...clusterHandlers(context),
    'cluster.statistics': () => clusterStatistics(context),
    'cluster.diagnose': () => diagnose(context, () => onNodes['node.diagnose']({ node: '*' })),
    ...bucketHandlers(context),
    ...keyHandlers(context),
    ...tokenHandlers(context),
    ...onNodes,
    'cluster.progress': async () => clusterProgress(context, await onNodes['node.progress']({ node: '*' })),
  }
}
