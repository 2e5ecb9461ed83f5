import type { OperationName } from '../api/admin/operation-schemas.js'
import { ADMIN_CALL_METHOD } from '../api/admin/operations.js'
import { formatHostPort, type HostPort } from '../config/values.js'
import type { RpcClient } from '../net/client.js'
import type { Clock } from '../util/clock.js'
import { errorCode, messageOf } from '../util/errors.js'
import { silentLog } from '../util/log.js'
import { type AdminClient, CliError } from './admin-client.js'
import type { Target } from './io.js'

const CALL_MS = 60_000
/** Operations that read or write much before they answer, and so get a longer deadline. */
const LONG_CALLS: Partial<Record<OperationName, number>> = {
  'layout.apply': 600_000,
  'layout.show': 600_000,
  'bucket.cleanupIncompleteUploads': 3_600_000,
  'block.purge': 3_600_000,
  'meta.snapshot': 3_600_000,
  'cluster.diagnose': 120_000,
}

/**
 * Connects to the node by RPC.
 * @throws CliError when none of its addresses answers
 */
export async function connectAdmin(target: Target, clock: Clock): Promise<AdminClient> {
  const { connectAsClient } = await import('../net/client.js')
  const rpcSecret = Buffer.from(target.rpcSecret, 'hex')
  const expected = target.nodeId === undefined ? {} : { expectedId: target.nodeId }
  const failures: string[] = []
  let onlyOthers = true
  for (const address of target.addresses) {
    try {
      const { host, port } = address
      return adminClient(await connectAsClient({ host, port, rpcSecret, ...expected, clock, log: silentLog }))
    } catch (error) {
      failures.push(explain(address, error))
      onlyOthers &&= errorCode(error) === 'Conflict'
    }
  }
  const hint = onlyOthers
    ? 'check the node id in -h, or metadata_dir in the configuration'
    : 'is "carport server" running there, with the same rpc_secret?'
  throw new CliError(`cannot reach the node at ${failures.join(', nor at ')}: ${hint}`)
}

/** "127.0.0.1:3901 (connect ECONNREFUSED)" */
function explain(address: HostPort, error: unknown): string {
  const where = formatHostPort(address)
  const reason = messageOf(error)
  return `${where} (${reason.replaceAll(`${where}: `, '').replace(` ${where}`, '')})`
}

/** The administrative calls over an open connection. */
export function adminClient(client: RpcClient): AdminClient {
  return {
    call: async (operation, args) => {
      const timeoutMs = LONG_CALLS[operation] ?? CALL_MS
      const { body } = await client.call(ADMIN_CALL_METHOD, { operation, args }, { timeoutMs })
      if (typeof body !== 'object' || body === null || !('result' in body)) {
        throw new CliError(
          'the node answered in an unknown form: are it and this program of the same version?',
        )
      }
      return body.result as never
    },
    close: () => client.close(),
  }
}
