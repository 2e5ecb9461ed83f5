import type { NodeId } from '../../../net/transport.js'
import { CarportError } from '../../../util/errors.js'
import type { NodeSelector, OperationArgs, OperationName } from '../operation-schemas.js'
import type { AdminHandlers } from '../operations.js'
import { forOperator } from '../operator-errors.js'
import type { MultiResponse } from '../types.js'
import type { AdminContext } from './context.js'
import { nodeIdOf } from './lookup.js'
import { UnknownThing } from './lookup-error.js'

/** Operations that run on the nodes which their argument `node` selects. */
export const NODE_OPERATIONS = [
  'node.info',
  'node.statistics',
  'node.progress',
  'node.diagnose',
  'node.figures',
  'worker.list',
  'worker.info',
  'worker.getVariable',
  'worker.setVariable',
  'block.listErrors',
  'block.info',
  'block.retryResync',
  'block.purge',
  'repair.launch',
  'meta.snapshot',
] as const satisfies readonly OperationName[]

export type NodeOperation = (typeof NODE_OPERATIONS)[number]

/** The task of each of these operations on the node where it runs. */
export type NodeTasks = {
  [N in NodeOperation]: (args: OperationArgs<N>) => Promise<NodeAnswer<N>>
}

type NodeAnswer<N extends NodeOperation> =
  Awaited<ReturnType<AdminHandlers[N]>> extends MultiResponse<infer T> ? T : never

/**
 * Shorter than the wait of the command line, so that it learns of hanging nodes together with the answers of
 * the others.
 */
const ASK_MS = 45_000
const ASK_MS_OF: Partial<Record<NodeOperation, number>> = {
  // It stands in every "carport status", which must not hang where a node does.
  'node.progress': 5_000,
  // A node that hangs must not keep those waiting who want to know what is wrong.
  'node.diagnose': 20_000,
  'node.figures': 5_000,
  'block.purge': 3_500_000,
  'meta.snapshot': 3_500_000,
}

/** Handlers that run the tasks here, on another node, or on all nodes, and gather the answers. */
export function nodeHandlers(context: AdminContext, tasks: NodeTasks): Pick<AdminHandlers, NodeOperation> {
  const handler = <N extends NodeOperation>(operation: N) => {
    return async (args: OperationArgs<N>): Promise<MultiResponse<NodeAnswer<N>>> => {
      const response: MultiResponse<NodeAnswer<N>> = { success: {}, error: {} }
      const nodes = selectNodes(context, args)
      await Promise.all(
        nodes.map(async (node) => {
          try {
            const task = tasks[operation] as (args: OperationArgs<N>) => Promise<NodeAnswer<N>>
            response.success[node] =
              node === context.self ? await task(args) : await askNode(context, node, operation, args)
          } catch (error) {
            if (node === context.self && !(error instanceof CarportError)) {
              context.log.error({ operation, error }, 'an administrative operation failed')
            }
            response.error[node] = forOperator(error, node).message
          }
        }),
      )
      return response
    }
  }
  const handlers = NODE_OPERATIONS.map((operation) => [operation, handler(operation)] as const)
  return Object.fromEntries(handlers) as unknown as Pick<AdminHandlers, NodeOperation>
}

/** @throws CarportError NotFound for a node that nobody knows; InvalidArgument for the first digits of several */
function selectNodes(context: AdminContext, { node }: NodeSelector): NodeId[] {
  const { self, cluster } = context
  if (node === 'self' || node === self) return [self]
  const known = cluster.status()
  if (node === '*') {
    // A node that was seen once and has no role does not belong to the cluster while it is away.
    return known.filter((info) => info.isUp || info.role !== null || info.draining).map(({ id }) => id)
  }
  const id = nodeIdOf(context, node)
  if (known.some((info) => info.id === id)) return [id]
  throw new UnknownThing('Node', `no node ${node}: "carport status" shows the nodes that are known`)
}

async function askNode<N extends NodeOperation>(
  context: AdminContext,
  node: NodeId,
  operation: N,
  args: OperationArgs<N>,
): Promise<NodeAnswer<N>> {
  const timeoutMs = ASK_MS_OF[operation] ?? ASK_MS
  const response: unknown = await context.ask(node, operation, { ...args, node: 'self' }, timeoutMs)
  const { success, error } = (response ?? {}) as Partial<MultiResponse<NodeAnswer<N>>>
  if (success && Object.hasOwn(success, node)) return success[node]!
  throw new CarportError('RemoteError', error?.[node] ?? 'the node answered in an unknown form')
}
