import { Priority, type RpcHandler, type Transport } from '../../net/transport.js'
import { CarportError } from '../../util/errors.js'
import { QueueHistory } from './diagnosis/queues.js'
import type { AdminContext, AdminDeps } from './handlers/context.js'
import type { Owners } from './handlers/owners.js'
import { RepairRuns } from './handlers/repair-runs.js'
import type { OperationName } from './operation-schemas.js'
import { ADMIN_CALL_METHOD, type AdminHandlers } from './operations.js'
import { forOperator } from './operator-errors.js'
import { restoreVariables } from './variables.js'

/**
 * Finds the owners of blocks by a search through all rows of a node; see findLocalOwners. Only nodes may call
 * it.
 */
const FIND_OWNERS_METHOD = 'admin/find-owners'
/** Shorter than the call for `block info`, which waits for this one. */
const FIND_OWNERS_MS = 40_000

export interface AdminService {
  /**
   * Loads the handlers and the checks of their arguments at the first use: they and zod cost an idle node
   * memory.
   */
  load(): Promise<LoadedAdmin>
  /** Aborts the repairs that run. Call this before the layers that they work on stop. */
  stop(): Promise<void>
}

export interface LoadedAdmin {
  handlers: AdminHandlers
  /** @throws CarportError InvalidArgument */
  checkOperation(operation: unknown, args: unknown): { operation: OperationName; args: unknown }
}

/**
 * Serves administration by RPC: to clients, which know the RPC secret and so are operators, all operations;
 * to other nodes only their share of a client's operation on several nodes. Call this before the node listens
 * and its services start.
 */
export function serveAdmin(transport: Transport, deps: AdminDeps): AdminService {
  const { clock, log, cluster, db, blocks } = deps
  const { self } = transport
  const repairs = new RepairRuns(clock, log)
  const queueHistory = new QueueHistory(deps)
  queueHistory.start()

  const findOwners = async (ids: readonly Buffer[]): Promise<Owners> => {
    const owners: Owners = { found: new Map(), complete: true }
    if (ids.length === 0) return owners
    const { addOwner, decodeOwners } = await import('./handlers/owners.js')
    const options = { timeoutMs: FIND_OWNERS_MS, priority: Priority.background }
    await Promise.all(
      cluster.layout.allNodes().map(async (node) => {
        try {
          const { body } = await transport.call(node, FIND_OWNERS_METHOD, ids, options)
          for (const owner of decodeOwners(body)) addOwner(owners.found, owner)
        } catch (error) {
          owners.complete = false
          log.info({ node, error }, 'a node could not be asked what refers to a block')
        }
      }),
    )
    return owners
  }

  const context: AdminContext = {
    ...deps,
    self,
    repairs,
    queueHistory,
    roundTripMs: (node) => transport.rttMs(node),
    findOwners,
    async ask(node, operation, args, timeoutMs) {
      const body = { operation, args }
      const options = { timeoutMs, priority: Priority.high }
      return resultOf(await transport.call(node, ADMIN_CALL_METHOD, body, options)) as never
    },
  }

  let loaded: Promise<LoadedAdmin> | undefined
  const load = () => {
    loaded ??= Promise.all([import('./operation-schemas.js'), import('./handlers/index.js')]).then(
      ([{ checkOperation }, { adminHandlers }]) => ({ checkOperation, handlers: adminHandlers(context) }),
    )
    return loaded
  }

  const serveCall: RpcHandler = async (body, { from }) => {
    try {
      const { checkOperation, handlers } = await load()
      const { operation, args } = asCall(body)
      const checked = checkOperation(operation, args)
      // Peers have a link of their own; the id of a client is never a node's.
      if (transport.isConnected(from)) checkPeerCall(checked)
      const handler = handlers[checked.operation] as (args: unknown) => Promise<unknown>
      return { body: { result: await handler(checked.args) } }
    } catch (error) {
      if (!(error instanceof CarportError)) log.error({ error }, 'an administrative operation failed')
      throw forOperator(error, self)
    }
  }
  const serveFindOwners: RpcHandler = async (body, { from, signal }) => {
    if (!transport.isConnected(from)) throw refused()
    const { decodeOwnerIds, encodeOwners, findLocalOwners } = await import('./handlers/owners.js')
    const found = await findLocalOwners(deps, decodeOwnerIds(body), signal)
    return { body: encodeOwners(found.values()) }
  }
  transport.handle(ADMIN_CALL_METHOD, serveCall)
  transport.handle(FIND_OWNERS_METHOD, serveFindOwners)
  restoreVariables(db, blocks, log)
  const stop = () => {
    queueHistory.stop()
    return repairs.stop()
  }
  return { load, stop }
}

function asCall(body: unknown): { operation: unknown; args: unknown } {
  if (typeof body !== 'object' || body === null) {
    throw new CarportError('InvalidArgument', 'an administrative call has an operation and args')
  }
  const { operation, args } = body as Record<string, unknown>
  return { operation, args }
}

/**
 * Another node may only request operations that run on this node alone.
 * @throws CarportError InvalidArgument
 */
function checkPeerCall({ args }: { args: unknown }): void {
  if ((args as { node?: unknown }).node !== 'self') throw refused()
}

function refused(): CarportError {
  return new CarportError('InvalidArgument', 'that is not for other nodes to ask')
}

function resultOf({ body }: { body: unknown }): unknown {
  if (typeof body === 'object' && body !== null && 'result' in body) return body.result
  throw new CarportError('RemoteError', 'the node answered in an unknown form: is it of the same version?')
}
